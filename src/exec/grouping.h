// Which nodes of a graph run together as one step. A step runs at the place of its last node; what that
// order breaks is refused.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace hone::exec {

// What a set of nodes reads from outside and gives to the outside: the order of the buffers of the kernel
// that runs them. Inputs: values that no member makes, in the order in which members first read them
// (members ascending, each one's inputs from left to right, absent ones left out), each once. Outputs: values
// that other nodes read, or that are outputs of the graph or of a state, in the order of their making.
struct GroupEdges {
  std::vector<ir::ValueId> inputs, outputs;
};

class Grouping {
 public:
  explicit Grouping(const ir::Graph& graph);

  // Joins nodes (ascending, at least one). False, and nothing changes, where one is taken already or the
  // order of steps would no longer hold: a node between them reads what an early member makes.
  bool join(std::span<const ir::NodeId> nodes);
  const ir::Graph& graph() const { return graph_; }
  bool taken(ir::NodeId node) const { return group_of_[static_cast<size_t>(node)] >= 0; }
  const std::vector<std::vector<ir::NodeId>>& groups() const { return groups_; }

  // Nodes that read a value, ascending, each once per operand.
  std::span<const ir::NodeId> users(ir::ValueId value) const { return users_[static_cast<size_t>(value)]; }
  // Outputs of the graph and of states stay what they are, whoever else reads them.
  bool kept(ir::ValueId value) const { return kept_[static_cast<size_t>(value)]; }
  GroupEdges edges(std::span<const ir::NodeId> nodes) const;

 private:
  ir::NodeId place(ir::NodeId node) const;  // the last node of its step
  const ir::Graph& graph_;
  std::vector<std::vector<ir::NodeId>> users_;  // per value
  std::vector<bool> kept_;                      // per value
  std::vector<int> group_of_;                   // per node, -1: alone
  std::vector<std::vector<ir::NodeId>> groups_;
};

}  // namespace hone::exec
