// Graphs only grow, so a pass that changes nodes builds a new one: this copies everything and lets a rule put
// other nodes in the place of one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace hone::passes {

// Called for every node, with its inputs as values of the new graph. Returns false to have the node copied;
// else it has added what it wants and put the replacements of the node's outputs into `outputs`, in their
// order. A replacement that is to keep the output's name takes it.
using RewriteRule =
    std::function<bool(ir::Graph& out, const ir::Node& node, const std::vector<ir::ValueId>& inputs,
                       std::vector<ir::ValueId>& outputs)>;
ir::Graph rewrite(const ir::Graph& source, const RewriteRule& rule);

// A name that neither graph uses: `wanted`, or with a number behind it.
std::string free_name(const ir::Graph& source, const ir::Graph& out, const std::string& wanted);

}  // namespace hone::passes
