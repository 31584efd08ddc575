#include "text/char_class.h"

#include <cstddef>
#include <iterator>
#include <map>
#include <vector>

namespace hone::text {
namespace {

struct Run {
  uint32_t begin;
  uint16_t value;
};
constexpr Run kRuns[] = {
#include "text/unicode_classes.inc"
};

}  // namespace

const CharTable& CharTable::instance() {
  static const CharTable table;
  return table;
}

CharTable::CharTable() {
  std::map<std::array<uint16_t, 256>, uint16_t> seen;  // most blocks are equal
  std::vector<const std::array<uint16_t, 256>*> order;
  size_t run = 0;
  std::array<uint16_t, 256> block;
  for (uint32_t b = 0; b < index_.size(); ++b) {
    for (uint32_t i = 0; i < 256; ++i) {
      while (run + 1 < std::size(kRuns) && kRuns[run + 1].begin <= (b << 8 | i)) ++run;
      block[i] = kRuns[run].value;
    }
    const auto [it, fresh] = seen.emplace(block, static_cast<uint16_t>(order.size()));
    if (fresh) order.push_back(&it->first);
    index_[b] = it->second;
  }
  blocks_ = std::make_unique<std::array<uint16_t, 256>[]>(order.size());
  for (size_t i = 0; i < order.size(); ++i) blocks_[i] = *order[i];
}

}  // namespace hone::text
