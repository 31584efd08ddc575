// Statements of the template language.
#include <algorithm>

#include "base/error.h"
#include "text/template_parser.h"

namespace hone::text {

std::unique_ptr<Stmt> TemplateParser::statement(StmtKind kind) const {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = now().line;
  return stmt;
}

void TemplateParser::expect_block_end() {
  if (now().kind != TokenKind::kBlockEnd) error("expected the end of the tag");
  take();
}

Body TemplateParser::parse_all() {
  Body body = parse_body({});
  if (now().kind != TokenKind::kEnd) error("unexpected tag '" + ahead().text + "'");
  return body;
}

// Stops before the name of one of `ends` (its "{%" is taken), or at the end of the template.
Body TemplateParser::parse_body(const std::vector<std::string>& ends) {
  const Nest nest(*this);
  Body body;
  for (;;) {
    switch (now().kind) {
      case TokenKind::kText: {
        auto stmt = statement(StmtKind::kText);
        stmt->text = take().text;
        body.push_back(std::move(stmt));
        break;
      }
      case TokenKind::kVariableBegin: {
        take();
        auto stmt = statement(StmtKind::kOutput);
        stmt->expr = parse_tuple();
        if (now().kind != TokenKind::kVariableEnd) error("expected '}}'");
        take();
        body.push_back(std::move(stmt));
        break;
      }
      case TokenKind::kBlockBegin: {
        take();
        if (now().kind != TokenKind::kName) error("expected the name of a tag");
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return body;
        body.push_back(parse_statement());
        break;
      }
      default:
        if (!ends.empty()) error("the template ends inside a block; '" + ends.back() + "' is missing");
        return body;
    }
  }
}

std::unique_ptr<Stmt> TemplateParser::parse_statement() {
  using Parse = std::unique_ptr<Stmt> (TemplateParser::*)();
  static constexpr std::pair<std::string_view, Parse> kTags[] = {
      {"if", &TemplateParser::parse_if},         {"for", &TemplateParser::parse_for},
      {"set", &TemplateParser::parse_set},       {"macro", &TemplateParser::parse_macro},
      {"call", &TemplateParser::parse_call},     {"filter", &TemplateParser::parse_filter_block},
      {"with", &TemplateParser::parse_with},     {"generation", &TemplateParser::parse_generation},
      {"break", &TemplateParser::parse_loop_control}, {"continue", &TemplateParser::parse_loop_control},
  };
  for (const auto& [name, parse] : kTags)
    if (is_name(name)) return (this->*parse)();
  static constexpr std::string_view kLacking[] = {"include", "import", "from", "extends", "block", "do", "trans", "autoescape", "debug"};
  if (std::find(std::begin(kLacking), std::end(kLacking), now().text) != std::end(kLacking))
    fail(ErrorKind::kUnsupported, "[template] line {}: the tag '{}' is not supported", now().line, now().text);
  error("unknown tag '" + now().text.substr(0, 60) + "'");
}

std::unique_ptr<Stmt> TemplateParser::parse_if() {
  auto stmt = statement(StmtKind::kIf);
  take();
  for (;;) {
    ExprPtr condition = parse_tuple(false);
    expect_block_end();
    Body body = parse_body({"elif", "else", "endif"});
    stmt->branches.emplace_back(std::move(condition), std::move(body));
    if (!accept_name("elif")) break;
  }
  if (accept_name("else")) {
    expect_block_end();
    stmt->else_body = parse_body({"endif"});
  }
  expect_name("endif");
  expect_block_end();
  return stmt;
}

void TemplateParser::parse_targets(Stmt& stmt, bool allow_attributes) {
  const bool parenthesis = accept_operator("(");
  do {
    if (now().kind != TokenKind::kName) break;  // a trailing comma
    ExprPtr name = make(ExprKind::kName);
    name->name = expect_identifier();
    if (allow_attributes && accept_operator(".")) {
      std::vector<ExprPtr> args;
      args.push_back(std::move(name));
      name = make(ExprKind::kAttribute, std::move(args));
      name->name = expect_identifier();
    }
    stmt.targets.push_back(std::move(name));
    if (is_operator(",")) stmt.unpack = true;
  } while (accept_operator(","));
  if (parenthesis) expect_operator(")");
  if (stmt.targets.empty()) error("expected a name to assign to");
}

std::unique_ptr<Stmt> TemplateParser::parse_for() {
  auto stmt = statement(StmtKind::kFor);
  take();
  parse_targets(*stmt, false);
  expect_name("in");
  stmt->expr = parse_tuple(false);
  if (accept_name("if")) stmt->condition = parse_expression();
  stmt->recursive = accept_name("recursive");
  expect_block_end();
  ++loops_;
  const int mentions = loop_names_;
  stmt->body = parse_body({"endfor", "else"});
  stmt->uses_loop = loop_names_ != mentions;
  --loops_;
  if (accept_name("else")) {
    expect_block_end();
    stmt->else_body = parse_body({"endfor"});
  }
  expect_name("endfor");
  expect_block_end();
  return stmt;
}

std::unique_ptr<Stmt> TemplateParser::parse_set() {
  auto stmt = statement(StmtKind::kSet);
  take();
  parse_targets(*stmt, true);
  if (accept_operator("=")) {
    stmt->expr = parse_tuple();
    expect_block_end();
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  ExprPtr filters;  // the innermost filter has no argument: it gets the block's text
  while (accept_operator("|")) filters = parse_filter(std::move(filters));
  stmt->expr = std::move(filters);
  expect_block_end();
  stmt->body = parse_body({"endset"});
  take();
  expect_block_end();
  return stmt;
}

std::vector<Parameter> TemplateParser::parse_parameters() {
  std::vector<Parameter> parameters;
  expect_operator("(");
  while (!is_operator(")")) {
    if (!parameters.empty()) expect_operator(",");
    if (is_operator(")")) break;
    Parameter parameter;
    parameter.name = expect_identifier();
    if (accept_operator("=")) parameter.fallback = parse_expression();
    else if (!parameters.empty() && parameters.back().fallback) error("a parameter without default follows one with a default");
    parameters.push_back(std::move(parameter));
  }
  expect_operator(")");
  return parameters;
}

std::unique_ptr<Stmt> TemplateParser::parse_macro() {
  auto stmt = statement(StmtKind::kMacro);
  take();
  stmt->text = expect_identifier();
  stmt->parameters = parse_parameters();
  expect_block_end();
  const int loops = std::exchange(loops_, 0);
  stmt->body = parse_body({"endmacro"});
  loops_ = loops;
  take();
  if (now().kind == TokenKind::kName) take();  // {% endmacro name %}
  expect_block_end();
  return stmt;
}

std::unique_ptr<Stmt> TemplateParser::parse_call() {
  auto stmt = statement(StmtKind::kCallBlock);
  take();
  if (is_operator("(")) stmt->parameters = parse_parameters();
  stmt->expr = parse_expression();
  if (stmt->expr->kind != ExprKind::kCall) error("expected a call");
  expect_block_end();
  const int loops = std::exchange(loops_, 0);
  stmt->body = parse_body({"endcall"});
  loops_ = loops;
  take();
  expect_block_end();
  return stmt;
}

std::unique_ptr<Stmt> TemplateParser::parse_filter_block() {
  auto stmt = statement(StmtKind::kFilterBlock);
  take();
  ExprPtr filters = parse_filter(nullptr);
  while (accept_operator("|")) filters = parse_filter(std::move(filters));
  stmt->expr = std::move(filters);
  expect_block_end();
  stmt->body = parse_body({"endfilter"});
  take();
  expect_block_end();
  return stmt;
}

std::unique_ptr<Stmt> TemplateParser::parse_with() {
  auto stmt = statement(StmtKind::kWith);
  take();
  while (now().kind == TokenKind::kName) {
    std::string name = expect_identifier();
    expect_operator("=");
    stmt->bindings.emplace_back(std::move(name), parse_expression());
    if (!accept_operator(",")) break;
  }
  expect_block_end();
  stmt->body = parse_body({"endwith"});
  take();
  expect_block_end();
  return stmt;
}

// transformers marks the assistant's text with this tag; rendering gives its body.
std::unique_ptr<Stmt> TemplateParser::parse_generation() {
  auto stmt = statement(StmtKind::kScope);
  take();
  expect_block_end();
  stmt->body = parse_body({"endgeneration"});
  take();
  expect_block_end();
  return stmt;
}

std::unique_ptr<Stmt> TemplateParser::parse_loop_control() {
  auto stmt = statement(is_name("break") ? StmtKind::kBreak : StmtKind::kContinue);
  if (loops_ == 0) error("'" + now().text + "' outside a loop");
  take();
  expect_block_end();
  return stmt;
}

Body parse_template(std::string_view source) { return TemplateParser(tokenize_template(source)).parse_all(); }

}  // namespace hone::text
