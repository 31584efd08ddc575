// A weight matrix whose codes, scales and zero points lie in separate tensors of a file, as one tensor whose
// rows are put together on demand: the model stays in its memory map, in the arrangement of its tool.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "tensor/checkpoint.h"
#include "tensor/grouped.h"

namespace hone::formats {

// Codes of a matrix [rows, columns] somewhere in bytes. `pitch` is what the arrangement's reader needs: bytes
// per row, or 32-bit words per line.
struct CodePlane {
  std::span<const std::byte> bytes;
  uint64_t rows = 0, columns = 0;
  int bits = 4;
  uint64_t pitch = 0;
  uint8_t add = 0;  // added to every code modulo 2^bits: signed codes become unsigned
  // Rows [begin, begin + count), one code a byte, count x columns.
  void (*read)(const CodePlane&, uint64_t begin, uint64_t count, uint8_t* dst) = nullptr;
};

// Arrangements; each checks nothing: the plane's sizes are held against its bytes before.
// One stream of bits a row, lowest first; pitch: bytes a row. MLX, dense compressed-tensors, FP4 bytes.
void read_row_stream(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// 32 / bits codes a word, its top bits unused; pitch: words a row. compressed-tensors before May 2026.
void read_row_words(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// One stream of bits a column of words [.., rows]: a GPTQ qweight; pitch: rows.
void read_column_stream(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// Words [columns, rows / 8] of nibbles in AWQ's order; pitch: words a line.
void read_awq(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// A byte a code; pitch: bytes a row.
void read_code_bytes(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// The flattened matrix, two codes a byte, the high nibble first: bitsandbytes.
void read_flat_nibbles(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);
// Bytes [rows / 4, columns]: field i of byte row r belongs to row i * rows / 4 + r. BitNet.
void read_stacked_pairs(const CodePlane& plane, uint64_t begin, uint64_t count, uint8_t* dst);

// The nibble of each of 8 columns in AWQ's words.
inline constexpr uint8_t kAwqNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

// A field of `bits` bits at bit position `at` of a stream of 32-bit words that lie `stride` words apart.
unsigned read_field(std::span<const std::byte> bytes, uint64_t first_word, uint64_t stride, uint64_t at,
                    int bits);

// Scales or biases: the number for (row, column) is element row / rows_per * row_stride + column /
// columns_per * column_stride of the array. With `value` set the plane is F32 and value(index) computes the
// number.
struct ScalePlane {
  std::span<const std::byte> bytes;
  tensor::ScaleType type = tensor::ScaleType::kF16;
  uint64_t rows_per = 1, columns_per = 1, row_stride = 0, column_stride = 0;
  std::function<float(uint64_t index)> value;
  // Blocks of flat_block elements of the flattened matrix instead, rows of flat_columns; 0: not.
  uint64_t flat_columns = 0, flat_block = 1;

  uint64_t index(uint64_t row, uint64_t column) const {
    if (flat_columns > 0) return (row * flat_columns + column) / flat_block;
    return row / rows_per * row_stride + column / columns_per * column_stride;
  }
  float at(uint64_t row, uint64_t column) const;
  void store(uint64_t row, uint64_t column, std::byte* dst) const;  // in `type`, as it lies in the file
};

struct QuantizedMatrix {
  tensor::CodeKind kind = tensor::CodeKind::kInt;
  CodePlane codes;
  ScalePlane scales;
  std::optional<ScalePlane> biases;                             // scale * q + bias
  std::function<uint8_t(uint64_t row, uint64_t column)> zeros;  // scale * (q - z); symmetric when null
  std::span<const std::byte> column_groups;  // I32 [columns] when groups are scattered (act-order)
  std::vector<float> levels;                 // values of the codes when they are no standard set
};

// The format in which the matrix's rows are delivered: a grouped row of the table, MXFP4, or F32 where the
// columns do not fall into groups of the table.
tensor::FormatId delivered_format(const QuantizedMatrix& matrix);
// A source of rows in that format.
std::shared_ptr<const tensor::RowSource> make_row_source(QuantizedMatrix matrix);

}  // namespace hone::formats
