// Offsets of buffers whose lifetimes are known ahead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hone::exec {

// Alive from the step that writes it to the last step that reads it, both included.
struct Lifetime {
  size_t bytes = 0;
  int first = 0, last = 0;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  // parallel to the lifetimes, multiples of 64
  size_t bytes = 0;
};

// Largest first, each at the lowest offset that no buffer alive at the same time covers (greedy by size,
// Pisarchyk & Lee 2020).
ArenaLayout lay_out(const std::vector<Lifetime>& lifetimes);

}  // namespace hone::exec
