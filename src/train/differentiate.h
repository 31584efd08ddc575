// Reverse-mode differentiation of a Graph into a Graph (Griewank & Walther 2008, chapters 3 and 12): the
// nodes of the forward pass, then those that carry the gradient of one output back to the values asked for.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"

namespace hone::train {

struct GradientOptions {
  // The gradient that arrives at the output: a value of the graph with the output's shape (for example
  // softmax minus target); kNoValue adds a graph input "gradient.<name of the output>".
  ir::ValueId seed = ir::kNoValue;
  // Values of the forward pass that are kept for the backward pass; all others before the last of them are
  // computed again where needed (Chen et al. 2016). The residual stream between layers is the natural choice:
  // memory is then one layer's activations plus one row of it per layer, time one more forward pass. Empty:
  // everything is kept.
  std::vector<ir::ValueId> checkpoints;
};

struct Gradient {
  ir::Graph graph;                     // its outputs: those of the forward graph, then the gradients
  std::vector<ir::ValueId> values;     // per value of the forward graph, its id here
  std::vector<ir::ValueId> gradients;  // per value asked for; kNoValue where the output does not depend on it
};

// wrt: graph inputs, constants or results of nodes, F32. A gradient of a weight has the weight's logical
// shape. States are not supported: build the graph without a cache. Error(kUnsupported) lists every op on the
// way that has no derivative here, all at once.
Gradient differentiate(const ir::Graph& forward, ir::ValueId output, std::span<const ir::ValueId> wrt,
                       const GradientOptions& options = {});

}  // namespace hone::train
