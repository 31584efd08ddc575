// Attention's part of the dispatch table, filled by attention_*.cpp: a few query rows against keys and values
// in storage order (decode). Keys and values have formats of their own. See attention_rows.inc.
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

struct AttentionTable {
  KeyScoresFn scores[tensor::kNamedCount];  // null: no kernel for the format
  ValueSumsFn sums[tensor::kNamedCount];
  float (*weigh)(const WeighRow& a);
};

const AttentionTable& scalar_attention();
const AttentionTable& avx2_attention();
const AttentionTable& avx512_attention();

}  // namespace hone::kernels
