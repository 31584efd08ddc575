// Runs the tree of a template over given values, within limits.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/template_ast.h"

namespace hone::text {

class Interpreter;

// Arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  // Argument `index` or `name`; null when absent.
  const Value* find(size_t index, std::string_view name) const;
  Value get(size_t index, std::string_view name, Value fallback) const;
};

struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Value, std::less<>> names;
};

struct Macro {
  std::string name;
  const Stmt* definition;
  std::shared_ptr<Scope> scope;  // where it was defined; lives as long as the macro can be called
};

// Filters, tests, methods and global functions: tables of name -> function.
using Filter = Value (*)(Interpreter&, const Value& input, const Arguments& arguments);
using Test = bool (*)(Interpreter&, const Value& input, const Arguments& arguments);
Filter find_filter(std::string_view name);  // null when unknown
Test find_test(std::string_view name);
bool is_global_function(std::string_view name);
Value call_global(Interpreter& interpreter, std::string_view name, const Arguments& arguments);
bool has_method(const Value& object, std::string_view name);
Value call_method(Interpreter& interpreter, const Value& object, std::string_view name, const Arguments& arguments);
std::string format_time(std::string_view format, int64_t seconds);  // strftime in UTC, English names

class Interpreter {
 public:
  Interpreter(const RenderLimits& limits, int64_t now);
  std::string render(const Body& body, const Json& variables);

  // For the built-in functions.
  const Maker& make() const { return maker_; }
  Meter& meter() { return meter_; }
  int64_t now() const { return now_; }
  Value make_string(std::string text) { return maker_.string(std::move(text)); }
  std::string str(const Value& value) { return to_str(value, meter_); }
  // Items that a for loop would visit. Error for values that cannot be iterated.
  std::vector<Value> iterate(const Value& value);
  Value attribute(const Value& object, const std::string& name);  // object.name
  Value item(const Value& object, const Value& key);              // object[key]
  Value call(const Value& function, const Arguments& arguments);
  Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments);
  bool apply_test(const std::string& name, const Value& input, const Arguments& arguments);
  Value binary(const std::string& op, const Value& left, const Value& right);
  bool contains(const Value& container, const Value& item);
  bool same(const Value& a, const Value& b);    // equal(), charged
  int order(const Value& a, const Value& b);    // compare(), charged
  Namespace* new_namespace();
  Value new_function(std::string name);

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  struct Deeper;

  Flow run(const Body& body, const std::shared_ptr<Scope>& scope, Builder& out);
  Flow run(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out);
  Flow run_if(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out);
  Flow run_for(const Stmt& stmt, const Value& iterated, const std::shared_ptr<Scope>& scope, Builder& out, int64_t depth);
  void run_set_block(const Stmt& stmt, const std::shared_ptr<Scope>& scope);
  void run_call_block(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out);
  void assign(const Stmt& stmt, const Value& value, Scope& scope, const std::shared_ptr<Scope>& lookup);
  void assign_one(const Expr& target, const Value& value, Scope& scope, const std::shared_ptr<Scope>& lookup);
  Value loop_variable(const std::vector<Value>& items, size_t index, int64_t depth, const Value& recursion);

  Value eval(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Value eval_kind(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Value eval_slice(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Value eval_compare(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Value eval_call(const Expr& expr, const std::shared_ptr<Scope>& scope, const Value* caller = nullptr);
  Value eval_filter(const Expr& expr, const Value* input, const std::shared_ptr<Scope>& scope);
  std::vector<Value> eval_list(const std::vector<ExprPtr>& exprs, size_t from, const std::shared_ptr<Scope>& scope);
  Arguments eval_arguments(const Expr& expr, const std::shared_ptr<Scope>& scope);
  Value lookup(const std::string& name, const Scope& scope);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  Value call_recursion(const Callable& function, const Arguments& arguments);

  RenderLimits limits_;
  int64_t now_;
  Meter meter_;  // outlives every value
  Maker maker_{meter_};
  int depth_ = 0;
  int line_ = 0;  // of the innermost statement or expression that runs
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
  struct Recursion {
    const Stmt* stmt;
    std::shared_ptr<Scope> scope;
    int64_t depth;
  };
  std::map<const Callable*, Recursion> recursions_;
};

}  // namespace hone::text
