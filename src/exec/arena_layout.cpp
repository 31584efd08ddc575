#include "exec/arena_layout.h"

#include <algorithm>
#include <numeric>

namespace hone::exec {

ArenaLayout lay_out(const std::vector<Lifetime>& lifetimes) {
  constexpr size_t kAlign = 64;
  ArenaLayout layout;
  layout.offsets.assign(lifetimes.size(), 0);
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  std::vector<size_t> placed;  // by offset
  for (const size_t id : order) {
    const Lifetime& life = lifetimes[id];
    const size_t bytes = (life.bytes + kAlign - 1) / kAlign * kAlign;
    size_t offset = 0;
    for (const size_t other : placed) {
      const Lifetime& o = lifetimes[other];
      if (o.last < life.first || life.last < o.first) continue;
      if (layout.offsets[other] >= offset + bytes) break;  // the gap before it is wide enough
      offset = std::max(offset, layout.offsets[other] + (o.bytes + kAlign - 1) / kAlign * kAlign);
    }
    layout.offsets[id] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), id,
                                   [&](size_t a, size_t b) { return layout.offsets[a] < layout.offsets[b]; }),
                  id);
  }
  return layout;
}

}  // namespace hone::exec
