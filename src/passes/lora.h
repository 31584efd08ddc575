// The LoRA pass: adapters applied at run time, beside weights that stay as they are (and in any storage
// format).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "ir/graph.h"
#include "tensor/low_rank.h"

namespace hone::passes {

struct LoraAdapter {
  std::string name;  // for messages
  const std::map<std::string, tensor::LowRankUpdate>*
      updates;                        // by the name of the weight's value in the graph
  double scale = 1;                   // on top of each update's own
  std::shared_ptr<const void> owner;  // keeps the bytes behind the views
};

// Behind every MatMul with an adapted weight: y + scale * (x A^T) B^T; a Gather from an adapted table gets
// rows of B the same way. The sum takes the name of y. Results are those of the merged weights up to
// rounding; the scales are constants named
// "<y>.lora<i>.scale" for adapter i, which may be replaced later.
// Error(kUsage) names updates whose weight no MatMul or Gather reads; Error(kUnsupported) names DoRA
// magnitudes, which need the merged weight.
struct LoraResult {
  ir::Graph graph;
  int matched = 0;  // nodes that an adapter was added to, once per adapter
};
LoraResult apply_lora(const ir::Graph& graph, std::span<const LoraAdapter> adapters);

}  // namespace hone::passes
