// Attention's part of the dispatch table, filled by attention_*.cpp: a few query rows against keys and values
// in storage order (decode, attention_rows.inc), and many of them against tiles in integers (prompts,
// attention_codes.inc). Keys and values have formats of their own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/quant_format.h"

namespace hone::kernels {

// scores[r * ld_scores + j] = q row r times stored row j. Rows of q have ld_q floats, a multiple of 16, zeros
// beyond width; scores are written up to keys rounded up to 16 (the excess is arbitrary).
struct KeyScores {
  const float* q;
  size_t ld_q, rows;
  const uint8_t* keys;
  size_t row_bytes, count, width;
  float* scores;
  size_t ld_scores;
};
using KeyScoresFn = void (*)(const KeyScores& a);

// out[r * ld_out + d] = out * shrink[r] + sum_j weights[r * ld_weights + j] * stored row j.
// Columns are written up to width rounded up to 16.
struct ValueSums {
  const float* weights;
  size_t ld_weights, rows;
  const float* shrink;
  const uint8_t* values;
  size_t row_bytes, count, width;
  float* out;
  size_t ld_out;
};
using ValueSumsFn = void (*)(const ValueSums& a);

// Scores become weights 2^(score - maximum), zero outside [first, last); maximum and total run. `count` is
// rounded up to 16. With a softcap scores are capped first and then turned into powers of 2, without one they
// are taken as they are. Returns the factor by which what was summed before has to shrink.
struct WeighRow {
  float* scores;
  size_t count, first, last;
  float softcap;
  float *maximum, *total;
};

inline constexpr size_t kKeyTile = 64;

// Up to code_rows query rows as codes against a tile of keys and values as codes.
struct CodeTile {
  const int16_t* q;  // [rows][words]
  const float* q_scales;
  size_t rows, words, padded;  // words: key width rounded up to 32; padded: value width rounded up to 16
  size_t keys;                 // in this tile
  const int16_t* k_panel;      // [words / 2][kKeyTile][2]
  const float* k_scales;       // [kKeyTile]
  const int16_t* v_panel;      // [keys / 2][padded][2]
  const float* v_scales;       // [padded]
  const int64_t* spans;  // per row two: visible keys are [first, last) of the tile, clamped by the kernel
  float softcap;
  float* scores;     // [code_rows][kKeyTile], scratch
  int16_t* weights;  // [code_rows][kKeyTile], scratch
  float *maximum, *total;
  float* out;  // [rows][padded], running
};

struct AttentionTable {
  KeyScoresFn scores[tensor::kNamedCount];  // null: no kernel for the format
  ValueSumsFn sums[tensor::kNamedCount];
  float (*weigh)(const WeighRow& a);

  size_t code_rows;  // 0: no tiles in integers
  // Codes of magnitude up to `top` of one row of `words` floats; returns its scale.
  float (*row_codes)(const float* x, size_t words, float top, int16_t* codes);
  void (*key_panel)(const float* rows, size_t words, size_t keys, float top, int16_t* codes, int16_t* panel,
                    float* scales);
  void (*value_panel)(const float* values, size_t keys, size_t padded, int16_t* panel, float* scales);
  void (*attend_codes)(const CodeTile& tile);
};

const AttentionTable& scalar_attention();
const AttentionTable& avx2_attention();
const AttentionTable& avx512_attention();

}  // namespace hone::kernels
