// Patterns of nodes that the CPU runs as one step: a product with the norm before it, its bias, gate and
// residual. One file per pattern, one row in the list of fuse.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "exec/device.h"
#include "exec/grouping.h"

namespace hone::backends {

struct Fusion {
  const char* name;
  // Joins every place where the pattern fits.
  void (*match)(exec::Grouping& grouping);
  // Null where the nodes are not this pattern's.
  std::unique_ptr<exec::Kernel> (*compile)(const exec::Grouping& grouping, std::span<const ir::NodeId> nodes);
};
// In the order of matching: what an earlier one took is not looked at again.
std::span<const Fusion> fusions();

// How often each pattern fits a graph, by name (tests: a pattern that never matches has come undone).
std::vector<std::pair<std::string, int>> count_fusions(const ir::Graph& graph);

// Matmul groups.
Fusion gate_fusion();      // [norm,] gate and up, activation, product of the two
Fusion norm_fusion();      // norm and all products that read it, with biases or a split behind
Fusion residual_fusion();  // product, bias, norm, residual: at least two of them

// The one node that reads a value and nothing else keeps; -1 where there are none or more.
ir::NodeId only_user(const exec::Grouping& grouping, ir::ValueId value);
// The node that makes a value if it is this op, else -1.
ir::NodeId made_by(const ir::Graph& graph, ir::ValueId value, std::string_view op);
// The user of a value as above, if it is this op, else -1.
ir::NodeId only_user(const exec::Grouping& grouping, ir::ValueId value, std::string_view op);

}  // namespace hone::backends
