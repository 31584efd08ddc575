// The change that an adapter makes to one weight: W' = W + scale * B A, and for DoRA each row of W' scaled to
// a trained length. The one in-memory form of all adapter files; merging and running both start here.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace hone::tensor {

// LoRA (Hu et al. 2021, arXiv 2106.09685). For W [rows, columns] as it lies in the checkpoint; of an
// embedding table the rows are tokens.
struct LowRankUpdate {
  TensorView a;  // [rank, columns]
  TensorView b;  // [rows, rank]
  double scale =
      1;  // the adapter's own factor (alpha / rank, or what its kind defines); a user's factor comes on top
  // DoRA (Liu et al. 2024, arXiv 2402.09353): W' = magnitude * (W + scale B A) / |W + scale B A|, row by row.
  std::vector<float> magnitude;  // [rows], or empty

  int64_t rank() const { return a.shape.empty() ? 0 : a.shape.front(); }
};

}  // namespace hone::tensor
