// The integer product of many activation rows, shared out over threads: the regime of matmul.cpp for formats
// whose weights become codes with scales.
#pragma once

#include <optional>

#include "kernels/decoder.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::kernels {

// How a weight is multiplied; nothing when its width (not a multiple of 32), a request for F32 or F32 weights
// leave it to the F32 panels.
struct DensePlan {
  const DenseTable* table = nullptr;
  DenseFormat format{};
  DenseKernel kernel{};
  GroupedView view{};
  std::optional<Decoder> decoder;
  explicit operator bool() const { return kernel.tile != nullptr; }
};
DensePlan dense_plan(const IsaTable& t, const WeightView& w, Activations activations);

}  // namespace hone::kernels
