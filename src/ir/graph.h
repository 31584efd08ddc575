// The one IR: values and nodes in arenas, edges are integer ids. Ops follow ONNX opset 24 in names and
// semantics, plus the domain "hone" for what ONNX lacks. A language model and a CNN are the same object.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace hone::ir {

using tensor::DType;
using tensor::FormatId;
using ValueId = int32_t;
using NodeId = int32_t;
using SymbolId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input that is absent

// A size: a number, or a symbol of the graph ("batch", "sequence", "past", "total") bound at run time.
struct Dim {
  int64_t size = 0;
  SymbolId symbol = -1;
  static Dim of(int64_t n) { return {n, -1}; }
  static Dim sym(SymbolId id) { return {0, id}; }
  bool known() const { return symbol < 0; }
  bool operator==(const Dim&) const = default;
};
using Shape = std::vector<Dim>;

// Bytes of a constant. The logical shape of the value is that of the op's definition; `transposed`
// says that a 2-D constant [in, out] lies in memory as rows of [out, in], as linear layers are published
// and as block formats need it (blocks run along `in`).
struct Constant {
  FormatId format = FormatId::kF32;
  bool transposed = false;
  std::span<const std::byte> bytes;     // empty while the constant is lazy
  std::shared_ptr<const void> owner;    // keeps bytes alive; null when the checkpoint does
  // A lazy constant: fills format_bytes(format, elements) bytes when an executor or writer asks.
  std::function<void(std::span<std::byte>)> produce;
  std::string source;                   // name of the tensor in the checkpoint, for reports and writers
  bool lazy() const { return static_cast<bool>(produce); }
};

struct Value {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  NodeId producer = -1;                 // -1: graph input or constant
  int32_t constant = -1;                // index into constants(), -1: none
  bool is_input = false;
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

struct OpInfo;

struct Node {
  const OpInfo* op = nullptr;
  std::string name;
  std::vector<ValueId> inputs, outputs;
  std::vector<std::pair<std::string, Attribute>> attributes;

  const Attribute* find(std::string_view key) const;
  int64_t int_or(std::string_view key, int64_t fallback) const;
  double number_or(std::string_view key, double fallback) const;
  std::string string_or(std::string_view key, std::string fallback) const;
};

// A pair of graph input and output that a session keeps between runs and that the planner updates in
// place: KV cache, convolution or recurrent state. `growing_axis` is the axis that grows by the step's
// tokens (KV cache), or -1 for a state of fixed size.
struct State {
  std::string name;
  ValueId input = kNoValue, output = kNoValue;
  int growing_axis = -1;
};

class Graph {
 public:
  explicit Graph(std::string name = "main") : name_(std::move(name)) {}

  SymbolId symbol(std::string_view name);  // finds or adds
  const std::vector<std::string>& symbols() const { return symbols_; }

  ValueId add_input(std::string name, DType dtype, Shape shape);
  ValueId add_constant(std::string name, DType dtype, std::vector<int64_t> shape, Constant constant);
  // Adds a node, infers the types and shapes of its outputs and names them after the node (or by
  // output_names). Errors: unknown op, wrong arity, shapes that do not fit: Error(kBadInput) with the node.
  std::vector<ValueId> add_node(std::string_view op, std::string name, std::vector<ValueId> inputs,
                                std::vector<std::pair<std::string, Attribute>> attributes = {},
                                std::vector<std::string> output_names = {});
  ValueId add(std::string_view op, std::string name, std::vector<ValueId> inputs,
              std::vector<std::pair<std::string, Attribute>> attributes = {}) {
    return add_node(op, std::move(name), std::move(inputs), std::move(attributes))[0];
  }
  void add_output(ValueId value);
  void add_state(std::string name, ValueId input, ValueId output, int growing_axis);
  void set_constant(ValueId value, Constant constant);  // same shape, other bytes or encoding

  const std::string& name() const { return name_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }   // in a topological order
  const std::vector<Constant>& constants() const { return constants_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  const std::vector<State>& states() const { return states_; }
  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  const Constant* constant_of(ValueId id) const;              // null when not a constant
  ValueId find_value(std::string_view name) const;            // kNoValue when absent

 private:
  friend Graph parse_graph(std::string_view text);
  std::string name_;
  std::vector<std::string> symbols_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<Constant> constants_;
  std::vector<ValueId> inputs_, outputs_;
  std::vector<State> states_;
  std::unordered_map<std::string, ValueId> by_name_;
};

// Every edge resolves, order is topological, names are unique, types and shapes agree with inference,
// states pair up. Error(kBadInput) with the first fault.
void verify(const Graph& graph);

// Text form, one node a line; parse(print(g)) prints the same. Constants print as format, shape and
// source; short F32/I64 ones (at most 16 elements) print their values and parse back.
std::string print_graph(const Graph& graph);
Graph parse_graph(std::string_view text);

}  // namespace hone::ir
