// What the inputs of each weight look like on a text: the statistics that weighted quantization minimises.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "exec/device.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace hone::evaluate {

// Mean of x^2 per input feature of every MatMul constant, by its name in the checkpoint (Constant::source), over
// all positions of the windows; sums in F64. The head is there too (for a tied head under the embedding's
// name), over at most 128 evenly spaced positions a window. These are the diagonals of the layer Hessians,
// which llama.cpp calls an importance matrix.
std::map<std::string, std::vector<float>> collect_importances(const models::Model& model, exec::Device& device,
                                                              const std::vector<std::vector<text::TokenId>>& windows,
                                                              ProgressSink* progress = nullptr);

}  // namespace hone::evaluate
