// Encoding of F32 rows into a storage format with the least weighted squared error that the search finds.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace hone::quant {

// How long to search where a format has two searches; both are deterministic.
enum class Effort : uint8_t {
  kFast,      // sixteen blocks side by side over a few scales: what quantizing a whole model waits for
  kThorough,  // sixteen candidates of one block: several times slower, errors a few percent to a third smaller
};

// x: rows x cols, row-major. importance: cols non-negative weights of the squared error (typically the mean
// square of the input feature), or empty for plain squared error. dst: rows * format_bytes(cols) bytes.
// Minimises, block by block, sum_j importance[j] * (x_j - decode_j)^2. Deterministic for any thread count.
// pool may be null. Error(kBadInput) when cols is no multiple of the block; non-finite values are refused.
void encode_rows(tensor::FormatId format, const float* x, size_t rows, size_t cols, std::span<const float> importance,
                 std::byte* dst, ThreadPool* pool, Effort effort = Effort::kFast);
// A whole stored tensor in another format. Every worker decodes and encodes some rows at a time: 256 KB of F32 (or one
// row) each beside source and result.
// dst: format_bytes(format, elements). importance: one set of row_length weights, or one set per matrix of a
// stack [sets, rows, row_length], or empty. Errors as encode_rows, and Error(kCancelled).
void encode_tensor(const tensor::TensorView& source, tensor::FormatId format, std::span<const float> importance,
                   std::span<std::byte> dst, ThreadPool* pool, Effort effort = Effort::kFast);
bool can_encode(tensor::FormatId format);

// sum over rows and columns of importance[j] * (x - decode(encoded))^2.
double weighted_error(tensor::FormatId format, const float* x, const std::byte* encoded, size_t rows, size_t cols,
                      std::span<const float> importance, ThreadPool* pool);

}  // namespace hone::quant
