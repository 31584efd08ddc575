// Inner functions that fitting, merging and writing of adapters share.
#pragma once

#include "models/model.h"

namespace hone::models {

// The head of a model whose head is its embedding, as a tensor of its own.
TensorInfo tied_head_info(const ModelConfig& config);

}  // namespace hone::models
