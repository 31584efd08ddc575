// An RMS norm and all products that read it (q, k and v; the head): normalised once, one parallel region.
// Biases and a Split of the output belong to them.
#include "backends/cpu/fused_products.h"
#include "ir/op_table.h"

namespace hone::backends {

namespace {

// root: the norm.
std::optional<ProductStep> find(const exec::Grouping& grouping, ir::NodeId root) {
  const ir::Graph& graph = grouping.graph();
  const ir::Node& norm = graph.nodes()[static_cast<size_t>(root)];
  if (std::string_view(norm.op->name) != "RMSNormalization") return std::nullopt;
  ProductStep step;
  step.x = norm.outputs[0];
  for (const ir::NodeId user : grouping.users(step.x)) {
    std::optional<ProductStep::Part> part = product_part(graph, user);
    if (!part || graph.nodes()[static_cast<size_t>(user)].inputs[0] != step.x) return std::nullopt;
    step.nodes.push_back(user);
    take_bias(grouping, *part, step.nodes);
    for (const auto& piece : split_parts(grouping, *part, step.nodes)) step.parts.push_back(piece);
  }
  take_norm(grouping, step);
  if (step.parts.empty() || step.gain == ir::kNoValue) return std::nullopt;
  return step;
}

void match(exec::Grouping& grouping) {
  for (size_t n = 0; n < grouping.graph().nodes().size(); ++n)
    if (const auto step = find(grouping, static_cast<ir::NodeId>(n))) join(grouping, *step);
}

std::unique_ptr<exec::Kernel> compile(const exec::Grouping& grouping, std::span<const ir::NodeId> nodes) {
  return kernel_if_same(grouping, find(grouping, nodes.front()), nodes);
}

}  // namespace

Fusion norm_fusion() {
  return {"norm", match, compile};
}

}  // namespace hone::backends
