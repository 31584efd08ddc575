// The expression half of the parser; statements are in template_statements.cpp.
#pragma once

#include <string>
#include <vector>

#include "text/template_ast.h"
#include "text/template_lexer.h"

namespace hone::text {

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<TemplateToken> tokens) : tokens_(std::move(tokens)) {}
  Body parse_all();

 private:
  // Tokens.
  const TemplateToken& now() const { return tokens_[at_]; }
  const TemplateToken& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const TemplateToken& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_operator(std::string_view op) const { return now().kind == TokenKind::kOperator && now().text == op; }
  bool is_name(std::string_view name) const { return now().kind == TokenKind::kName && now().text == name; }
  bool accept_operator(std::string_view op);
  bool accept_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_identifier();
  [[noreturn]] void error(const std::string& what) const;

  // Expressions, loosest binding first.
  ExprPtr parse_expression(bool with_condition = true);
  ExprPtr parse_tuple(bool with_condition = true);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter = true);
  ExprPtr parse_primary();
  ExprPtr parse_string();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_filters_and_tests(ExprPtr node);
  ExprPtr parse_filter(ExprPtr node);
  ExprPtr parse_test(ExprPtr node);
  void parse_call_arguments(Expr& call);
  ExprPtr make(ExprKind kind, std::vector<ExprPtr> args = {}) const;
  ExprPtr binary(const std::string& op, ExprPtr left, ExprPtr right) const;
  ExprPtr finish(ExprPtr node) const;  // computes and checks the depth

  // Statements.
  Body parse_body(const std::vector<std::string>& ends);
  std::unique_ptr<Stmt> parse_statement();
  std::unique_ptr<Stmt> parse_if();
  std::unique_ptr<Stmt> parse_for();
  std::unique_ptr<Stmt> parse_set();
  std::unique_ptr<Stmt> parse_macro();
  std::unique_ptr<Stmt> parse_call();
  std::unique_ptr<Stmt> parse_filter_block();
  std::unique_ptr<Stmt> parse_with();
  std::unique_ptr<Stmt> parse_generation();
  std::unique_ptr<Stmt> parse_loop_control();
  std::unique_ptr<Stmt> statement(StmtKind kind) const;
  void parse_targets(Stmt& stmt, bool allow_attributes);
  std::vector<Parameter> parse_parameters();
  void expect_block_end();

  std::vector<TemplateToken> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;   // of the recursive functions
  int loops_ = 0;     // enclosing for bodies
  int loop_names_ = 0;  // mentions of `loop` so far

  struct Nest {
    explicit Nest(TemplateParser& parser);
    ~Nest() { --parser_.nesting_; }
    TemplateParser& parser_;
  };
};

}  // namespace hone::text
