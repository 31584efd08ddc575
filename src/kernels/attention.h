// Softmax attention over stored keys and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "tensor/quant_format.h"

namespace hone::kernels {

// Rows of keys or values: row j of head h of batch b is at data + b * batch_stride + h * head_stride +
// j * row_stride (bytes), `width` elements in `format`.
struct RowsView {
  const std::byte* data = nullptr;
  tensor::FormatId format = tensor::FormatId::kF32;
  size_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

// Activations: element 0 of token i of head h of batch b is at data + b * batch + h * head + i * token.
struct HeadStrides {
  size_t batch = 0, head = 0, token = 0;  // in floats
};

struct AttentionArgs {
  size_t batch = 0, queries = 0;   // query tokens per batch row
  size_t heads = 0, kv_heads = 0;  // query head h reads key head h / (heads / kv_heads)
  size_t key_width = 0, value_width = 0;
  const float* q = nullptr;
  HeadStrides q_strides;
  RowsView keys, values;
  float* out = nullptr;
  HeadStrides out_strides;
  std::span<const int64_t> past;  // per batch row; query i is at position past + i
  size_t fresh = 0;               // keys per batch row beyond past (equals queries in self-attention)
  float scale = 1, softcap = 0;   // softcap 0: none
  bool causal = true;
  int64_t window = 0;  // 0: all; else keys in (position - window, position]
  bool exact = false;  // F32 arithmetic; also where keys and values are stored in F32
};

// Online softmax over tiles of 64 keys; keys of a group of heads are decoded once for all its queries. With
// few units of work (decode) the keys are split over threads and the parts merged.
void attention(const AttentionArgs& args, ThreadPool& pool, std::span<std::byte> scratch);
// Enough for every cache format, every past and every number of queries up to those of `args`.
size_t attention_scratch_bytes(const AttentionArgs& args, int threads);

// Encodes n floats as cache rows: F32, F16 and BF16 vectorised, others by the reference encoder.
void encode_row(tensor::FormatId format, const float* src, std::byte* dst, size_t n);

}  // namespace hone::kernels
