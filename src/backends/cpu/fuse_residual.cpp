// A product and what follows it one by one: bias, norm (Gemma), residual.
#include "backends/cpu/cpu_op.h"
#include "backends/cpu/fused_products.h"
#include "ir/op_table.h"

namespace hone::backends {

namespace {

void take_post_norm(const exec::Grouping& grouping, ProductStep& step) {
  const ir::Graph& graph = grouping.graph();
  const ir::NodeId norm = only_user(grouping, step.parts[0].output, "RMSNormalization");
  if (norm < 0) return;
  const ir::Node& node = graph.nodes()[static_cast<size_t>(norm)];
  if (node.inputs[0] != step.parts[0].output || !plain_norm(graph, node)) return;
  step.post_gain = node.inputs[1];
  step.post_epsilon = static_cast<float>(node.number_or("epsilon", 1e-5));
  step.parts[0].output = node.outputs[0];
  step.nodes.push_back(norm);
}

void take_residual(const exec::Grouping& grouping, ProductStep& step) {
  const ir::Graph& graph = grouping.graph();
  ProductStep::Part& part = step.parts[0];
  const ir::NodeId user = only_user(grouping, part.output, "Add");
  if (user < 0) return;
  const ir::Node& node = graph.nodes()[static_cast<size_t>(user)];
  const size_t other = node.inputs[0] == part.output ? 1 : 0;
  if (!is_f32(graph, node, other) || graph.value(node.inputs[other]).shape != graph.value(part.output).shape)
    return;
  part.add = node.inputs[other];
  part.output = node.outputs[0];
  step.nodes.push_back(user);
}

// root: the product. A residual may have been taken by the product on its other side.
std::optional<ProductStep> find(const exec::Grouping& grouping, ir::NodeId root, bool residual) {
  const ir::Graph& graph = grouping.graph();
  const std::optional<ProductStep::Part> part = product_part(graph, root);
  if (!part) return std::nullopt;
  ProductStep step;
  step.x = graph.nodes()[static_cast<size_t>(root)].inputs[0];
  step.parts = {*part};
  step.nodes = {root};
  take_bias(grouping, step.parts[0], step.nodes);
  take_post_norm(grouping, step);
  if (residual) take_residual(grouping, step);
  return step;
}

void match(exec::Grouping& grouping) {
  for (size_t n = 0; n < grouping.graph().nodes().size(); ++n)
    for (const bool residual : {true, false}) {
      const auto step = find(grouping, static_cast<ir::NodeId>(n), residual);
      if (step && join(grouping, *step)) break;
    }
}

std::unique_ptr<exec::Kernel> compile(const exec::Grouping& grouping, std::span<const ir::NodeId> nodes) {
  for (const bool residual : {true, false})
    if (auto kernel = kernel_if_same(grouping, find(grouping, nodes.front(), residual), nodes)) return kernel;
  return nullptr;
}

}  // namespace

Fusion residual_fusion() {
  return {"residual", match, compile};
}

}  // namespace hone::backends
