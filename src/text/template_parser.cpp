#include "text/template_parser.h"

#include <algorithm>

#include "base/error.h"

namespace hone::text {
namespace {

constexpr int kMaxNesting = 150;  // of brackets and blocks while parsing
constexpr int kMaxDepth = 400;    // of the tree, which long chains deepen

std::string shown(const TemplateToken& token) {
  switch (token.kind) {
    case TokenKind::kEnd: return "the end of the template";
    case TokenKind::kBlockEnd: return "'%}'";
    case TokenKind::kVariableEnd: return "'}}'";
    case TokenKind::kString: return "a string";
    default: return "'" + token.text.substr(0, 60) + "'";
  }
}

Value constant_string(std::string text) {
  return Value(Value::Data(std::shared_ptr<const StringObject>(new StringObject{std::move(text), nullptr})));
}

}  // namespace

TemplateParser::Nest::Nest(TemplateParser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxNesting) {
    --parser_.nesting_;
    parser_.error("nested too deep");
  }
}

void TemplateParser::error(const std::string& what) const { fail(ErrorKind::kBadInput, "[template] line {}: {}", now().line, what); }

bool TemplateParser::accept_operator(std::string_view op) {
  if (!is_operator(op)) return false;
  take();
  return true;
}

bool TemplateParser::accept_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

void TemplateParser::expect_operator(std::string_view op) {
  if (!accept_operator(op)) error(fmt::format("expected '{}' instead of {}", op, shown(now())));
}

void TemplateParser::expect_name(std::string_view name) {
  if (!accept_name(name)) error(fmt::format("expected '{}' instead of {}", name, shown(now())));
}

std::string TemplateParser::expect_identifier() {
  if (now().kind != TokenKind::kName) error("expected a name instead of " + shown(now()));
  return take().text;
}

ExprPtr TemplateParser::make(ExprKind kind, std::vector<ExprPtr> args) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = now().line;
  node->args = std::move(args);
  return finish(std::move(node));
}

ExprPtr TemplateParser::finish(ExprPtr node) const {
  for (const auto& arg : node->args)
    if (arg) node->depth = std::max(node->depth, arg->depth + 1);
  for (const auto& [name, arg] : node->kwargs) node->depth = std::max(node->depth, arg->depth + 1);
  if (node->depth > kMaxDepth) error("an expression is nested too deep");
  return node;
}

ExprPtr TemplateParser::binary(const std::string& op, ExprPtr left, ExprPtr right) const {
  std::vector<ExprPtr> args;
  args.push_back(std::move(left));
  args.push_back(std::move(right));
  ExprPtr node = make(ExprKind::kBinary, std::move(args));
  node->name = op;
  return node;
}

namespace {

std::vector<ExprPtr> list_of(ExprPtr a) {
  std::vector<ExprPtr> out;
  out.push_back(std::move(a));
  return out;
}
std::vector<ExprPtr> list_of(ExprPtr a, ExprPtr b) {
  std::vector<ExprPtr> out = list_of(std::move(a));
  out.push_back(std::move(b));
  return out;
}

}  // namespace

ExprPtr TemplateParser::parse_expression(bool with_condition) {
  const Nest nest(*this);
  ExprPtr node = parse_or();
  while (with_condition && accept_name("if")) {
    ExprPtr condition = parse_or(), otherwise;
    if (accept_name("else")) otherwise = parse_expression();
    std::vector<ExprPtr> args = list_of(std::move(condition), std::move(node));
    args.push_back(std::move(otherwise));
    node = make(ExprKind::kConditional, std::move(args));
  }
  return node;
}

ExprPtr TemplateParser::parse_tuple(bool with_condition) {
  ExprPtr first = parse_expression(with_condition);
  if (!is_operator(",")) return first;
  std::vector<ExprPtr> items = list_of(std::move(first));
  while (accept_operator(",")) {
    const bool ends = now().kind == TokenKind::kBlockEnd || now().kind == TokenKind::kVariableEnd || is_operator(")") || is_operator("]") ||
                      is_operator("=") || is_name("in");
    if (ends) break;
    items.push_back(parse_expression(with_condition));
  }
  return make(ExprKind::kTuple, std::move(items));
}

ExprPtr TemplateParser::parse_or() {
  ExprPtr node = parse_and();
  if (!is_name("or")) return node;
  std::vector<ExprPtr> args = list_of(std::move(node));
  while (accept_name("or")) args.push_back(parse_and());
  return make(ExprKind::kOr, std::move(args));
}

ExprPtr TemplateParser::parse_and() {
  ExprPtr node = parse_not();
  if (!is_name("and")) return node;
  std::vector<ExprPtr> args = list_of(std::move(node));
  while (accept_name("and")) args.push_back(parse_not());
  return make(ExprKind::kAnd, std::move(args));
}

ExprPtr TemplateParser::parse_not() {
  if (!accept_name("not")) return parse_compare();
  const Nest nest(*this);
  return make(ExprKind::kNot, list_of(parse_not()));
}

ExprPtr TemplateParser::parse_compare() {
  ExprPtr node = parse_sum();
  std::vector<ExprPtr> args;
  std::vector<std::string> ops;
  for (;;) {
    static constexpr std::string_view kComparisons[] = {"==", "!=", "<", "<=", ">", ">="};
    std::string op;
    if (now().kind == TokenKind::kOperator && std::find(std::begin(kComparisons), std::end(kComparisons), now().text) != std::end(kComparisons)) {
      op = take().text;
    } else if (accept_name("in")) {
      op = "in";
    } else if (is_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") {
      take();
      take();
      op = "not in";
    } else {
      break;
    }
    ops.push_back(op);
    args.push_back(parse_sum());
  }
  if (ops.empty()) return node;
  args.insert(args.begin(), std::move(node));
  node = make(ExprKind::kCompare, std::move(args));
  node->ops = std::move(ops);
  return node;
}

ExprPtr TemplateParser::parse_sum() {
  ExprPtr node = parse_concat();
  while (is_operator("+") || is_operator("-")) {
    const std::string op = take().text;
    ExprPtr right = parse_concat();
    node = binary(op, std::move(node), std::move(right));
  }
  return node;
}

ExprPtr TemplateParser::parse_concat() {
  ExprPtr node = parse_product();
  if (!is_operator("~")) return node;
  std::vector<ExprPtr> args = list_of(std::move(node));
  while (accept_operator("~")) args.push_back(parse_product());
  return make(ExprKind::kConcat, std::move(args));
}

ExprPtr TemplateParser::parse_product() {
  ExprPtr node = parse_power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const std::string op = take().text;
    ExprPtr right = parse_power();
    node = binary(op, std::move(node), std::move(right));
  }
  return node;
}

ExprPtr TemplateParser::parse_power() {
  ExprPtr node = parse_unary();
  while (accept_operator("**")) {
    ExprPtr right = parse_unary();
    node = binary("**", std::move(node), std::move(right));
  }
  return node;
}

ExprPtr TemplateParser::parse_unary(bool with_filter) {
  const Nest nest(*this);
  ExprPtr node;
  if (accept_operator("-")) node = make(ExprKind::kNegate, list_of(parse_unary(false)));
  else if (accept_operator("+")) node = make(ExprKind::kPlus, list_of(parse_unary(false)));
  else node = parse_primary();
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr TemplateParser::parse_primary() {
  const TemplateToken& token = now();
  switch (token.kind) {
    case TokenKind::kString: return parse_string();
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      ExprPtr node = make(ExprKind::kConstant);
      node->value = token.kind == TokenKind::kInteger ? Value::integer(token.integer) : Value::number(token.number);
      take();
      return node;
    }
    case TokenKind::kName: {
      const std::string name = token.text;
      if (name == "loop") ++loop_names_;
      ExprPtr node = make(ExprKind::kConstant);
      take();
      if (name == "true" || name == "True") node->value = Value::boolean(true);
      else if (name == "false" || name == "False") node->value = Value::boolean(false);
      else if (name == "none" || name == "None") node->value = Value::none();
      else node->kind = ExprKind::kName, node->name = name;
      return node;
    }
    case TokenKind::kOperator:
      if (accept_operator("(")) {
        ExprPtr node = is_operator(")") ? make(ExprKind::kTuple) : parse_tuple();
        expect_operator(")");
        return node;
      }
      if (token.text == "[") return parse_list();
      if (token.text == "{") return parse_dict();
      break;
    default: break;
  }
  error("unexpected " + shown(token));
}

ExprPtr TemplateParser::parse_string() {
  ExprPtr node = make(ExprKind::kConstant);
  std::string text;
  while (now().kind == TokenKind::kString) text += take().text;  // neighbours are one
  node->value = constant_string(std::move(text));
  return node;
}

ExprPtr TemplateParser::parse_list() {
  expect_operator("[");
  std::vector<ExprPtr> items;
  while (!is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    items.push_back(parse_expression());
  }
  expect_operator("]");
  return make(ExprKind::kList, std::move(items));
}

ExprPtr TemplateParser::parse_dict() {
  expect_operator("{");
  std::vector<ExprPtr> items;
  while (!is_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    items.push_back(parse_expression());
    expect_operator(":");
    items.push_back(parse_expression());
  }
  expect_operator("}");
  return make(ExprKind::kDict, std::move(items));
}

ExprPtr TemplateParser::parse_postfix(ExprPtr node) {
  for (;;) {
    if (is_operator(".") || is_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (is_operator("(")) {
      ExprPtr call = make(ExprKind::kCall, list_of(std::move(node)));
      parse_call_arguments(*call);
      node = finish(std::move(call));
    } else {
      return node;
    }
  }
}

ExprPtr TemplateParser::parse_subscript(ExprPtr node) {
  if (accept_operator(".")) {
    if (now().kind == TokenKind::kInteger) {
      ExprPtr index = make(ExprKind::kConstant);
      index->value = Value::integer(take().integer);
      return make(ExprKind::kItem, list_of(std::move(node), std::move(index)));
    }
    ExprPtr attribute = make(ExprKind::kAttribute, list_of(std::move(node)));
    attribute->name = expect_identifier();
    return attribute;
  }
  expect_operator("[");
  std::vector<ExprPtr> parts;
  bool slice = false;
  const auto part = [&]() -> ExprPtr { return is_operator(":") || is_operator("]") ? nullptr : parse_expression(); };
  parts.push_back(part());
  while (parts.size() < 3 && accept_operator(":")) {
    slice = true;
    parts.push_back(part());
  }
  if (!slice && is_operator(",")) error("an index of several values is not supported");
  expect_operator("]");
  if (!slice && !parts[0]) error("an index is missing");
  if (!slice) return make(ExprKind::kItem, list_of(std::move(node), std::move(parts[0])));
  parts.resize(3);
  parts.insert(parts.begin(), std::move(node));
  return make(ExprKind::kSlice, std::move(parts));
}

ExprPtr TemplateParser::parse_filters_and_tests(ExprPtr node) {
  for (;;) {
    if (is_operator("|")) {
      take();
      node = parse_filter(std::move(node));
    } else if (is_name("is")) {
      take();
      node = parse_test(std::move(node));
    } else if (is_operator("(")) {
      ExprPtr call = make(ExprKind::kCall, list_of(std::move(node)));
      parse_call_arguments(*call);
      node = finish(std::move(call));
    } else {
      return node;
    }
  }
}

ExprPtr TemplateParser::parse_filter(ExprPtr node) {
  ExprPtr filter = make(ExprKind::kFilter, list_of(std::move(node)));
  filter->name = expect_identifier();
  while (accept_operator(".")) filter->name += "." + expect_identifier();
  if (is_operator("(")) parse_call_arguments(*filter);
  return finish(std::move(filter));
}

ExprPtr TemplateParser::parse_test(ExprPtr node) {
  const bool negated = accept_name("not");
  ExprPtr test = make(ExprKind::kTest, list_of(std::move(node)));
  test->name = expect_identifier();
  while (accept_operator(".")) test->name += "." + expect_identifier();
  const TokenKind kind = now().kind;
  const bool argument = kind == TokenKind::kString || kind == TokenKind::kInteger || kind == TokenKind::kFloat || is_operator("[") || is_operator("{") ||
                        (kind == TokenKind::kName && !is_name("else") && !is_name("or") && !is_name("and") && !is_name("if") && !is_name("in") &&
                         !is_name("not") && !is_name("is") && !is_name("recursive"));
  if (is_operator("(")) {
    parse_call_arguments(*test);
  } else if (argument) {
    ExprPtr value = parse_primary();
    test->args.push_back(parse_postfix(std::move(value)));
  }
  test = finish(std::move(test));
  return negated ? make(ExprKind::kNot, list_of(std::move(test))) : std::move(test);
}

void TemplateParser::parse_call_arguments(Expr& call) {
  expect_operator("(");
  bool first = true;
  while (!is_operator(")")) {
    if (!first) expect_operator(",");
    first = false;
    if (is_operator(")")) break;
    if (accept_operator("**")) {
      call.star_star = parse_expression();
    } else if (accept_operator("*")) {
      call.star = parse_expression();
    } else if (now().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator && ahead().text == "=") {
      std::string name = take().text;
      take();
      call.kwargs.emplace_back(std::move(name), parse_expression());
    } else {
      if (!call.kwargs.empty()) error("a positional argument follows a named one");
      call.args.push_back(parse_expression());
    }
  }
  expect_operator(")");
}

}  // namespace hone::text
