// Whole matrices in grouped formats taken apart into the tensors of MLX, compressed-tensors and GPTQ
// checkpoints, and the part of config.json that says how.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tensor/checkpoint.h"
#include "tensor/transcode.h"

namespace hone::formats {

// A matrix [.., out, in] on its way into a file; module is its name without ".weight".
struct WholeMatrix {
  std::string module;
  tensor::FormatId format = tensor::FormatId::kF32;  // a grouped format that the layout carries
  tensor::Shape shape;
  std::function<void(std::span<std::byte> dst)> produce;
  bool one_scale_per_row = false;  // every row's groups have the same scale and zero point
};

// The tensors that stand for it. The matrix is produced once and kept until its last part is written, so
// parts of one matrix should follow each other in the file. Error(kUnsupported) for sizes that the layout
// cannot have.
std::vector<tensor::OutputTensor> split_matrix(tensor::Container layout, WholeMatrix matrix);

// `quantization` of MLX's config.json, or `quantization_config` of the others. plain: linear modules that
// stay floats. Error(kUnsupported) when the layout has one width and group for all modules and these differ.
Json quantization_json(tensor::Container layout, const std::vector<WholeMatrix>& matrices,
                       const std::vector<std::string>& plain);

// Whether every row of the matrix has a single scale and zero point.
bool has_one_scale_per_row(const tensor::TensorView& view);

}  // namespace hone::formats
