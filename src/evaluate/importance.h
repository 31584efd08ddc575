// What the inputs of each weight look like on a text: the statistics that weighted quantization minimises.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "exec/device.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace hone::evaluate {

// Runs the windows and calls seen() for every MatMul of a constant from the checkpoint (Constant::source): source is its
// name there, input the value that meets it (q, k and v share one), x its rows [.., features] in F32. The head sees at
// most 128 evenly spaced positions a window.
void observe_inputs(const models::Model& model, exec::Device& device, const std::vector<std::vector<text::TokenId>>& windows,
                    const char* stage_name, ProgressSink* progress,
                    const std::function<void(const std::string& source, ir::ValueId input, const exec::Buffer& x)>& seen);

// Mean of x^2 per input feature of every MatMul constant, by its name in the checkpoint (Constant::source), over
// all positions of the windows; sums in F64. The head is there too (for a tied head under the embedding's
// name), over at most 128 evenly spaced positions a window. These are the diagonals of the layer Hessians,
// which llama.cpp calls an importance matrix.
std::map<std::string, std::vector<float>> collect_importances(const models::Model& model, exec::Device& device,
                                                              const std::vector<std::vector<text::TokenId>>& windows,
                                                              ProgressSink* progress = nullptr);

}  // namespace hone::evaluate
