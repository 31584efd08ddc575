// Statements, scopes and calls.
#include "text/template_interpreter.h"

#include <algorithm>

#include "base/error.h"

namespace hone::text {

const Value* Arguments::find(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [n, v] : named)
    if (n == name) return &v;
  return nullptr;
}

Value Arguments::get(size_t index, std::string_view name, Value fallback) const {
  const Value* found = find(index, name);
  return found ? *found : std::move(fallback);
}

// Counts the nesting of evaluation.
struct Interpreter::Deeper {
  explicit Deeper(Interpreter& in) : interpreter(in) {
    if (static_cast<size_t>(++interpreter.depth_) > interpreter.limits_.max_depth) {
      --interpreter.depth_;
      template_error("nested too deep (calls, blocks or expressions)");
    }
    interpreter.meter_.charge_steps(1);
  }
  ~Deeper() { --interpreter.depth_; }
  Interpreter& interpreter;
};

Interpreter::Interpreter(const RenderLimits& limits, int64_t now) : limits_(limits), now_(now) {
  limits_.max_depth = std::min<size_t>(limits_.max_depth, 2000);  // the machine's stack is the other limit
  meter_.step_limit = limits.max_steps;
  meter_.string_limit = limits.max_output;
  meter_.live_limit = std::max<size_t>(16 << 20, 4 * std::min<size_t>(limits.max_output, SIZE_MAX / 4));
}

std::string Interpreter::render(const Body& body, const Json& variables) {
  try {
    auto globals = std::make_shared<Scope>();
    for (auto it = variables.begin(); it != variables.end(); ++it) globals->names[it.key()] = maker_.from_json(it.value());
    auto scope = std::make_shared<Scope>();
    scope->parent = globals;
    Builder out(meter_);
    run(body, scope, out);
    return out.take();
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("[template] line {}: {}", line_, e.what()));
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::kResource, "[template] line {}: not enough memory", line_);
  }
}

Namespace* Interpreter::new_namespace() {
  meter_.charge_bytes(sizeof(Namespace) + 64);  // kept until the end of the render
  return &namespaces_.emplace_back();
}

Value Interpreter::new_function(std::string name) {
  auto function = std::make_shared<Callable>();
  function->name = std::move(name);
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(function))));
}

Interpreter::Flow Interpreter::run(const Body& body, const std::shared_ptr<Scope>& scope, Builder& out) {
  for (const auto& stmt : body)
    if (const Flow flow = run(*stmt, scope, out); flow != Flow::kNormal) return flow;
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::run(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out) {
  const Deeper deeper(*this);
  line_ = stmt.line;
  const auto inner = [&] {
    auto child = std::make_shared<Scope>();
    child->parent = scope;
    return child;
  };
  switch (stmt.kind) {
    case StmtKind::kText: out += stmt.text; break;
    case StmtKind::kOutput: append_str(out, eval(*stmt.expr, scope)); break;
    case StmtKind::kIf: return run_if(stmt, scope, out);
    case StmtKind::kFor: return run_for(stmt, eval(*stmt.expr, scope), scope, out, 0);
    case StmtKind::kSet: assign(stmt, eval(*stmt.expr, scope), *scope, scope); break;
    case StmtKind::kSetBlock: run_set_block(stmt, scope); break;
    case StmtKind::kMacro: {
      meter_.charge_bytes(sizeof(Macro) + 64);
      macros_.push_back({stmt.text, &stmt, scope});
      auto function = std::make_shared<Callable>();
      function->name = stmt.text;
      function->macro = &macros_.back();
      scope->names[stmt.text] = Value(Value::Data(std::shared_ptr<const Callable>(std::move(function))));
      break;
    }
    case StmtKind::kCallBlock: run_call_block(stmt, scope, out); break;
    case StmtKind::kFilterBlock: {
      Builder text(meter_);
      run(stmt.body, inner(), text);
      const Value input = make_string(text.take());
      append_str(out, eval_filter(*stmt.expr, &input, scope));
      break;
    }
    case StmtKind::kWith: {
      const auto child = inner();
      for (const auto& [name, expr] : stmt.bindings) child->names[name] = eval(*expr, scope);
      return run(stmt.body, child, out);
    }
    case StmtKind::kScope: return run(stmt.body, inner(), out);
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out) {
  for (const auto& [condition, body] : stmt.branches)
    if (eval(*condition, scope).truthy()) return run(body, scope, out);
  return run(stmt.else_body, scope, out);
}

Value Interpreter::loop_variable(const std::vector<Value>& items, size_t index, int64_t depth, const Value& recursion) {
  auto loop = std::make_shared<DictObject>();
  const auto n = static_cast<int64_t>(items.size()), i = static_cast<int64_t>(index);
  const auto set = [&](const char* name, Value value) {
    loop->items.emplace_back(Value(Value::Data(std::shared_ptr<const StringObject>(new StringObject{name, nullptr}))), std::move(value));
  };
  set("index0", Value::integer(i));
  set("index", Value::integer(i + 1));
  set("first", Value::boolean(i == 0));
  set("last", Value::boolean(i + 1 == n));
  set("length", Value::integer(n));
  set("revindex", Value::integer(n - i));
  set("revindex0", Value::integer(n - i - 1));
  set("depth", Value::integer(depth + 1));
  set("depth0", Value::integer(depth));
  set("previtem", i > 0 ? items[index - 1] : Value::undefined("there is no previous item"));
  set("nextitem", i + 1 < n ? items[index + 1] : Value::undefined("there is no next item"));
  auto cycle = std::make_shared<Callable>();
  cycle->name = "loop.cycle";
  cycle->self = std::make_shared<const Value>(Value::integer(i));
  set("cycle", Value(Value::Data(std::shared_ptr<const Callable>(std::move(cycle)))));
  if (!recursion.is_undefined()) set("__call__", recursion);
  return maker_.dict(std::move(loop));
}

Interpreter::Flow Interpreter::run_for(const Stmt& stmt, const Value& iterated, const std::shared_ptr<Scope>& scope, Builder& out, int64_t depth) {
  std::vector<Value> items = iterate(iterated);
  const auto fresh = [&] {
    auto child = std::make_shared<Scope>();
    child->parent = scope;
    return child;
  };
  if (stmt.condition) {
    std::vector<Value> kept;
    for (Value& item : items) {
      meter_.charge_steps(1);
      const auto child = fresh();
      assign(stmt, item, *child, child);
      if (eval(*stmt.condition, child).truthy()) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  Value recursion;
  if (stmt.recursive) {
    auto function = std::make_shared<Callable>();
    function->name = "loop";
    recursions_[function.get()] = {&stmt, scope, depth + 1};
    recursion = Value(Value::Data(std::shared_ptr<const Callable>(std::move(function))));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    meter_.charge_steps(1);
    const auto child = fresh();
    assign(stmt, items[i], *child, child);
    if (stmt.uses_loop) child->names["loop"] = loop_variable(items, i, depth, recursion);
    if (run(stmt.body, child, out) == Flow::kBreak) break;
  }
  if (stmt.recursive) recursions_.erase(&recursion.callable());
  return items.empty() ? run(stmt.else_body, fresh(), out) : Flow::kNormal;
}

void Interpreter::run_set_block(const Stmt& stmt, const std::shared_ptr<Scope>& scope) {
  auto child = std::make_shared<Scope>();
  child->parent = scope;
  Builder text(meter_);
  run(stmt.body, child, text);
  Value value = make_string(text.take());
  if (stmt.expr) value = eval_filter(*stmt.expr, &value, scope);
  assign(stmt, value, *scope, scope);
}

// The block becomes the macro `caller` of the called one.
void Interpreter::run_call_block(const Stmt& stmt, const std::shared_ptr<Scope>& scope, Builder& out) {
  meter_.charge_bytes(sizeof(Macro) + 64);
  macros_.push_back({"caller", &stmt, scope});
  auto function = std::make_shared<Callable>();
  function->name = "caller";
  function->macro = &macros_.back();
  const Value caller = Value(Value::Data(std::shared_ptr<const Callable>(std::move(function))));
  append_str(out, eval_call(*stmt.expr, scope, &caller));
}

void Interpreter::assign(const Stmt& stmt, const Value& value, Scope& scope, const std::shared_ptr<Scope>& lookup_scope) {
  if (stmt.targets.size() == 1 && !stmt.unpack) return assign_one(*stmt.targets[0], value, scope, lookup_scope);
  const std::vector<Value> parts = iterate(value);
  if (parts.size() != stmt.targets.size())
    template_error(fmt::format("cannot unpack {} values into {} names", parts.size(), stmt.targets.size()));
  for (size_t i = 0; i < parts.size(); ++i) assign_one(*stmt.targets[i], parts[i], scope, lookup_scope);
}

void Interpreter::assign_one(const Expr& target, const Value& value, Scope& scope, const std::shared_ptr<Scope>& lookup_scope) {
  if (target.kind == ExprKind::kName) {
    scope.names[target.name] = value;
    return;
  }
  const Value object = eval(*target.args[0], lookup_scope);
  if (!object.is_namespace()) template_error("cannot assign attribute on non-namespace object");
  for (auto& [name, member] : object.ns()->members) {
    if (name != target.name) continue;
    member = value;
    return;
  }
  meter_.charge_bytes(target.name.size() + sizeof(Value));
  object.ns()->members.emplace_back(target.name, value);
}

Value Interpreter::lookup(const std::string& name, const Scope& scope) {
  for (const Scope* s = &scope; s; s = s->parent.get())
    if (const auto it = s->names.find(name); it != s->names.end()) return it->second;
  if (is_global_function(name)) return new_function(name);
  return Value::undefined("'" + name + "'");
}

Value Interpreter::call(const Value& function, const Arguments& arguments) {
  const Deeper deeper(*this);
  if (function.is_undefined()) template_error(function.undefined_name() + " is undefined");
  if (function.is_dict())  // a recursive loop is called by its own name
    if (const Value* recursion = function.dict().find("__call__"); recursion && recursion->is_callable()) return call(*recursion, arguments);
  if (!function.is_callable()) template_error(fmt::format("'{}' object is not callable", function.type_name()));
  const Callable& callable = function.callable();
  if (callable.macro) return call_macro(*callable.macro, arguments);
  if (callable.name == "loop") return call_recursion(callable, arguments);
  if (callable.name == "loop.cycle") {
    if (arguments.positional.empty()) template_error("no items for cycling given");
    return arguments.positional[static_cast<size_t>(callable.self->as_int()) % arguments.positional.size()];
  }
  if (callable.self) return call_method(*this, *callable.self, callable.name, arguments);
  return call_global(*this, callable.name, arguments);
}

Value Interpreter::call_recursion(const Callable& function, const Arguments& arguments) {
  const auto it = recursions_.find(&function);
  if (it == recursions_.end()) template_error("a recursive loop is called after its end");
  if (arguments.positional.empty()) template_error("a recursive loop needs something to iterate");
  const Recursion recursion = it->second;
  Builder out(meter_);
  run_for(*recursion.stmt, arguments.positional[0], recursion.scope, out, recursion.depth);
  return make_string(out.take());
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const auto& parameters = macro.definition->parameters;
  auto scope = std::make_shared<Scope>();
  scope->parent = macro.scope;
  std::vector<Value> rest;
  auto extra = std::make_shared<DictObject>();
  for (size_t i = parameters.size(); i < arguments.positional.size(); ++i) rest.push_back(arguments.positional[i]);
  for (const auto& [name, value] : arguments.named) {
    if (name == "caller") scope->names["caller"] = value;
    else if (std::none_of(parameters.begin(), parameters.end(), [&name = name](const Parameter& p) { return p.name == name; }))
      extra->set(make_string(name), value);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Value* given = arguments.find(i, parameters[i].name);
    if (given) scope->names[parameters[i].name] = *given;
    else if (parameters[i].fallback) scope->names[parameters[i].name] = eval(*parameters[i].fallback, scope);
    else scope->names[parameters[i].name] = Value::undefined("parameter '" + parameters[i].name + "' was not provided");
  }
  scope->names["varargs"] = maker_.list(std::move(rest), true);
  scope->names["kwargs"] = maker_.dict(std::move(extra));
  Builder out(meter_);
  run(macro.definition->body, scope, out);
  return make_string(out.take());
}

}  // namespace hone::text
