#include "quant/grid_lists.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "tensor/codec_grids.h"

namespace hone::quant {
namespace {

struct Entry {
  uint8_t high;
  uint16_t index;
};

// values: what the digits 0, 1, ... stand for, increasing.
template <size_t kPoints, size_t kDimensions, size_t kBase>
GridLists make(const tensor::Grid<kPoints, kDimensions>& grid, const std::array<int, kBase>& values) {
  GridLists lists{};
  lists.dimensions = static_cast<int>(kDimensions);
  std::array<std::vector<Entry>, 81> of_low;
  for (size_t p = 0; p < kPoints; ++p) {
    size_t halves[2] = {0, 0};
    for (size_t k = kDimensions; k-- > 0;) {
      const auto digit = std::ranges::find(values, grid.point[p][k]) - values.begin();
      size_t& half = halves[k / (kDimensions / 2)];
      half = half * kBase + static_cast<size_t>(digit);
      lists.point[p][k] = grid.point[p][k];
    }
    of_low[halves[0]].push_back({static_cast<uint8_t>(halves[1]), static_cast<uint16_t>(p)});
  }
  std::vector<size_t> order;
  for (size_t low = 0; low < of_low.size(); ++low) {
    auto& list = of_low[low];
    if (list.empty()) continue;
    if (list.size() % 2 != 0) list.push_back(list.back());
    order.push_back(low);
  }
  std::ranges::stable_sort(order, {}, [&](size_t low) { return of_low[low].size(); });
  uint16_t at = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& list = of_low[order[i]];
    const int pairs = static_cast<int>(list.size() / 2);
    if (lists.run_count == 0 || lists.runs[lists.run_count - 1].pairs != pairs) {
      HONE_CHECK(lists.run_count < 41 && at + list.size() <= std::size(lists.high));
      lists.runs[lists.run_count++] = {0, pairs};
    }
    ++lists.runs[lists.run_count - 1].lows;
    lists.low[i] = static_cast<uint8_t>(order[i]);
    lists.start[i] = at;
    for (const Entry& e : list) {
      lists.high[at] = e.high;
      lists.index[at++] = e.index;
    }
  }
  lists.start[order.size()] = at;
  return lists;
}

constexpr std::array<int, 3> kIq1Values{-1, 0, 1}, kIq2Values{8, 25, 43};
constexpr std::array<int, 8> kIq3XxsValues{4, 12, 20, 28, 36, 44, 52, 62},
    kIq3SValues{1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace

const GridLists& iq1_lists() {
  static const GridLists lists = make(tensor::kIq1Grid, kIq1Values);
  return lists;
}
const GridLists& iq2_xxs_lists() {
  static const GridLists lists = make(tensor::kIq2XxsGrid, kIq2Values);
  return lists;
}
const GridLists& iq2_xs_lists() {
  static const GridLists lists = make(tensor::kIq2XsGrid, kIq2Values);
  return lists;
}
const GridLists& iq2_s_lists() {
  static const GridLists lists = make(tensor::kIq2SGrid, kIq2Values);
  return lists;
}
const GridLists& iq3_xxs_lists() {
  static const GridLists lists = make(tensor::kIq3XxsGrid, kIq3XxsValues);
  return lists;
}
const GridLists& iq3_s_lists() {
  static const GridLists lists = make(tensor::kIq3SGrid, kIq3SValues);
  return lists;
}

}  // namespace hone::quant
