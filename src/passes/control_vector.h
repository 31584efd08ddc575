// The control vector pass: directions added to the residual stream (Turner et al. 2023, activation addition,
// arXiv 2308.10248; Zou et al. 2023, representation engineering, arXiv 2310.01405).
#pragma once

#include <map>
#include <vector>

#include "ir/graph.h"

namespace hone::passes {

// directions: block -> [hidden], already scaled. Each is added to "blk.N.ffn_residual", the output of block
// N, for every position; the sum takes that name. Layers are numbered as in llama.cpp, where block 0 never
// has a direction. Error(kUsage) names blocks that the graph does not have and vectors of another length than
// the stream's.
struct ControlVectorResult {
  ir::Graph graph;
  int matched = 0;
};
ControlVectorResult apply_control_vector(const ir::Graph& graph,
                                         const std::map<int64_t, std::vector<float>>& directions);

}  // namespace hone::passes
