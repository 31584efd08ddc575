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

// How a symbol gets its value at run time. A free symbol is bound by the shape of a graph input (or, for
// "past", by the length of the state). A derived one is computed from symbols of smaller id:
//   kProduct: constant * term_0 * term_1 ...      ("batch*sequence")
//   kSum:     constant + term_0 + term_1 ...      ("total" = past + sequence)
struct SymbolRule {
  enum class Kind : uint8_t { kFree, kProduct, kSum };
  Kind kind = Kind::kFree;
  int64_t constant = 0;
  std::vector<SymbolId> terms;
  bool operator==(const SymbolRule&) const = default;
};

// Bytes of a constant. The logical shape of the value is that of the op's definition; `transposed`
// says that a 2-D constant [in, out] lies in memory as rows of [out, in], as linear layers are published
// and as block formats need it (blocks run along `in`).
struct Constant {
  FormatId format = FormatId::kF32;
  bool transposed = false;
  std::span<const std::byte> bytes;     // empty while the constant is lazy
  // Keeps bytes alive; null when the checkpoint does. Lazy constants with the same owner that is not null
  // produce the same bytes (a tied head and its embedding): once is enough.
  std::shared_ptr<const void> owner;
  // A lazy constant: fills format_bytes(format, elements) bytes when an executor or writer asks.
  std::function<void(std::span<std::byte>)> produce;
  std::string source;                   // name of the tensor in the checkpoint, for reports and writers
  bool lazy() const { return static_cast<bool>(produce); }
  // No bytes yet: a constant of a parsed text form waits for set_constant().
  bool unbound() const { return bytes.empty() && !produce; }
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
  const SymbolRule& rule(SymbolId id) const { return rules_[static_cast<size_t>(id)]; }
  // Adds a derived symbol. Error(kBadInput) when the name exists with another rule or a term is unknown.
  SymbolId derive_symbol(std::string_view name, SymbolRule rule);
  // Dim of a * b and a + b; a new derived symbol where needed, named after its terms. The sum of "past"
  // and "sequence" is called "total".
  Dim product(const Dim& a, const Dim& b);
  Dim sum(const Dim& a, const Dim& b);
  // values: one number per symbol, the free ones set, -1 where unbound. Fills the derived ones (in id
  // order; -1 when a term is unbound). Error(kBadInput) on overflow or a negative size.
  void resolve_symbols(std::span<int64_t> values) const;
  // Size of a dimension under such values; -1 when its symbol is unbound.
  static int64_t size_of(const Dim& dim, std::span<const int64_t> values) {
    return dim.known() ? dim.size : values[static_cast<size_t>(dim.symbol)];
  }

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
  ValueId add_value(Value value);
  ValueId check_value(ValueId id, const std::string& what) const;
  std::string name_;
  std::vector<std::string> symbols_;
  std::vector<SymbolRule> rules_;   // parallel to symbols_
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

// "F32[batch, sequence, 576]", for messages and the text form.
std::string type_text(const Graph& graph, DType dtype, const Shape& shape);

// A constant with its own copy of the numbers.
Constant constant_of_floats(std::span<const float> values);
Constant constant_of_ints(std::span<const int64_t> values);

// Text form, one node a line; print(parse(print(g))) equals print(g). Constants print as format, shape and
// source; short F32/I64 ones (at most 16 elements) print their values and parse back, others parse back
// unbound. Error(kBadInput) with the line for malformed text.
std::string print_graph(const Graph& graph);
Graph parse_graph(std::string_view text);

}  // namespace hone::ir
