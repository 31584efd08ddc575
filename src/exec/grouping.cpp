#include "exec/grouping.h"

#include <algorithm>

namespace hone::exec {

Grouping::Grouping(const ir::Graph& graph)
    : graph_(graph),
      users_(graph.values().size()),
      kept_(graph.values().size(), false),
      group_of_(graph.nodes().size(), -1) {
  for (size_t n = 0; n < graph.nodes().size(); ++n)
    for (const ir::ValueId in : graph.nodes()[n].inputs)
      if (in != ir::kNoValue) users_[static_cast<size_t>(in)].push_back(static_cast<ir::NodeId>(n));
  for (const ir::ValueId id : graph.outputs()) kept_[static_cast<size_t>(id)] = true;
  for (const ir::State& state : graph.states()) kept_[static_cast<size_t>(state.output)] = true;
}

ir::NodeId Grouping::place(ir::NodeId node) const {
  const int group = group_of_[static_cast<size_t>(node)];
  return group < 0 ? node : groups_[static_cast<size_t>(group)].back();
}

bool Grouping::join(std::span<const ir::NodeId> nodes) {
  const auto count = static_cast<ir::NodeId>(graph_.nodes().size());
  for (size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i] < 0 || nodes[i] >= count || (i > 0 && nodes[i] <= nodes[i - 1]) || taken(nodes[i]))
      return false;
  if (nodes.empty()) return false;
  const int own = static_cast<int>(groups_.size());
  groups_.emplace_back(nodes.begin(), nodes.end());
  for (const ir::NodeId n : nodes) group_of_[static_cast<size_t>(n)] = own;

  // Edges into and out of the members are the only ones whose order can have changed.
  bool in_order = true;
  const auto check = [&](ir::NodeId from, ir::NodeId to) {
    const bool same =
        group_of_[static_cast<size_t>(from)] == own && group_of_[static_cast<size_t>(to)] == own;
    in_order &= same || place(from) < place(to);
  };
  for (const ir::NodeId n : nodes) {
    const ir::Node& node = graph_.nodes()[static_cast<size_t>(n)];
    for (const ir::ValueId in : node.inputs)
      if (in != ir::kNoValue && graph_.value(in).producer >= 0) check(graph_.value(in).producer, n);
    for (const ir::ValueId out : node.outputs)
      for (const ir::NodeId user : users(out)) check(n, user);
  }
  if (in_order) return true;
  for (const ir::NodeId n : nodes) group_of_[static_cast<size_t>(n)] = -1;
  groups_.pop_back();
  return false;
}

GroupEdges Grouping::edges(std::span<const ir::NodeId> nodes) const {
  GroupEdges edges;
  const auto member = [&](ir::NodeId n) { return std::binary_search(nodes.begin(), nodes.end(), n); };
  const auto add = [](std::vector<ir::ValueId>& list, ir::ValueId id) {
    if (std::find(list.begin(), list.end(), id) == list.end()) list.push_back(id);
  };
  for (const ir::NodeId n : nodes) {
    const ir::Node& node = graph_.nodes()[static_cast<size_t>(n)];
    for (const ir::ValueId in : node.inputs)
      if (in != ir::kNoValue && (graph_.value(in).producer < 0 || !member(graph_.value(in).producer)))
        add(edges.inputs, in);
    for (const ir::ValueId out : node.outputs) {
      const auto readers = users(out);
      if (kept(out) || std::any_of(readers.begin(), readers.end(), [&](ir::NodeId r) { return !member(r); }))
        add(edges.outputs, out);
    }
  }
  return edges;
}

}  // namespace hone::exec
