// The text form, written: one line per symbol, value and node, in an order that parse_graph can read.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "ir/op_table.h"
#include "ir/text_form.h"

namespace hone::ir {

namespace text_form {

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_.*+/-'").find(c) != std::string_view::npos;
}

bool is_bare(std::string_view name) {
  static constexpr std::string_view kWords[] = {"_",     "graph", "symbol", "input", "constant",   "state", "output",
                                                "named", "as",    "from",   "transposed", "ints",  "floats"};
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) || name[0] == '-') return false;
  if (std::find(std::begin(kWords), std::end(kWords), name) != std::end(kWords)) return false;
  return std::all_of(name.begin(), name.end(), is_name_character);
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out + '"';
}

std::string name_text(std::string_view name) { return is_bare(name) ? std::string(name) : quote(name); }

}  // namespace text_form

namespace {

using text_form::name_text;

std::string float_text(double number, bool single) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::string text = single ? fmt::format("{:.9g}", number) : fmt::format("{:.17g}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

template <typename T, typename F>
std::string list_text(const std::vector<T>& items, F each) {
  std::string text = "[";
  for (size_t i = 0; i < items.size(); ++i) text += (i ? ", " : "") + each(items[i]);
  return text + "]";
}

std::string attribute_text(const Attribute& attribute) {
  struct Visitor {
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return float_text(v, false); }
    std::string operator()(const std::string& v) const { return text_form::quote(v); }
    std::string operator()(const std::vector<int64_t>& v) const {
      return "ints" + list_text(v, [](int64_t n) { return std::to_string(n); });
    }
    std::string operator()(const std::vector<double>& v) const {
      return "floats" + list_text(v, [](double n) { return float_text(n, false); });
    }
  };
  return std::visit(Visitor{}, attribute);
}

std::string rule_text(const Graph& graph, const SymbolRule& rule) {
  if (rule.kind == SymbolRule::Kind::kFree) return "";
  std::string text = rule.kind == SymbolRule::Kind::kProduct ? " = product(" : " = sum(";
  text += std::to_string(rule.constant);
  for (const SymbolId term : rule.terms) text += ", " + name_text(graph.symbols()[static_cast<size_t>(term)]);
  return text + ")";
}

template <typename T, typename F>
std::string bytes_text(const Constant& constant, F each) {
  std::vector<T> numbers(constant.bytes.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), constant.bytes.data(), numbers.size() * sizeof(T));
  return " = " + list_text(numbers, each);
}

std::string constant_text(const Graph& graph, const Value& value) {
  const Constant& constant = graph.constants()[static_cast<size_t>(value.constant)];
  std::string text = fmt::format("constant {} : {}", name_text(value.name), type_text(graph, value.dtype, value.shape));
  const tensor::QuantFormat& format = tensor::format(constant.format);
  if (constant.format != FormatId::kF32 && constant.format != FormatId::kI64) text += fmt::format(" as {}", format.name);
  if (constant.transposed) text += " transposed";
  if (!constant.source.empty()) text += " from " + text_form::quote(constant.source);
  if (constant.unbound() || constant.lazy()) return text;
  if (constant.format == FormatId::kF32 && constant.bytes.size() <= text_form::kMaxPrinted * sizeof(float))
    text += bytes_text<float>(constant, [](float v) { return float_text(v, true); });
  if (constant.format == FormatId::kI64 && constant.bytes.size() <= text_form::kMaxPrinted * sizeof(int64_t))
    text += bytes_text<int64_t>(constant, [](int64_t v) { return std::to_string(v); });
  return text;
}

std::string node_text(const Graph& graph, const Node& node) {
  std::string text;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const Value& output = graph.value(node.outputs[i]);
    text += fmt::format("{}{} : {}", i ? ", " : "", name_text(output.name), type_text(graph, output.dtype, output.shape));
  }
  text += fmt::format(" = {}(", node.op->name);
  for (size_t i = 0; i < node.inputs.size(); ++i)
    text += (i ? ", " : "") + (node.inputs[i] == kNoValue ? "_" : name_text(graph.value(node.inputs[i]).name));
  text += ")";
  if (!node.attributes.empty()) {
    text += " {";
    for (size_t i = 0; i < node.attributes.size(); ++i)
      text += fmt::format("{}{} = {}", i ? ", " : "", name_text(node.attributes[i].first),
                          attribute_text(node.attributes[i].second));
    text += "}";
  }
  if (node.name != graph.value(node.outputs[0]).name) text += " named " + name_text(node.name);
  return text;
}

}  // namespace

std::string type_text(const Graph& graph, DType dtype, const Shape& shape) {
  return tensor::dtype_name(dtype) + list_text(shape, [&](const Dim& dim) {
           return dim.known() ? std::to_string(dim.size) : name_text(graph.symbols()[static_cast<size_t>(dim.symbol)]);
         });
}

std::string print_graph(const Graph& graph) {
  std::string text = "graph " + name_text(graph.name()) + "\n";
  for (size_t i = 0; i < graph.symbols().size(); ++i)
    text += "symbol " + name_text(graph.symbols()[i]) + rule_text(graph, graph.rule(static_cast<SymbolId>(i))) + "\n";
  for (const ValueId id : graph.inputs()) {
    const Value& value = graph.value(id);
    text += fmt::format("input {} : {}\n", name_text(value.name), type_text(graph, value.dtype, value.shape));
  }
  for (const Value& value : graph.values())
    if (value.constant >= 0) text += constant_text(graph, value) + "\n";
  for (const Node& node : graph.nodes()) text += node_text(graph, node) + "\n";
  for (const State& state : graph.states())
    text += fmt::format("state {} : {} -> {} axis {}\n", name_text(state.name), name_text(graph.value(state.input).name),
                        name_text(graph.value(state.output).name), state.growing_axis);
  for (const ValueId id : graph.outputs()) text += "output " + name_text(graph.value(id).name) + "\n";
  return text;
}

}  // namespace hone::ir
