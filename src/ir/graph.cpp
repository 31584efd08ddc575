// The graph's arenas: every add_* checks its arguments, so that a graph that exists is well-formed.
#include "ir/graph.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ir/op_table.h"

namespace hone::ir {

namespace {

constexpr size_t kMaxRank = 6;                  // what exec::Buffer can view
constexpr int64_t kMaxSize = int64_t{1} << 48;  // of one dimension; keeps size arithmetic inside 64 bits

void check_shape(const Graph& graph, const std::string& name, const Shape& shape) {
  if (shape.size() > kMaxRank)
    fail(ErrorKind::kBadInput, "[ir] value '{}': rank {} exceeds {}", name, shape.size(), kMaxRank);
  for (const Dim& dim : shape) {
    const bool valid = dim.known() ? dim.size >= 0 && dim.size <= kMaxSize : dim.symbol < static_cast<SymbolId>(graph.symbols().size());
    if (!valid) fail(ErrorKind::kBadInput, "[ir] value '{}': a size is negative, above 2^48 or an unknown symbol", name);
  }
}

template <typename T>
Constant own(std::span<const T> values, FormatId format) {
  auto copy = std::make_shared<const std::vector<T>>(values.begin(), values.end());
  Constant constant;
  constant.format = format;
  constant.bytes = std::as_bytes(std::span<const T>(*copy));
  constant.owner = std::move(copy);
  return constant;
}

}  // namespace

const Attribute* Node::find(std::string_view key) const {
  for (const auto& [name_of, value] : attributes)
    if (name_of == key) return &value;
  return nullptr;
}

int64_t Node::int_or(std::string_view key, int64_t fallback) const {
  const Attribute* attribute = find(key);
  if (!attribute) return fallback;
  if (const auto* number = std::get_if<int64_t>(attribute)) return *number;
  fail(ErrorKind::kBadInput, "[ir] node '{}': attribute '{}' must be an integer", name, key);
}

double Node::number_or(std::string_view key, double fallback) const {
  const Attribute* attribute = find(key);
  if (!attribute) return fallback;
  if (const auto* number = std::get_if<double>(attribute)) return *number;
  if (const auto* number = std::get_if<int64_t>(attribute)) return static_cast<double>(*number);
  fail(ErrorKind::kBadInput, "[ir] node '{}': attribute '{}' must be a number", name, key);
}

std::string Node::string_or(std::string_view key, std::string fallback) const {
  const Attribute* attribute = find(key);
  if (!attribute) return fallback;
  if (const auto* text = std::get_if<std::string>(attribute)) return *text;
  fail(ErrorKind::kBadInput, "[ir] node '{}': attribute '{}' must be a string", name, key);
}

ValueId Graph::add_value(Value value) {
  if (value.name.empty()) fail(ErrorKind::kBadInput, "[ir] a value has no name");
  check_shape(*this, value.name, value.shape);
  const auto id = static_cast<ValueId>(values_.size());
  if (!by_name_.emplace(value.name, id).second)
    fail(ErrorKind::kBadInput, "[ir] value '{}' is defined twice", value.name);
  values_.push_back(std::move(value));
  return id;
}

ValueId Graph::check_value(ValueId id, const std::string& what) const {
  if (id < 0 || id >= static_cast<ValueId>(values_.size()))
    fail(ErrorKind::kBadInput, "[ir] {}: value id {} does not exist", what, id);
  return id;
}

ValueId Graph::add_input(std::string name, DType dtype, Shape shape) {
  Value value;
  value.name = std::move(name);
  value.dtype = dtype;
  value.shape = std::move(shape);
  value.is_input = true;
  const ValueId id = add_value(std::move(value));
  inputs_.push_back(id);
  return id;
}

namespace {

// The logical type that a storage format decodes to: block and small float formats are F32 to the graph.
bool format_carries(FormatId id, DType dtype) {
  const tensor::QuantFormat& format = tensor::format(id);
  return format.dtype == dtype || (dtype == DType::kF32 && format.decode != nullptr);
}

void check_constant(const std::string& name, DType dtype, const Shape& shape, const Constant& constant) {
  tensor::Shape sizes;
  for (const Dim& dim : shape) sizes.push_back(dim.size);
  const uint64_t elements = tensor::element_count(sizes);
  if (!format_carries(constant.format, dtype))
    fail(ErrorKind::kBadInput, "[ir] constant '{}': format {} cannot carry {}", name,
         tensor::format(constant.format).name, tensor::dtype_name(dtype));
  if (constant.transposed && shape.size() != 2)
    fail(ErrorKind::kBadInput, "[ir] constant '{}': only a matrix can be stored transposed", name);
  // Rows in memory run along the first logical axis of a transposed constant, else along the last.
  const int64_t row = shape.empty() ? 1 : constant.transposed ? shape.front().size : shape.back().size;
  if (!tensor::divides(constant.format, static_cast<uint64_t>(row)))
    fail(ErrorKind::kBadInput, "[ir] constant '{}': row length {} is no multiple of the block of {}", name, row,
         tensor::format(constant.format).name);
  const uint64_t expected = tensor::format_bytes(constant.format, elements);
  if (!constant.bytes.empty() && constant.bytes.size() != expected)
    fail(ErrorKind::kBadInput, "[ir] constant '{}': {} bytes where {} {} elements need {}", name,
         constant.bytes.size(), elements, tensor::format(constant.format).name, expected);
}

}  // namespace

ValueId Graph::add_constant(std::string name, DType dtype, std::vector<int64_t> shape, Constant constant) {
  Value value;
  value.name = std::move(name);
  value.dtype = dtype;
  for (const int64_t size : shape) {
    if (size < 0) fail(ErrorKind::kBadInput, "[ir] constant '{}': negative size {}", value.name, size);
    value.shape.push_back(Dim::of(size));
  }
  check_constant(value.name, dtype, value.shape, constant);
  value.constant = static_cast<int32_t>(constants_.size());
  const ValueId id = add_value(std::move(value));
  constants_.push_back(std::move(constant));
  return id;
}

void Graph::set_constant(ValueId id, Constant constant) {
  const Value& target = value(check_value(id, "set_constant"));
  if (target.constant < 0) fail(ErrorKind::kBadInput, "[ir] value '{}' is not a constant", target.name);
  check_constant(target.name, target.dtype, target.shape, constant);
  constants_[static_cast<size_t>(target.constant)] = std::move(constant);
}

std::vector<ValueId> Graph::add_node(std::string_view op, std::string name, std::vector<ValueId> inputs,
                                     std::vector<std::pair<std::string, Attribute>> attributes,
                                     std::vector<std::string> output_names) {
  Node node;
  node.op = find_op(op);
  if (!node.op) fail(ErrorKind::kUnsupported, "[ir] node '{}': op '{}' is not known", name, op);
  if (name.empty()) fail(ErrorKind::kBadInput, "[ir] a {} node has no name", op);
  node.name = std::move(name);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);

  const std::string what = fmt::format("node '{}' ({})", node.name, node.op->name);
  const auto count = static_cast<int>(node.inputs.size());
  if (count < node.op->min_inputs || count > node.op->max_inputs)
    fail(ErrorKind::kBadInput, "[ir] {}: {} inputs where {} to {} are allowed", what, count, node.op->min_inputs,
         node.op->max_inputs);
  InferContext context{node, {}, *this};
  for (int i = 0; i < count; ++i) {
    const ValueId id = node.inputs[static_cast<size_t>(i)];
    if (id == kNoValue && i < node.op->min_inputs)
      fail(ErrorKind::kBadInput, "[ir] {}: input {} is required", what, i);
    context.inputs.push_back(id == kNoValue ? nullptr : &value(check_value(id, what)));
  }
  const std::vector<OutputType> types = node.op->infer(context);

  if (!output_names.empty() && output_names.size() != types.size())
    fail(ErrorKind::kBadInput, "[ir] {}: {} output names for {} outputs", what, output_names.size(), types.size());
  for (size_t i = 0; i < types.size(); ++i) {
    Value output;
    output.name = !output_names.empty() ? output_names[i] : i == 0 ? node.name : fmt::format("{}:{}", node.name, i);
    output.dtype = types[i].dtype;
    output.shape = types[i].shape;
    output.producer = static_cast<NodeId>(nodes_.size());
    node.outputs.push_back(add_value(std::move(output)));
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

void Graph::add_output(ValueId id) {
  outputs_.push_back(check_value(id, "graph output"));
}

void Graph::add_state(std::string name, ValueId input, ValueId output, int growing_axis) {
  check_value(input, "state " + name);
  check_value(output, "state " + name);
  if (!value(input).is_input || value(output).producer < 0)
    fail(ErrorKind::kBadInput, "[ir] state '{}' must pair a graph input with the output of a node", name);
  const auto rank = static_cast<int>(value(input).shape.size());
  if (growing_axis < -1 || growing_axis >= rank || value(output).shape.size() != value(input).shape.size())
    fail(ErrorKind::kBadInput, "[ir] state '{}': ranks differ or the growing axis is out of range", name);
  states_.push_back({std::move(name), input, output, growing_axis});
}

const Constant* Graph::constant_of(ValueId id) const {
  if (id < 0 || id >= static_cast<ValueId>(values_.size())) return nullptr;
  const int32_t index = value(id).constant;
  return index < 0 ? nullptr : &constants_[static_cast<size_t>(index)];
}

ValueId Graph::find_value(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? kNoValue : found->second;
}

Constant constant_of_floats(std::span<const float> values) { return own(values, FormatId::kF32); }
Constant constant_of_ints(std::span<const int64_t> values) { return own(values, FormatId::kI64); }

}  // namespace hone::ir
