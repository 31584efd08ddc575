// Expressions.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/template_interpreter.h"
#include "text/unicode.h"

namespace hone::text {

struct EvalDepth {  // as Interpreter::Deeper, for expressions
  explicit EvalDepth(int& depth, size_t limit) : depth_(depth) {
    if (static_cast<size_t>(++depth_) > limit) {
      --depth_;
      template_error("nested too deep (calls, blocks or expressions)");
    }
  }
  ~EvalDepth() { --depth_; }
  int& depth_;
};

Value Interpreter::eval(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  if (expr.kind == ExprKind::kConstant) return expr.value;
  line_ = expr.line;
  meter_.charge_steps(1);
  if (expr.kind == ExprKind::kName) return lookup(expr.name, *scope);
  const EvalDepth deeper(depth_, limits_.max_depth);
  return eval_kind(expr, scope);
}

Value Interpreter::eval_kind(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  const auto arg = [&](size_t i) { return eval(*expr.args[i], scope); };
  switch (expr.kind) {
    case ExprKind::kConstant: return expr.value;
    case ExprKind::kName: return lookup(expr.name, *scope);
    case ExprKind::kList: return maker_.list(eval_list(expr.args, 0, scope));
    case ExprKind::kTuple: return maker_.list(eval_list(expr.args, 0, scope), true);
    case ExprKind::kDict: {
      auto dict = std::make_shared<DictObject>();
      for (size_t i = 0; i + 1 < expr.args.size(); i += 2) {
        Value key = arg(i);
        if (key.is_list() || key.is_dict()) template_error(fmt::format("unhashable type: '{}'", key.type_name()));
        dict->set(std::move(key), arg(i + 1));
      }
      return maker_.dict(std::move(dict));
    }
    case ExprKind::kAttribute: return attribute(arg(0), expr.name);
    case ExprKind::kItem: {
      const Value object = arg(0);
      return item(object, arg(1));
    }
    case ExprKind::kSlice: return eval_slice(expr, scope);
    case ExprKind::kCall: return eval_call(expr, scope);
    case ExprKind::kFilter: return eval_filter(expr, nullptr, scope);
    case ExprKind::kTest: {
      const Value input = arg(0);
      return Value::boolean(apply_test(expr.name, input, eval_arguments(expr, scope)));
    }
    case ExprKind::kNot: return Value::boolean(!arg(0).truthy());
    case ExprKind::kNegate: return binary("-", Value::integer(0), arg(0));
    case ExprKind::kPlus: return binary("+", Value::integer(0), arg(0));
    case ExprKind::kBinary: {
      const Value left = arg(0);
      return binary(expr.name, left, arg(1));
    }
    case ExprKind::kConcat: {
      Builder out(meter_);
      for (size_t i = 0; i < expr.args.size(); ++i) append_str(out, arg(i));
      return make_string(out.take());
    }
    case ExprKind::kCompare: return eval_compare(expr, scope);
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      Value value;
      for (size_t i = 0; i < expr.args.size(); ++i) {
        value = arg(i);
        if (value.truthy() == (expr.kind == ExprKind::kOr)) break;
      }
      return value;
    }
    case ExprKind::kConditional:
      if (arg(0).truthy()) return arg(1);
      return expr.args[2] ? arg(2) : Value::undefined("the inline if-expression without else");
  }
  return {};
}

std::vector<Value> Interpreter::eval_list(const std::vector<ExprPtr>& exprs, size_t from, const std::shared_ptr<Scope>& scope) {
  std::vector<Value> values;
  values.reserve(exprs.size() - std::min(from, exprs.size()));
  for (size_t i = from; i < exprs.size(); ++i) values.push_back(eval(*exprs[i], scope));
  return values;
}

Arguments Interpreter::eval_arguments(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  Arguments arguments;
  arguments.positional = eval_list(expr.args, 1, scope);
  for (const auto& [name, value] : expr.kwargs) arguments.named.emplace_back(name, eval(*value, scope));
  if (expr.star)
    for (Value& v : iterate(eval(*expr.star, scope))) arguments.positional.push_back(std::move(v));
  if (expr.star_star) {
    const Value more = eval(*expr.star_star, scope);
    if (!more.is_dict()) template_error("the argument after ** must be a dict");
    for (const auto& [k, v] : more.dict().items) arguments.named.emplace_back(str(k), v);
  }
  return arguments;
}

Value Interpreter::eval_call(const Expr& expr, const std::shared_ptr<Scope>& scope, const Value* caller) {
  const Value function = eval(*expr.args[0], scope);
  Arguments arguments = eval_arguments(expr, scope);
  if (caller) arguments.named.emplace_back("caller", *caller);
  line_ = expr.line;
  return call(function, arguments);
}

Value Interpreter::eval_filter(const Expr& expr, const Value* input, const std::shared_ptr<Scope>& scope) {
  const EvalDepth deeper(depth_, limits_.max_depth);
  Value value;
  if (!expr.args[0]) value = input ? *input : Value();
  else if (input) value = eval_filter(*expr.args[0], input, scope);  // a chain over a block's text
  else value = eval(*expr.args[0], scope);
  const Arguments arguments = eval_arguments(expr, scope);
  line_ = expr.line;
  return apply_filter(expr.name, value, arguments);
}

Value Interpreter::apply_filter(const std::string& name, const Value& input, const Arguments& arguments) {
  const Filter filter = find_filter(name);
  if (!filter) fail(ErrorKind::kUnsupported, "filter '{}' is not known", name);
  meter_.charge_steps(1 + input.weight() / 4);
  return filter(*this, input, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& input, const Arguments& arguments) {
  const Test test = find_test(name);
  if (!test) fail(ErrorKind::kUnsupported, "test '{}' is not known", name);
  return test(*this, input, arguments);
}

Value Interpreter::eval_compare(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  Value left = eval(*expr.args[0], scope);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.args[i + 1], scope);
    const std::string& op = expr.ops[i];
    bool holds = false;
    if (op == "==") holds = same(left, right);
    else if (op == "!=") holds = !same(left, right);
    else if (op == "in") holds = contains(right, left);
    else if (op == "not in") holds = !contains(right, left);
    else if (op == "<") holds = order(left, right) < 0;
    else if (op == "<=") holds = order(left, right) <= 0;
    else if (op == ">") holds = order(left, right) > 0;
    else holds = order(left, right) >= 0;
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

bool Interpreter::same(const Value& a, const Value& b) {
  meter_.charge_steps(std::min(a.weight(), b.weight()));
  return equal(a, b);
}

int Interpreter::order(const Value& a, const Value& b) {
  meter_.charge_steps(2 * std::min(a.weight(), b.weight()));
  return compare(a, b);
}

bool Interpreter::contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) template_error(fmt::format("'in <string>' requires string as left operand, not {}", item.type_name()));
    meter_.charge_steps(container.weight());
    return find_text(container.string(), item.string()) != std::string_view::npos;
  }
  if (container.is_dict()) {
    if (!item.is_string()) meter_.charge_steps(container.dict().items.size());
    return container.dict().find(item) != nullptr;
  }
  if (container.is_list()) return std::any_of(container.list().begin(), container.list().end(), [&](const Value& v) { return same(v, item); });
  if (container.is_undefined()) return false;
  template_error(fmt::format("argument of type '{}' is not iterable", container.type_name()));
}

std::vector<Value> Interpreter::iterate(const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (value.is_list()) {
    meter_.charge_steps(value.list().size() / 8);
    return value.list();
  }
  if (value.is_dict()) {
    for (const auto& [k, v] : value.dict().items) items.push_back(k);
    return items;
  }
  if (value.is_string()) {
    const std::string& text = value.string();
    for (size_t i = 0; i < text.size();) {
      const Decoded d = decode_utf8(text, i);
      items.push_back(make_string(text.substr(i, d.length)));
      i += d.length;
    }
    return items;
  }
  template_error(fmt::format("'{}' object is not iterable", value.type_name()));
}

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) template_error(object.undefined_name() + " is undefined");
  if (object.is_namespace()) {
    for (const auto& [n, v] : object.ns()->members)
      if (n == name) return v;
    return Value::undefined("'namespace' object has no attribute '" + name + "'");
  }
  if (has_method(object, name)) {
    auto method = std::make_shared<Callable>();
    method->name = name;
    method->self = std::make_shared<const Value>(object);
    return Value(Value::Data(std::shared_ptr<const Callable>(std::move(method))));
  }
  if (object.is_dict())
    if (const Value* found = object.dict().find(name)) return *found;
  return Value::undefined(fmt::format("'{} object' has no attribute '{}'", object.type_name(), name));
}

namespace {

// Where a code point of a text begins; index counts code points and is in range.
size_t byte_offset(const std::string& text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += decode_utf8(text, at).length;
  return at;
}

}  // namespace

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) template_error(object.undefined_name() + " is undefined");
  if (object.is_dict()) {
    if (const Value* found = object.dict().find(key)) return *found;
  } else if ((object.is_list() || object.is_string()) && (key.is_int() || key.is_bool())) {
    if (object.is_string()) meter_.charge_steps(object.weight());
    const auto size = static_cast<int64_t>(object.is_list() ? object.list().size() : code_points(object.string()));
    int64_t index = key.as_int();
    if (index < 0) index += size;
    if (index >= 0 && index < size) {
      if (object.is_list()) return object.list()[static_cast<size_t>(index)];
      const size_t at = byte_offset(object.string(), static_cast<size_t>(index));
      return make_string(object.string().substr(at, decode_utf8(object.string(), at).length));
    }
    return Value::undefined(fmt::format("index {} of a {} of {} items", key.as_int(), object.type_name(), size));
  }
  if (key.is_string()) return attribute(object, key.string());
  return Value::undefined(fmt::format("'{} object' has no such item", object.type_name()));
}

Value Interpreter::eval_slice(const Expr& expr, const std::shared_ptr<Scope>& scope) {
  const Value object = eval(*expr.args[0], scope);
  if (object.is_undefined()) template_error(object.undefined_name() + " is undefined");
  if (!object.is_list() && !object.is_string()) template_error(fmt::format("'{}' object cannot be sliced", object.type_name()));
  std::optional<int64_t> bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (!expr.args[i + 1]) continue;
    const Value v = eval(*expr.args[i + 1], scope);
    if (v.is_none()) continue;
    if (!v.is_int() && !v.is_bool()) template_error("slice indices must be integers or None");
    bounds[i] = v.as_int();
  }
  const int64_t step = bounds[2].value_or(1);
  if (step == 0) template_error("slice step cannot be zero");
  std::vector<size_t> starts;  // of the code points of a string
  if (object.is_string()) {
    meter_.charge_steps(object.string().size() / 8);
    for (size_t i = 0; i < object.string().size(); i += decode_utf8(object.string(), i).length) starts.push_back(i);
  }
  const auto size = static_cast<int64_t>(object.is_list() ? object.list().size() : starts.size());
  const auto clamp = [&](std::optional<int64_t> v, int64_t fallback) {
    if (!v) return fallback;
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    return std::clamp(*v < 0 ? (*v < -size ? low : *v + size) : *v, low, high);
  };
  const int64_t begin = clamp(bounds[0], step > 0 ? 0 : size - 1), end = clamp(bounds[1], step > 0 ? size : -1);
  std::vector<Value> items;
  Builder text(meter_);
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (object.is_list()) {
      items.push_back(object.list()[static_cast<size_t>(i)]);
    } else {
      const size_t at = starts[static_cast<size_t>(i)];
      text += std::string_view(object.string()).substr(at, decode_utf8(object.string(), at).length);
    }
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return object.is_list() ? maker_.list(std::move(items), object.is_tuple()) : make_string(text.take());
}

namespace {

[[noreturn]] void unsupported(const std::string& op, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b})
    if (v->is_undefined()) template_error(v->undefined_name() + " is undefined");
  if (op == "+" && a.is_string()) template_error(fmt::format("can only concatenate str (not \"{}\") to str", b.type_name()));
  template_error(fmt::format("unsupported operand types for {}: '{}' and '{}'", op, a.type_name(), b.type_name()));
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1)
      if (__builtin_mul_overflow(result, base, &result)) template_error("an integer grew past 64 bits");
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) template_error("an integer grew past 64 bits");
  }
  return result;
}

Value integer_operation(const std::string& op, int64_t a, int64_t b) {
  int64_t r = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &r);
  else if (op == "-") overflow = __builtin_sub_overflow(a, b, &r);
  else if (op == "*") overflow = __builtin_mul_overflow(a, b, &r);
  else if (op == "**") {
    if (b < 0) return Value::number(std::pow(static_cast<double>(a), static_cast<double>(b)));
    r = power(a, b);
  } else {
    if (b == 0) template_error("division by zero");
    if (op == "/") return Value::number(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {
      if (op == "//") overflow = __builtin_sub_overflow(int64_t{0}, a, &r);
    } else {
      const int64_t q = a / b, m = a % b;
      const bool adjust = m != 0 && (m < 0) != (b < 0);  // Python rounds down
      r = op == "//" ? q - adjust : m + (adjust ? b : 0);
    }
  }
  if (overflow) template_error("an integer grew past 64 bits");
  return Value::integer(r);
}

Value float_operation(const std::string& op, double a, double b) {
  if (op == "+") return Value::number(a + b);
  if (op == "-") return Value::number(a - b);
  if (op == "*") return Value::number(a * b);
  if (op == "**") return Value::number(std::pow(a, b));
  if (b == 0.0) template_error("float division by zero");
  if (op == "/") return Value::number(a / b);
  if (op == "//") return Value::number(std::floor(a / b));
  const double m = std::fmod(a, b);
  return Value::number(m != 0.0 && (m < 0) != (b < 0) ? m + b : m);
}

}  // namespace

Value Interpreter::binary(const std::string& op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number())
    return a.is_float() || b.is_float() ? float_operation(op, a.as_double(), b.as_double()) : integer_operation(op, a.as_int(), b.as_int());
  if (op == "+" && a.is_string() && b.is_string()) {
    Builder out(meter_);
    out += a.string();
    out += b.string();
    return make_string(out.take());
  }
  if (op == "+" && a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    meter_.charge_steps((a.list().size() + b.list().size()) / 8);
    std::vector<Value> items = a.list();
    items.insert(items.end(), b.list().begin(), b.list().end());
    return maker_.list(std::move(items), a.is_tuple());
  }
  if (op == "%" && a.is_string()) {
    Arguments arguments;
    if (b.is_tuple()) arguments.positional = b.list();
    else arguments.positional = {b};
    return apply_filter("format", a, arguments);
  }
  if (op == "*") {
    const Value& sequence = a.is_number() ? b : a;
    const Value& factor = a.is_number() ? a : b;
    if ((sequence.is_string() || sequence.is_list()) && (factor.is_int() || factor.is_bool())) {
      const auto times = static_cast<size_t>(std::max<int64_t>(0, factor.as_int()));
      if (sequence.is_string()) {
        Builder out(meter_);
        if (!sequence.string().empty()) out.fill(times, sequence.string());
        return make_string(out.take());
      }
      const size_t n = sequence.list().size();
      if (n && times > meter_.live_limit / sizeof(Value) / n) template_error("a list grew past the size limit");
      meter_.charge_steps(n * times);
      std::vector<Value> items;
      for (size_t i = 0; n && i < times; ++i) items.insert(items.end(), sequence.list().begin(), sequence.list().end());
      return maker_.list(std::move(items), sequence.is_tuple());
    }
  }
  unsupported(op, a, b);
}

}  // namespace hone::text
