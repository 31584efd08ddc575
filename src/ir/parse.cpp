// The text form, read. The text may be hostile: everything goes through the graph's checked add_* functions.
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "ir/op_table.h"
#include "ir/text_form.h"

namespace hone::ir {

namespace {

class LineReader {
 public:
  LineReader(std::string_view line, size_t number) : text_(line), number_(number) {}

  template <typename... Args>
  [[noreturn]] void reject(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::kBadInput, "[ir] text line {}, column {}: {}", number_, at_ + 1,
         fmt::format(format, std::forward<Args>(args)...));
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool done() {
    skip();
    return at_ >= text_.size() || text_[at_] == '#';
  }
  bool take(std::string_view token) {
    skip();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) reject("expected '{}'", token);
  }
  // A keyword ends at a character that no bare name holds.
  bool take_word(std::string_view word) {
    const size_t before = at_;
    skip();
    if (bare() == word) return true;
    at_ = before;
    return false;
  }
  bool at_quote() {
    skip();
    return at_ < text_.size() && text_[at_] == '"';
  }
  std::string name() {
    if (at_quote()) return quoted();
    const std::string_view word = bare();
    if (word.empty()) reject("expected a name");
    return std::string(word);
  }
  std::string quoted() {
    expect("\"");
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (c == '\\') c = escape();
      out += c;
    }
    expect("\"");
    return out;
  }
  int64_t integer() {
    skip();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) reject("expected a 64-bit integer");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }
  bool next_is_number() {
    skip();
    return at_ < text_.size() && (std::isdigit(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-');
  }
  template <typename T = double>
  T number() {
    skip();
    T value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) reject("expected a number");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }
  // An integer, or a float when it has a point, an exponent or is not finite.
  Attribute scalar() {
    skip();
    const size_t stop = text_.find_first_of(",}] ", at_);
    const std::string_view word = text_.substr(at_, stop == std::string_view::npos ? stop : stop - at_);
    if (word.find_first_of(".enif") != std::string_view::npos) return number();
    return integer();
  }
  template <typename F>
  void list(std::string_view open, std::string_view close, F each) {
    expect(open);
    if (take(close)) return;
    do each();
    while (take(","));
    expect(close);
  }

 private:
  std::string_view bare() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_name_character(text_.substr(at_))) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  static bool is_name_character(std::string_view rest) {
    if (rest.substr(0, 2) == "->") return false;
    return text_form::is_name_character(rest[0]);
  }
  char escape() {
    if (at_ >= text_.size()) reject("a string ends in a backslash");
    const char c = text_[at_++];
    if (c == '"' || c == '\\') return c;
    unsigned value = 0;
    const std::string_view digits = text_.substr(at_, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (c != 'x' || error != std::errc() || end != digits.data() + 2) reject("unknown escape in a string");
    at_ += 2;
    return static_cast<char>(value);
  }

  std::string_view text_;
  size_t number_, at_ = 0;
};

struct TypedName {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

DType parse_dtype(LineReader& line) {
  const std::string word = line.name();
  for (int i = 0; i <= static_cast<int>(DType::kC64); ++i)
    if (word == tensor::dtype_name(static_cast<DType>(i))) return static_cast<DType>(i);
  line.reject("unknown type '{}'", word);
}

SymbolId known_symbol(const Graph& graph, LineReader& line) {
  const std::string name = line.name();
  for (size_t i = 0; i < graph.symbols().size(); ++i)
    if (graph.symbols()[i] == name) return static_cast<SymbolId>(i);
  line.reject("symbol '{}' is not declared", name);
}

TypedName parse_typed(const Graph& graph, LineReader& line) {
  TypedName result;
  result.name = line.name();
  line.expect(":");
  result.dtype = parse_dtype(line);
  line.list("[", "]", [&] {
    result.shape.push_back(line.next_is_number() ? Dim::of(line.integer()) : Dim::sym(known_symbol(graph, line)));
  });
  return result;
}

ValueId known_value(const Graph& graph, LineReader& line) {
  if (line.take_word("_")) return kNoValue;
  const std::string name = line.name();
  const ValueId id = graph.find_value(name);
  if (id == kNoValue) line.reject("value '{}' is not defined", name);
  return id;
}

void parse_symbol(Graph& graph, LineReader& line) {
  const std::string name = line.name();
  for (const std::string& known : graph.symbols())
    if (known == name) line.reject("symbol '{}' is declared twice", name);
  if (!line.take("=")) {
    graph.symbol(name);
    return;
  }
  SymbolRule rule;
  rule.kind = line.take_word("product") ? SymbolRule::Kind::kProduct : SymbolRule::Kind::kSum;
  if (rule.kind == SymbolRule::Kind::kSum && !line.take_word("sum")) line.reject("expected 'product' or 'sum'");
  line.expect("(");
  rule.constant = line.integer();
  while (line.take(",")) rule.terms.push_back(known_symbol(graph, line));
  line.expect(")");
  graph.derive_symbol(name, std::move(rule));
}

Constant parse_values(LineReader& line, FormatId format, size_t expected) {
  std::vector<float> floats;
  std::vector<int64_t> ints;
  line.list("[", "]", [&] {
    if (floats.size() + ints.size() >= text_form::kMaxPrinted) line.reject("too many values");
    if (format == FormatId::kF32) floats.push_back(line.number<float>());
    else ints.push_back(line.integer());
  });
  if (floats.size() + ints.size() != expected) line.reject("the values do not fill the shape");
  return format == FormatId::kF32 ? constant_of_floats(floats) : constant_of_ints(ints);
}

void parse_constant(Graph& graph, LineReader& line) {
  TypedName typed = parse_typed(graph, line);
  tensor::Shape sizes;
  for (const Dim& dim : typed.shape) {
    if (!dim.known()) line.reject("a constant has no symbolic sizes");
    sizes.push_back(dim.size);
  }
  Constant constant;
  constant.format = typed.dtype == DType::kI64 ? FormatId::kI64 : FormatId::kF32;
  if (line.take_word("as")) {
    const std::string name = line.name();
    const tensor::QuantFormat* format = tensor::find_format(name);
    if (!format) line.reject("unknown storage format '{}'", name);
    constant.format = format->id;
  }
  const bool transposed = line.take_word("transposed");
  const std::string source = line.take_word("from") ? line.quoted() : "";
  if (line.take("=")) {
    if (constant.format != FormatId::kF32 && constant.format != FormatId::kI64) line.reject("only F32 and I64 carry values");
    constant = parse_values(line, constant.format, static_cast<size_t>(tensor::element_count(sizes)));
  }
  constant.transposed = transposed;
  constant.source = source;
  graph.add_constant(std::move(typed.name), typed.dtype, std::move(sizes), std::move(constant));
}

Attribute parse_attribute(LineReader& line) {
  if (line.take_word("ints")) {
    std::vector<int64_t> numbers;
    line.list("[", "]", [&] { numbers.push_back(line.integer()); });
    return numbers;
  }
  if (line.take_word("floats")) {
    std::vector<double> numbers;
    line.list("[", "]", [&] { numbers.push_back(line.number()); });
    return numbers;
  }
  return line.at_quote() ? Attribute(line.quoted()) : line.scalar();
}

void parse_node(Graph& graph, LineReader& line) {
  std::vector<TypedName> outputs;
  do outputs.push_back(parse_typed(graph, line));
  while (line.take(","));
  line.expect("=");
  const std::string op = line.name();
  std::vector<ValueId> inputs;
  line.list("(", ")", [&] { inputs.push_back(known_value(graph, line)); });
  std::vector<std::pair<std::string, Attribute>> attributes;
  if (line.take("{")) {
    do {
      std::string key = line.name();
      line.expect("=");
      attributes.emplace_back(std::move(key), parse_attribute(line));
    } while (line.take(","));
    line.expect("}");
  }
  std::vector<std::string> names;
  for (const TypedName& output : outputs) names.push_back(output.name);
  std::string name = line.take_word("named") ? line.name() : names[0];
  const std::vector<ValueId> ids =
      graph.add_node(op, std::move(name), std::move(inputs), std::move(attributes), std::move(names));
  for (size_t i = 0; i < ids.size(); ++i) {
    const Value& value = graph.value(ids[i]);
    if (value.dtype != outputs[i].dtype || value.shape != outputs[i].shape)
      line.reject("'{}' is {} by inference", value.name, type_text(graph, value.dtype, value.shape));
  }
}

void parse_state(Graph& graph, LineReader& line) {
  std::string name = line.name();
  line.expect(":");
  const ValueId input = known_value(graph, line);
  line.expect("->");
  const ValueId output = known_value(graph, line);
  line.expect("axis");
  const int64_t axis = line.integer();
  if (axis < -1 || axis > 16) line.reject("axis {} is out of range", axis);
  graph.add_state(std::move(name), input, output, static_cast<int>(axis));
}

void parse_line(Graph& graph, LineReader& line) {
  if (line.take_word("symbol")) return parse_symbol(graph, line);
  if (line.take_word("constant")) return parse_constant(graph, line);
  if (line.take_word("state")) return parse_state(graph, line);
  if (line.take_word("output")) return graph.add_output(known_value(graph, line));
  if (line.take_word("input")) {
    TypedName typed = parse_typed(graph, line);
    graph.add_input(std::move(typed.name), typed.dtype, std::move(typed.shape));
    return;
  }
  parse_node(graph, line);
}

}  // namespace

Graph parse_graph(std::string_view text) {
  Graph graph;
  bool named = false;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    LineReader line(text.substr(0, end), number);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.done()) continue;
    if (!named) {
      line.expect("graph");
      graph = Graph(line.name());
      named = true;
    } else {
      parse_line(graph, line);
    }
    if (!line.done()) line.reject("text after the end of the statement");
  }
  if (!named) fail(ErrorKind::kBadInput, "[ir] text holds no graph");
  return graph;
}

}  // namespace hone::ir
