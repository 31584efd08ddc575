#include "backends/cpu/fuse.h"

#include "ir/op_table.h"

namespace hone::backends {

std::span<const Fusion> fusions() {
  static const Fusion list[] = {gate_fusion(), norm_fusion(), residual_fusion()};
  return list;
}

std::vector<std::pair<std::string, int>> count_fusions(const ir::Graph& graph) {
  std::vector<std::pair<std::string, int>> counts;
  exec::Grouping grouping(graph);
  for (const Fusion& fusion : fusions()) {
    const size_t before = grouping.groups().size();
    fusion.match(grouping);
    counts.emplace_back(fusion.name, static_cast<int>(grouping.groups().size() - before));
  }
  return counts;
}

ir::NodeId only_user(const exec::Grouping& grouping, ir::ValueId value) {
  const auto users = grouping.users(value);
  return grouping.kept(value) || users.size() != 1 ? -1 : users[0];
}

ir::NodeId only_user(const exec::Grouping& grouping, ir::ValueId value, std::string_view op) {
  const ir::NodeId user = only_user(grouping, value);
  return user >= 0 && grouping.graph().nodes()[static_cast<size_t>(user)].op->name == op ? user : -1;
}

ir::NodeId made_by(const ir::Graph& graph, ir::ValueId value, std::string_view op) {
  const ir::NodeId maker = graph.value(value).producer;
  return maker >= 0 && graph.nodes()[static_cast<size_t>(maker)].op->name == op ? maker : -1;
}

}  // namespace hone::backends
