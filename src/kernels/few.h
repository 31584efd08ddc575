// Products of one to eight activation rows in integers, the part of the dispatch table that few_*.cpp fill.
// The arithmetic is that of dense.h with 16-bit activations, bit for bit: a row's result depends neither on
// how many rows there are nor on which of the two kernels met it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dense.h"
#include "tensor/quant_format.h"

namespace hone::kernels {

inline constexpr size_t kFewMost = 8;

struct FewProduct {
  // `rows` weight rows, row_bytes apart. Where they are no multiple of FewTable::lanes, as many rows as are
  // missing (and their bias) lie readable before them.
  const uint8_t* w;
  size_t row_bytes, rows, cols;
  const uint8_t* records;  // of FewTable::prepare, for m rows
  size_t m;
  float* y;  // y[i * ldy + r]
  size_t ldy;
  const float* bias;
  // Of the kernels for any format only.
  const DenseFormat* format;
  const GroupedView* view;
  uint8_t* buffer;  // few_buffer_bytes()
};
using FewFn = void (*)(const FewProduct& p);

struct FewTable {
  size_t lanes;  // weight rows met at a time
  // Codes of x[m][cols], cols a multiple of 32, m up to kFewMost; few_record_bytes() of records.
  void (*prepare)(const float* x, size_t m, size_t cols, uint8_t* records);
  const FewFn* formats;  // kNamedCount rows; null where only `any` knows the format
  FewFn any[2][2];       // by way of DenseFormat::unpack: [pieces of 16][minima]
};

// Rows are rounded up to what has a kernel; the rest are zeros.
constexpr size_t few_rows_padded(size_t m) {
  return m <= 2 ? m : m <= 4 ? 4 : 8;
}
// Per 32 elements and row: 16-bit codes in the order of the instruction set, then the scale, scale * sum of
// codes of all 32, of the first and of the last 16, and those three sums as integers.
inline constexpr size_t kFewRecord = 96;
constexpr size_t few_record_bytes(size_t m, size_t cols) {
  return few_rows_padded(m) * (cols / 32) * kFewRecord;
}
inline constexpr size_t kFewSlice = 256;              // elements unpacked at a time
inline constexpr size_t kFewStride = kFewSlice + 64;  // bytes between their rows
constexpr size_t few_buffer_bytes(size_t lanes) {
  return lanes * kFewStride + 2 * (kFewSlice / 16) * lanes * sizeof(float);
}

const FewTable& avx2_few();
const FewTable& avx512_few();

}  // namespace hone::kernels
