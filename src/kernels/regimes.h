// The regimes of matmul.cpp by the number of activation rows. Each takes a whole group of products.
#pragma once

#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::kernels {

inline constexpr size_t kSomeRows = 8;           // most rows of multiply_few
inline constexpr size_t kSerialWork = 24 << 10;  // multiply-adds below which waking threads costs more

constexpr size_t round_up(size_t n, size_t step) {
  return (n + step - 1) / step * step;
}
// Floats between row buffers: whole vectors, and off the powers of two that would collide in L1.
constexpr size_t row_stride(size_t depth) {
  return round_up(depth, 16) + 16;
}
inline size_t bytes_of(const WeightView& w, size_t elements) {
  const auto& f = tensor::format(w.format);
  return elements / f.block * f.block_bytes;
}

// few_rows.cpp: up to kSomeRows, straight from the stored bytes. group.rows.norm_gain is honoured.
void multiply_few(const IsaTable& t, const ProductGroup& group, ThreadPool& pool, std::byte* scratch);
// Whether m rows meet the weight as integer codes there, else in F32.
bool few_by_codes(const IsaTable& t, const WeightView& w, size_t m);
size_t few_scratch_bytes(const IsaTable& t, const ProductGroup& group, int threads);

// f32_panels.cpp: any rows and any format, by panels of F32. No norm, no add.
void multiply_panels(const IsaTable& t, const WeightView& w, const float* x, size_t m, float* y,
                     const float* bias, ThreadPool& pool, float* scratch);
size_t panels_scratch_bytes(const IsaTable& t, const WeightView& w, size_t m, int threads);

// many_rows.cpp: more rows than that, in integers where the weight has codes and else by multiply_panels.
void multiply_many(const IsaTable& t, Activations activations, const ProductGroup& group, ThreadPool& pool,
                   std::byte* scratch);
size_t many_scratch_bytes(const IsaTable& t, Activations activations, const ProductGroup& group, int threads);

// y[n] = gate(first) * second.
void apply_gate(const IsaTable& t, Gate gate, const float* first, const float* second, float* y, size_t n);

}  // namespace hone::kernels
