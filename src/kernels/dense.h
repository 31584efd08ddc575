// Products of many activation rows in integers, the part of the dispatch table that dense_*.cpp fill. Weights
// of any format become signed codes with a scale (and perhaps a minimum) per 16 or 32 elements; activations
// become codes with a scale per 32. See dense.inc for the arithmetic.
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
  UnpackFn unpack = nullptr;  // null: no codes of its own
  uint16_t piece = 32, top = 255, centre = 0;
  bool minima = false;
  bool fine = false;  // its own loss is so small that activations need 16 bits
  // Where there are no codes: decodes, and weights become words with a scale per 32.
  void (*decode)(const void* decoder, const uint8_t* src, float* dst, size_t n) = nullptr;
};

// Up to tile_cols weight rows, with what the format's functions need.
struct DenseRows {
  const GroupedView* view;
  const void* decoder;
  const uint8_t* w;
  size_t row_bytes, rows;
};

// One register tile. Panel: for each block of 32 elements, steps of 4 bytes a lane: [steps][tile_cols][4].
struct DenseTile {
  const uint8_t* panel;
  const float *scales, *minima;  // [pieces][tile_cols]
  const int32_t* starts;         // [pieces][tile_cols], of byte products
  const uint8_t* x;              // records of one block of tile_rows activation rows
  size_t blocks;                 // of 32 elements
  float* y;  // y[i * ldy + j] = the product + bias[j] + add[i * ld_add + j], i < rows, j < cols
  size_t ldy, rows, cols;
  const float *bias, *add;  // or null
  size_t ld_add;
};
using DenseTileFn = void (*)(const DenseTile& tile);

// How the tiles of a weight are multiplied. Activations have codes in [-reach, reach]: bytes up to 127, words
// beyond. Weight codes are lowered by `shift` to be signed.
struct DenseKernel {
  DenseTileFn tile = nullptr;
  int reach = 0, shift = 0;
  bool words() const { return reach > 127; }
};
// Both codes of a product of words: 32 products of pairs add up within 32 bits.
inline constexpr int kWordReach = 8191;

// A panel of up to tile_cols weight rows of `depth` elements; absent rows are zeros.
struct DensePanel {
  uint8_t* buffer;  // scratch of dense_buffer_bytes()
  uint8_t* panel;
  float *scales, *minima;
  int32_t* starts;
};

struct DenseTable {
  size_t tile_rows, tile_cols;
  // With bytes where that is wanted and the codes allow it, else with words.
  DenseKernel (*kernel)(const DenseFormat& format, bool bytes);
  // Codes of x[rows][ldx], rows a block of up to tile_rows: blocks records of dense_record_bytes(); absent
  // rows are zeros. A row that holds something not finite gets NaN scales there.
  void (*quantize)(const float* x, size_t ldx, size_t rows, size_t blocks, int reach, uint8_t* records);
  void (*panel)(const DenseFormat& format, const DenseKernel& kernel, const DenseRows& from, size_t depth,
                const DensePanel& to);
  const DenseFormat* formats;  // kNamedCount rows
};

// Codes of the rows' 32 elements (raised to be unsigned where the instruction set wants it); then floats
// [rows] of scales and [3][rows] of scale * sum of codes: of the first 16, of the last 16, of all.
constexpr size_t dense_record_bytes(size_t tile_rows, bool words) {
  return tile_rows * ((words ? 64 : 32) + 16);
}
constexpr size_t dense_row_stride(size_t depth, bool words) {
  return (depth * (words ? 2 : 1) + 63) / 64 * 64 + 64;
}
constexpr size_t dense_buffer_bytes(size_t depth, bool words) {
  return 16 * dense_row_stride(depth, words) + (depth * (words ? sizeof(float) : 1) + 63) / 64 * 64;
}

const DenseTable& scalar_dense();
const DenseTable& avx2_dense();
const DenseTable& avx512_dense();

}  // namespace hone::kernels
