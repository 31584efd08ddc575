// Second moments of the inputs of each weight on a text: the whole covariance, of which an importance matrix is the diagonal.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "exec/device.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace hone::evaluate {

// Mean of x x' [features, features], row-major, by the weight's name in the checkpoint. Weights that meet the same input
// share one matrix. Memory: 4 bytes a feature pair, for a Llama layer of width n and feed-forward width f about
// 12 n^2 + 4 f^2 bytes.
using Moments = std::map<std::string, std::shared_ptr<const std::vector<float>>>;
Moments collect_moments(const models::Model& model, exec::Device& device, const std::vector<std::vector<text::TokenId>>& windows,
                        ProgressSink* progress = nullptr);

}  // namespace hone::evaluate
