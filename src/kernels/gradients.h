// Vector-Jacobian products of the ops that have kernels of their own, in F32.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/attention.h"
#include "kernels/matmul.h"

namespace hone::kernels {

// y[m, cols] = dy[m, rows] * W: what reaches the input of matmul(). W in any format, decoded tile by tile.
void matmul_transposed(const WeightView& w, const float* dy, size_t m, float* y, ThreadPool& pool,
                       std::span<std::byte> scratch);
size_t matmul_transposed_scratch_bytes(const WeightView& w, size_t max_m, int threads);

// dw[k, n] = transpose of x[m, k] times dy[m, n].
void weight_gradient(const float* x, size_t m, size_t k, const float* dy, size_t n, float* dw,
                     ThreadPool& pool, std::span<std::byte> scratch);
size_t weight_gradient_scratch_bytes(size_t max_m, size_t k, int threads);

// One row of y = x / rms(x) * scale: dx[n], and adds to dscale[n] in double precision.
void rms_norm_gradient(const float* dy, const float* x, const float* scale, float* dx, double* dscale,
                       size_t n, float epsilon);
void swish_gradient(const float* dy, const float* x, float* dx, size_t n, float alpha);
void gelu_gradient(const float* dy, const float* x, float* dx, size_t n, bool tanh_form);
// One row; y is the softmax.
void softmax_gradient(const float* dy, const float* y, float* dx, size_t n);

// Gradients of q, k and v of self-attention without a cache; args.keys and args.values are F32 with row
// strides in bytes, args.out is not used. dq, dk and dv lie as q, keys and values do and are overwritten.
struct AttentionGradientArgs {
  AttentionArgs forward;
  const float* dy = nullptr;  // strides of forward.out_strides
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;
};
void attention_gradient(const AttentionGradientArgs& args, ThreadPool& pool, std::span<std::byte> scratch);
size_t attention_gradient_scratch_bytes(const AttentionArgs& forward, int threads);

}  // namespace hone::kernels
