// The control vector pass: one Add behind each steered block.
#include "passes/control_vector.h"

#include "base/error.h"
#include "ir/op_table.h"
#include "passes/rewrite.h"

namespace hone::passes {

using ir::ValueId;

ControlVectorResult apply_control_vector(const ir::Graph& graph,
                                         const std::map<int64_t, std::vector<float>>& directions) {
  std::map<std::string, const std::vector<float>*> wanted;
  std::string faults;
  for (const auto& [layer, direction] : directions) {
    const std::string name = fmt::format("blk.{}.ffn_residual", layer);
    const ValueId id = graph.find_value(name);
    if (id == ir::kNoValue || graph.value(id).producer < 0)
      faults += fmt::format("{}there is no block {}", faults.empty() ? "" : "; ", layer);
    else if (const int64_t width = graph.value(id).shape.back().size;
             width != static_cast<int64_t>(direction.size()))
      faults += fmt::format("{}block {} is {} wide, its direction {}", faults.empty() ? "" : "; ", layer,
                            width, direction.size());
    else
      wanted.emplace(name, &direction);
    if (faults.size() > 400) break;
  }
  if (!faults.empty()) fail(ErrorKind::kUsage, "[control vector] does not fit the model: {}", faults);

  ControlVectorResult result;
  result.graph = rewrite(graph, [&](ir::Graph& out, const ir::Node& node, const std::vector<ValueId>& inputs,
                                    std::vector<ValueId>& outputs) {
    const std::string& name = graph.value(node.outputs[0]).name;
    const auto found = wanted.find(name);
    if (found == wanted.end()) return false;
    const ValueId plain = out.add_node(node.op->name, free_name(graph, out, node.name + ".plain"), inputs,
                                       node.attributes, {free_name(graph, out, name + ".plain")})[0];
    const ValueId direction = out.add_constant(free_name(graph, out, name + ".direction"), ir::DType::kF32,
                                               {static_cast<int64_t>(found->second->size())},
                                               ir::constant_of_floats(*found->second));
    outputs = {out.add("Add", name, {plain, direction})};
    ++result.matched;
    return true;
  });
  return result;
}

}  // namespace hone::passes
