// The table of vector-Jacobian products: a row per op, which adds the nodes that turn the gradients of a
// node's outputs into those of its inputs.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace hone::train {

// What a row gets to work with. Inputs and outputs are those of the forward node, as values of the new graph;
// asking for one may compute it again.
struct Vjp {
  ir::Graph& graph;
  const ir::Node& node;                // of the forward graph
  std::vector<ir::ValueId> gradients;  // per output, kNoValue where nothing arrives
  std::function<ir::ValueId(size_t)> input, output;
  // The value as the forward pass named it, for its shape alone.
  std::function<ir::ValueId(size_t)> shape_of;
  std::function<bool(size_t)> wanted;               // gradient of input i is asked for
  std::function<void(size_t, ir::ValueId)> give;    // adds to the gradient of input i
  std::function<ir::ValueId(ir::ValueId)> negated;  // -x, once per x

  using Attributes = std::vector<std::pair<std::string, ir::Attribute>>;
  std::vector<ir::ValueId> nodes(std::string_view op, std::vector<ir::ValueId> inputs,
                                 Attributes attributes = {});
  ir::ValueId add(std::string_view op, std::vector<ir::ValueId> inputs, Attributes attributes = {}) {
    return nodes(op, std::move(inputs), std::move(attributes))[0];
  }
  ir::ValueId number(float value);
  ir::ValueId ints(std::vector<int64_t> values);
  // dy brought back to the shape of input i where that was broadcast.
  void give_summed(size_t i, ir::ValueId dy);
};

struct VjpRow {
  const char* op;
  void (*run)(Vjp& c);
};
const VjpRow* find_vjp(std::string_view op);  // null: no derivative

// A name no value of the graph has.
std::string fresh_name(const ir::Graph& graph, const std::string& wanted);

}  // namespace hone::train
