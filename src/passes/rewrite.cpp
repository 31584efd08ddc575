// Copying a graph value by value, in the order of its arena.
#include "passes/rewrite.h"

#include "base/error.h"
#include "ir/op_table.h"

namespace hone::passes {

using ir::ValueId;

namespace {

std::vector<int64_t> sizes_of(const ir::Shape& shape) {
  std::vector<int64_t> sizes;
  for (const ir::Dim& dim : shape) sizes.push_back(dim.size);
  return sizes;
}

std::vector<std::string> output_names(const ir::Graph& graph, const ir::Node& node) {
  std::vector<std::string> names;
  for (const ValueId id : node.outputs) names.push_back(graph.value(id).name);
  return names;
}

// Symbols keep their ids: they are added in the same order.
void copy_symbols(const ir::Graph& source, ir::Graph& out) {
  for (size_t i = 0; i < source.symbols().size(); ++i) {
    const ir::SymbolRule& rule = source.rule(static_cast<ir::SymbolId>(i));
    const ir::SymbolId id = rule.kind == ir::SymbolRule::Kind::kFree
                                ? out.symbol(source.symbols()[i])
                                : out.derive_symbol(source.symbols()[i], rule);
    HONE_CHECK(id == static_cast<ir::SymbolId>(i));
  }
}

}  // namespace

ir::Graph rewrite(const ir::Graph& source, const RewriteRule& rule) {
  ir::Graph out(source.name());
  copy_symbols(source, out);
  std::vector<ValueId> moved(source.values().size(), ir::kNoValue);
  const auto at = [&](ValueId id) {
    return id == ir::kNoValue ? ir::kNoValue : moved[static_cast<size_t>(id)];
  };
  const auto copy_node = [&](const ir::Node& node) {
    std::vector<ValueId> inputs, outputs;
    for (const ValueId id : node.inputs) inputs.push_back(at(id));
    if (!rule(out, node, inputs, outputs))
      outputs = out.add_node(node.op->name, node.name, inputs, node.attributes, output_names(source, node));
    HONE_CHECK(outputs.size() == node.outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) moved[static_cast<size_t>(node.outputs[i])] = outputs[i];
  };
  for (size_t i = 0; i < source.values().size(); ++i) {
    const ir::Value& value = source.values()[i];
    if (value.is_input)
      moved[i] = out.add_input(value.name, value.dtype, value.shape);
    else if (value.constant >= 0)
      moved[i] = out.add_constant(value.name, value.dtype, sizes_of(value.shape),
                                  source.constants()[static_cast<size_t>(value.constant)]);
    else if (moved[i] == ir::kNoValue)
      copy_node(source.nodes()[static_cast<size_t>(value.producer)]);
  }
  for (const ValueId id : source.outputs()) out.add_output(at(id));
  for (const ir::State& s : source.states()) out.add_state(s.name, at(s.input), at(s.output), s.growing_axis);
  return out;
}

std::string free_name(const ir::Graph& source, const ir::Graph& out, const std::string& wanted) {
  const auto taken = [&](const std::string& name) {
    return source.find_value(name) != ir::kNoValue || out.find_value(name) != ir::kNoValue;
  };
  if (!taken(wanted)) return wanted;
  for (int i = 1;; ++i)
    if (std::string name = fmt::format("{}{}", wanted, i); !taken(name)) return name;
}

}  // namespace hone::passes
