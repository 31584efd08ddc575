// The dispatch table: one row per instruction set, chosen once at run time. Functions take raw pointers
// and plain sizes, because their sources are compiled with flags of the instruction set and must not
// instantiate shared inline code that the linker could pick for a lesser machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/attention_table.h"
#include "kernels/dense.h"
#include "kernels/few.h"
#include "tensor/quant_format.h"

namespace hone::kernels {

// n elements, a multiple of the format's block.
using DecodeFn = void (*)(const uint8_t* src, float* dst, size_t n);

using EncodeFn = void (*)(const float* src, uint8_t* dst, size_t n);

// y[i * ldy + r] = sum_k w[r, k] * x[i * cols + k] + bias[r] for m = 1 or 2 activation rows, for F32, F16 and BF16
// any number; their results do not depend on m.
using GemvFn = void (*)(const uint8_t* w, size_t row_bytes, size_t rows, size_t cols, const float* x,
                        size_t m, float* y, size_t ldy, const float* bias);

// y[r] = weight row r times the one activation row that prepare_codes() has quantized to 16 bits, + bias[r].
using GemvCodesFn = void (*)(const uint8_t* w, size_t row_bytes, size_t rows, size_t cols,
                             const void* prepared, float* y, const float* bias);

// A grouped format (tensor/grouped.h) as plain numbers: its kernels are one set per kind and width of code,
// and take the rest at run time. scale and zero are the values of tensor::ScaleType and tensor::ZeroKind.
struct GroupedView {
  uint32_t group, block_bytes, second_offset, code_offset;  // second: bias or zero point
  int scale, zero;
  float middle;  // zero point of symmetric codes
};
using GroupedDecodeFn = void (*)(const GroupedView& l, const uint8_t* src, float* dst, size_t n);
using GroupedGemvFn = void (*)(const GroupedView& l, const uint8_t* w, size_t row_bytes, size_t rows,
                               size_t cols, const float* x, size_t m, float* y, size_t ldy,
                               const float* bias);
using GroupedGemvCodesFn = void (*)(const GroupedView& l, const uint8_t* w, size_t row_bytes, size_t rows,
                                    size_t cols, const void* prepared, float* y, const float* bias);
struct GroupedKernels {
  GroupedDecodeFn decode;
  GroupedGemvFn gemv;
  GroupedGemvCodesFn gemv_codes;  // null as in IsaTable; groups of 16 only without a zero
  UnpackFn unpack;                // of dense.h; null where codes are no small integers
};
// Rows of IsaTable::grouped: unsigned integers of 1 to 8 bits, then the float codes.
enum GroupedCode { kCodeE4M3 = 8, kCodeE5M2, kCodeE2M1, kCodeNF4, kGroupedCodes };

// Where query, key and value tiles of one attention unit lie; see attention.inc.
struct AttentionTile {
  const float* q;        // packed queries [dim][rows], scaled
  size_t rows;           // <= tile_rows
  size_t dim, padded;    // head size, and rounded up to 16
  size_t keys;           // keys in this tile, <= kKeyTile
  const float* k_panel;  // [dim][kKeyTile]
  const float* v;        // [kKeyTile][padded]
  const int64_t* first;  // per row: visible keys are [first, last) of the tile, clamped by the kernel
  const int64_t* last;
  float softcap;   // 0: none
  float* scores;   // [tile_rows][kKeyTile], scratch
  float* maximum;  // per row, running
  float* total;    // per row, running
  float* out;      // [rows][padded], running
};

struct IsaTable {
  Isa isa;
  size_t tile_rows, tile_cols;  // GEMM register tile

  // Null where a format has no kernels: matmul.cpp then goes by the reference codec.
  DecodeFn decode[tensor::kFormatCount];
  EncodeFn encode[tensor::kFormatCount];  // F32, F16, BF16; the others are encoded by the reference
  GemvFn gemv[tensor::kFormatCount];
  // Integer products for one activation row; null where the format or the instruction set has none.
  GemvCodesFn gemv_codes[tensor::kFormatCount];
  const GroupedKernels* grouped;  // kGroupedCodes rows
  const DenseTable* dense;        // many rows in integers
  const FewTable* few;            // one to eight rows in integers
  const AttentionTable* attention;  // null: attention goes by F32 tiles only
  // Fills prepared_bytes(cols); cols is a multiple of 32.
  void (*prepare_codes)(const float* x, size_t cols, void* prepared);

  // 3 and more activation rows against `rows` decoded weight rows w[rows][ldw] (F32, ldw a multiple of
  // 16, padded with zeros): y[i * ldy + r].
  void (*dot_rows)(const float* w, size_t ldw, size_t rows, size_t cols, const float* x, size_t m, float* y,
                   size_t ldy, const float* bias);

  // Packs x[m][ldx] columns [0, k) into blocks of tile_rows rows, each [k][rows of the block].
  void (*pack)(const float* x, size_t ldx, size_t m, size_t k, float* packed);
  // panel[k][ld_panel], columns [0, tile_cols) = transpose of rows[count][ld_rows]; absent rows read as zero.
  // k is rounded up to 16 in both.
  void (*transpose_panel)(const float* rows, size_t ld_rows, size_t count, size_t k, float* panel,
                          size_t ld_panel);
  // c[i * ldc + j] (+)= bias[j] + sum_k packed * b[k * ldb + j], one block of `rows` rows, cols <= tile_cols.
  // When cols < tile_cols, b must still be readable up to tile_cols.
  void (*tile)(const float* packed, size_t rows, size_t k, const float* b, size_t ldb, float* c, size_t ldc,
               size_t cols, const float* bias, bool accumulate);

  void (*rms_norm)(const float* x, const float* scale, float* y, size_t n, float epsilon);
  void (*layer_norm)(const float* x, const float* scale, const float* bias, float* y, size_t n,
                     float epsilon);
  void (*softmax)(const float* x, float* y, size_t n);
  // Rotates the first 2 * half elements of a head; cos and sin have `half` values.
  void (*rotate)(const float* x, const float* cosine, const float* sine, float* y, size_t half,
                 bool interleaved);

  void (*add)(const float* a, const float* b, float* y, size_t n);
  void (*sub)(const float* a, const float* b, float* y, size_t n);
  void (*mul)(const float* a, const float* b, float* y, size_t n);
  void (*div)(const float* a, const float* b, float* y, size_t n);
  void (*swish)(const float* x, float* y, size_t n, float alpha);
  void (*sigmoid)(const float* x, float* y, size_t n);
  void (*tanh)(const float* x, float* y, size_t n);
  void (*gelu)(const float* x, float* y, size_t n, bool tanh_form);
  void (*relu)(const float* x, float* y, size_t n);
  void (*exp)(const float* x, float* y, size_t n);

  void (*attend)(const AttentionTile& tile);
};

// 16-bit codes, and per 32 elements 2 + 6 floats of scales and sums.
inline size_t prepared_bytes(size_t cols) {
  return cols * 2 + cols / 32 * 8 * sizeof(float);
}

// grouped_*.cpp
const GroupedKernels* scalar_grouped();
const GroupedKernels* avx2_grouped();
const GroupedKernels* avx512_grouped();

const IsaTable& scalar_table();
const IsaTable& avx2_table();
const IsaTable& avx512_table();

const IsaTable& table_for(Isa isa);  // Error(kUsage) when the host cannot run it
const IsaTable& active_table();      // of active_isa()

}  // namespace hone::kernels
