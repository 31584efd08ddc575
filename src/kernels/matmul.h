// Products of F32 activations with weights in any storage format.
#pragma once

#include <cstddef>
#include <span>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "tensor/quant_format.h"

namespace hone::kernels {

// A weight as it lies in memory: `rows` rows (out features) of `cols` elements (in features).
struct WeightView {
  tensor::FormatId format = tensor::FormatId::kF32;
  const std::byte* data = nullptr;
  size_t rows = 0, cols = 0;
};

// How precisely activations meet quantized weights when there are many rows (prompts): codes of 8 or 16 bits
// with a scale per 32 elements, or F32. kAuto: 16 bits, which change no text.
enum class Activations { kAuto, k8, k16, kF32 };
// What the environment variable HONE_ACTIVATIONS (8, 16 or f32) forces, else kAuto. Read once. Throws
// Error(kUsage) for anything else.
Activations forced_activations();
// What products of so many rows use for a weight: "8-bit", "16-bit" (words of 14 bits) or "F32".
const char* activations_used(const WeightView& w, size_t rows = 512);

// y[m, rows] = x[m, cols] * W^T (+ bias[rows] when not null). x and y are dense F32.
// Any m; few rows run as matrix-vector products straight from the stored bytes, many rows decode tiles of
// W and run a register-blocked product. scratch: matmul_scratch_bytes() bytes, 64-byte aligned.
// activations: what the caller wants where the environment forces nothing; the scratch must be asked for with
// the same.
void matmul(const WeightView& w, const float* x, size_t m, float* y, const float* bias, ThreadPool& pool,
            std::span<std::byte> scratch, Activations activations = Activations::kAuto);
size_t matmul_scratch_bytes(const WeightView& w, size_t max_m, int threads,
                            Activations activations = Activations::kAuto);

// Activation rows x[m, cols], or where norm_gain is not null their RMS norm times norm_gain[cols].
struct ActivationRows {
  const float* x = nullptr;
  size_t m = 0;
  const float* norm_gain = nullptr;
  float epsilon = 0;
};
// One weight that meets them: y[m, rows] = rows * W^T (+ bias[rows]) (+ add[m, rows], a residual, not
// overlapping y).
struct Product {
  WeightView w;
  float* y = nullptr;
  const float* bias = nullptr;
  const float* add = nullptr;
};
enum class Gate { kNone, kSilu, kGelu, kGeluTanh };
// Products that share their activations (q, k and v; gate and up): normalised and quantized once, one
// parallel region. All have the same cols. With a gate there are two of the same rows, their y is not used
// and gated[m, rows] = gate(first) * second.
struct ProductGroup {
  std::span<const Product> products;
  ActivationRows rows;
  Gate gate = Gate::kNone;
  float* gated = nullptr;
};
// scratch: group_scratch_bytes() of the same group with the largest m; 64-byte aligned.
void matmul_group(const ProductGroup& group, ThreadPool& pool, std::span<std::byte> scratch,
                  Activations activations = Activations::kAuto);
size_t group_scratch_bytes(const ProductGroup& group, int threads,
                           Activations activations = Activations::kAuto);
// The same on a given instruction set (tests).
void matmul_group_on(Isa isa, Activations activations, const ProductGroup& group, ThreadPool& pool);

// The same on a given instruction set, with given activations (tests). scratch: as long as it asks for.
void matmul_on(Isa isa, Activations activations, const WeightView& w, const float* x, size_t m, float* y,
               const float* bias, ThreadPool& pool);
bool matmul_supports(tensor::FormatId format);

// y[m, n] = a[m, k] * b[k, n], all dense F32. scratch as above, of matmul_f32_scratch_bytes().
void matmul_f32(const float* a, size_t m, size_t k, const float* b, size_t n, float* y, ThreadPool& pool,
                std::span<std::byte> scratch);
size_t matmul_f32_scratch_bytes(size_t max_m, size_t max_k, int threads);

// Decodes n elements (a multiple of the block) to F32, bit-equal to the reference on every ISA.
void decode(tensor::FormatId format, const std::byte* src, float* dst, size_t n);
// The same on a given instruction set (tests).
void decode_on(Isa isa, tensor::FormatId format, const std::byte* src, float* dst, size_t n);
// One or two activation rows with a grouped format on a given instruction set, by floats or by 16-bit codes;
// false when it has no such kernel (tests).
bool grouped_gemv_on(Isa isa, const WeightView& w, const float* x, size_t m, float* y, const float* bias,
                     bool by_codes);

}  // namespace hone::kernels
