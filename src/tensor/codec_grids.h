// The code books of the IQ1, IQ2 and IQ3 formats: sets of points in 8 or 4 dimensions, indexed by the files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hone::tensor {

// Points by index, each stored as its coordinates.
template <size_t kPoints, size_t kDimensions>
struct Grid {
  int8_t point[kPoints][kDimensions];
};

extern const Grid<256, 8> kIq2XxsGrid;  // 8, 25, 43
extern const Grid<512, 8> kIq2XsGrid;
extern const Grid<1024, 8> kIq2SGrid;
extern const Grid<2048, 8> kIq1Grid;    // -1, 0, 1; IQ1_S and IQ1_M
extern const Grid<256, 4> kIq3XxsGrid;  // 4, 12, 20, 28, 36, 44, 52, 62
extern const Grid<512, 4> kIq3SGrid;    // 1, 3, 5, ..., 15

// Seven stored signs stand for eight: the number of minus signs is even. Bit i of the result negates value i.
constexpr uint8_t even_signs(unsigned seven) {
  unsigned parity = seven ^ (seven >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return static_cast<uint8_t>((seven & 127u) | ((parity & 1u) << 7));
}

}  // namespace hone::tensor
