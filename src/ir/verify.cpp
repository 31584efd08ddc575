// The verifier: what add_* guarantees, checked again on a finished graph, after passes or by tests.
#include <set>

#include "base/error.h"
#include "ir/op_table.h"

namespace hone::ir {

namespace {

void verify_values(const Graph& graph) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    if (!names.insert(value.name).second) fail(ErrorKind::kBadInput, "[ir] value '{}' is defined twice", value.name);
    const int sources = (value.producer >= 0) + (value.constant >= 0) + value.is_input;
    if (sources != 1)
      fail(ErrorKind::kBadInput, "[ir] value '{}' must be exactly one of input, constant and node output", value.name);
    if (value.constant >= static_cast<int32_t>(graph.constants().size()))
      fail(ErrorKind::kBadInput, "[ir] value '{}' names a constant that does not exist", value.name);
    if (value.producer >= static_cast<NodeId>(graph.nodes().size()))
      fail(ErrorKind::kBadInput, "[ir] value '{}' names a node that does not exist", value.name);
  }
}

// Inference adds derived symbols, so it runs on a copy; the copy shares the bytes of the constants.
void verify_nodes(const Graph& graph, Graph& scratch) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    InferContext context{node, {}, scratch};
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) {
        context.inputs.push_back(nullptr);
        continue;
      }
      if (id < 0 || id >= static_cast<ValueId>(graph.values().size()))
        fail(ErrorKind::kBadInput, "[ir] node '{}': an input does not exist", node.name);
      const Value& value = graph.value(id);
      if (value.producer >= static_cast<NodeId>(i))
        fail(ErrorKind::kBadInput, "[ir] node '{}' reads '{}' before it is computed", node.name, value.name);
      context.inputs.push_back(&value);
    }
    const std::vector<OutputType> types = node.op->infer(context);
    if (types.size() != node.outputs.size())
      fail(ErrorKind::kBadInput, "[ir] node '{}' has {} outputs, {} gives {}", node.name, node.outputs.size(),
           node.op->name, types.size());
    for (size_t k = 0; k < types.size(); ++k) {
      const Value& value = graph.value(node.outputs[k]);
      if (value.producer != static_cast<NodeId>(i) || value.dtype != types[k].dtype || value.shape != types[k].shape)
        fail(ErrorKind::kBadInput, "[ir] node '{}': output '{}' is {}, inference gives {}", node.name, value.name,
             type_text(graph, value.dtype, value.shape), type_text(scratch, types[k].dtype, types[k].shape));
    }
  }
}

}  // namespace

void verify(const Graph& graph) {
  verify_values(graph);
  Graph scratch = graph;
  verify_nodes(graph, scratch);
  if (graph.outputs().empty()) fail(ErrorKind::kBadInput, "[ir] graph '{}' has no outputs", graph.name());
  std::set<ValueId> paired;
  for (const State& state : graph.states()) {
    const Value &input = graph.value(state.input), &output = graph.value(state.output);
    bool same = input.dtype == output.dtype && input.shape.size() == output.shape.size();
    for (size_t axis = 0; same && axis < input.shape.size(); ++axis)
      same = static_cast<int>(axis) == state.growing_axis || input.shape[axis] == output.shape[axis];
    if (!same) fail(ErrorKind::kBadInput, "[ir] state '{}': '{}' and '{}' do not agree", state.name, input.name, output.name);
    if (!paired.insert(state.input).second || !paired.insert(state.output).second)
      fail(ErrorKind::kBadInput, "[ir] state '{}' shares a value with another state", state.name);
  }
}

}  // namespace hone::ir
