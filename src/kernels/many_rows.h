// The integer product of many activation rows, shared out over threads: the regime of matmul.cpp for formats
// whose weights are small codes with scales.
#pragma once

#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::kernels {

// How a weight is multiplied; nothing when its format, its width (not a multiple of 32) or a request for F32
// leaves it to the F32 panels.
struct DensePlan {
  const DenseTable* table = nullptr;
  DenseFormat format{};
  GroupedView view{};
  DenseTileFn tile = nullptr;
  bool words = false;  // 16-bit activations
  explicit operator bool() const { return tile != nullptr; }
};
DensePlan dense_plan(const IsaTable& t, const WeightView& w, Activations activations);

size_t dense_scratch_bytes(const DensePlan& plan, const WeightView& w, size_t m, int threads);
// Arguments as of matmul().
void multiply_dense(const DensePlan& plan, const WeightView& w, const float* x, size_t m, float* y,
                    const float* bias, ThreadPool& pool, std::byte* scratch);

}  // namespace hone::kernels
