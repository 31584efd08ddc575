// Products of many activation rows in integers, the part of the dispatch table that dense_*.cpp fill. Weights
// of any format become unsigned codes below 256 with a scale (and perhaps a minimum) per 16 or 32 elements;
// activations become signed codes with a scale per 32. See dense.inc for the arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hone::kernels {

struct GroupedView;

// Where an unpacked row goes. Scales and minima of consecutive pieces are `stride` floats apart.
struct CodeRow {
  uint8_t* codes;
  float *scales, *minima;
  size_t stride;
};
// A piece is 16 or 32 elements that share a scale. view: of grouped formats, else null. n is a multiple of
// the format's block and of 32.
using UnpackFn = void (*)(const GroupedView* view, const uint8_t* src, size_t n, const CodeRow& to);

// weight = scale * (code - centre) + minimum, 0 <= code <= top.
struct DenseFormat {
  UnpackFn unpack = nullptr;  // null: no integer product
  uint16_t piece = 32, top = 255, centre = 0;
  bool minima = false;
  bool fine = false;  // its own loss is so small that activations need 16 bits
};

// One register tile. Panel: for each block of 32 elements, steps of 4 bytes a lane: [steps][tile_cols][4].
struct DenseTile {
  const uint8_t* panel;
  const float *scales, *minima;  // [pieces][tile_cols]
  const uint8_t* x;              // records of one block of tile_rows activation rows
  size_t blocks;                 // of 32 elements
  float* y;                      // y[i * ldy + j] (+)= bias[j] + the product, i < rows, j < cols
  size_t ldy, rows, cols;
  const float* bias;
  bool accumulate;
};
using DenseTileFn = void (*)(const DenseTile& tile);

struct DenseTable {
  size_t tile_rows, tile_cols;
  // The kernel for byte products with codes up to `top`, or with words when top is 0; null when there is
  // none.
  DenseTileFn (*tile)(int top, bool half_pieces, bool minima);
  // Codes of x[rows][ldx], rows a block of up to tile_rows: blocks records of dense_record_bytes(); absent
  // rows are zeros. A row that holds something not finite gets NaN scales there.
  void (*quantize)(const float* x, size_t ldx, size_t rows, size_t blocks, bool words,
                   const DenseFormat& format, uint8_t* records);
  // Codes of `rows` weight rows, up to tile_cols, as a panel of `depth` elements; absent rows are zeros.
  // buffer: dense_buffer_bytes().
  void (*panel)(const DenseFormat& format, const GroupedView* view, const uint8_t* w, size_t row_bytes,
                size_t rows, size_t depth, bool words, uint8_t* buffer, uint8_t* panel, float* scales,
                float* minima);
  const DenseFormat* formats;  // kNamedCount rows
};

// Codes of the rows' 32 elements; then floats [rows] of scales, integers [2][rows] of -centre * sum of codes,
// floats [2][rows] of scale * sum of codes, the sums of 16 elements each or, for pieces of 32, of all in the
// first.
constexpr size_t dense_record_bytes(size_t tile_rows, bool words) {
  return tile_rows * ((words ? 64 : 32) + 20);
}
constexpr size_t dense_row_stride(size_t depth, bool words) {
  return (depth * (words ? 2 : 1) + 63) / 64 * 64 + 64;
}
constexpr size_t dense_buffer_bytes(size_t depth, bool words) {
  return 16 * dense_row_stride(depth, words) + (depth + 63) / 64 * 64;
}

const DenseTable& scalar_dense();
const DenseTable& avx2_dense();
const DenseTable& avx512_dense();

}  // namespace hone::kernels
