// activation(x Wg) * (x Wu), with the norm that makes x where nothing else reads it. Gate and up are two
// weights, or rows of one that a Split takes apart.
#include "backends/cpu/cpu_op.h"
#include "backends/cpu/fused_products.h"
#include "ir/op_table.h"

namespace hone::backends {

namespace {

using Part = ProductStep::Part;

kernels::Gate gate_of(const ir::Node& node) {
  const std::string_view op = node.op->name;
  if (op == "Swish" && node.number_or("alpha", 1) == 1) return kernels::Gate::kSilu;
  if (op != "Gelu") return kernels::Gate::kNone;
  return node.string_or("approximate", "none") == "tanh" ? kernels::Gate::kGeluTanh : kernels::Gate::kGelu;
}

// The product that makes a value, read by one node only, and its bias.
std::optional<Part> side(const exec::Grouping& grouping, ir::ValueId value, ProductStep& step) {
  const ir::Graph& graph = grouping.graph();
  if (only_user(grouping, value) < 0) return std::nullopt;
  ir::NodeId maker = made_by(graph, value, "Add");
  if (maker >= 0) {
    const ir::Node& add = graph.nodes()[static_cast<size_t>(maker)];
    maker = made_by(graph, add.inputs[0], "MatMul");
    if (maker < 0) maker = made_by(graph, add.inputs[1], "MatMul");
  } else {
    maker = made_by(graph, value, "MatMul");
  }
  std::optional<Part> part = product_part(graph, maker);
  if (!part) return std::nullopt;
  step.nodes.push_back(maker);
  if (part->output != value) take_bias(grouping, *part, step.nodes);
  if (part->output != value) return std::nullopt;
  const ir::ValueId x = graph.nodes()[static_cast<size_t>(maker)].inputs[0];
  if (step.x != ir::kNoValue && step.x != x) return std::nullopt;
  step.x = x;
  return part;
}

// Gate and up out of one product.
bool take_halves(const exec::Grouping& grouping, ir::ValueId gate, ir::ValueId up, ProductStep& step) {
  const ir::Graph& graph = grouping.graph();
  const ir::NodeId split = made_by(graph, gate, "Split");
  if (split < 0 || only_user(grouping, gate) < 0 || only_user(grouping, up) < 0) return false;
  const ir::ValueId whole = graph.nodes()[static_cast<size_t>(split)].inputs[0];
  const std::optional<Part> part = side(grouping, whole, step);
  if (!part) return false;
  std::vector<Part> halves = split_parts(grouping, *part, step.nodes);
  if (halves.size() != 2 || halves[0].rows != halves[1].rows) return false;
  if (halves[0].output != gate) std::swap(halves[0], halves[1]);
  if (halves[0].output != gate || halves[1].output != up) return false;
  step.parts = std::move(halves);
  return true;
}

// root: the Mul.
std::optional<ProductStep> find(const exec::Grouping& grouping, ir::NodeId root) {
  const ir::Graph& graph = grouping.graph();
  const ir::Node& mul = graph.nodes()[static_cast<size_t>(root)];
  if (std::string_view(mul.op->name) != "Mul" ||
      graph.value(mul.inputs[0]).shape != graph.value(mul.inputs[1]).shape)
    return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const ir::NodeId act = graph.value(mul.inputs[i]).producer;
    if (act < 0 || only_user(grouping, mul.inputs[i]) != root) continue;
    ProductStep step;
    step.gate = gate_of(graph.nodes()[static_cast<size_t>(act)]);
    if (step.gate == kernels::Gate::kNone) continue;
    step.gated = mul.outputs[0];
    step.nodes = {act, root};
    const ir::ValueId gate = graph.nodes()[static_cast<size_t>(act)].inputs[0], up = mul.inputs[1 - i];
    if (!take_halves(grouping, gate, up, step)) {
      const std::optional<Part> first = side(grouping, gate, step),
                                second = first ? side(grouping, up, step) : std::nullopt;
      if (!second || first->rows != second->rows) continue;
      step.parts = {*first, *second};
    }
    take_norm(grouping, step);
    return step;
  }
  return std::nullopt;
}

void match(exec::Grouping& grouping) {
  for (size_t n = 0; n < grouping.graph().nodes().size(); ++n)
    if (const auto step = find(grouping, static_cast<ir::NodeId>(n))) join(grouping, *step);
}

std::unique_ptr<exec::Kernel> compile(const exec::Grouping& grouping, std::span<const ir::NodeId> nodes) {
  return kernel_if_same(grouping, find(grouping, nodes.back()), nodes);
}

}  // namespace

Fusion gate_fusion() {
  return {"gate", match, compile};
}

}  // namespace hone::backends
