// Global functions of the template language and the clock.
#include <ctime>
#include <map>

#include "base/error.h"
#include "text/template_interpreter.h"

namespace hone::text {
namespace {

using Function = Value (*)(Interpreter&, const Arguments&);

int64_t integer(const Value& v) {
  if (!v.is_int() && !v.is_bool()) template_error(fmt::format("'{}' object cannot be interpreted as an integer", v.type_name()));
  return v.as_int();
}

Value range(Interpreter& in, const Arguments& a) {
  if (a.positional.empty() || a.positional.size() > 3) template_error("range expects 1 to 3 arguments");
  const bool single = a.positional.size() == 1;
  const int64_t begin = single ? 0 : integer(a.positional[0]), end = integer(a.positional[single ? 0 : 1]);
  const int64_t step = a.positional.size() == 3 ? integer(a.positional[2]) : 1;
  if (step == 0) template_error("range() arg 3 must not be zero");
  std::vector<Value> out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    in.meter().charge_steps(1);
    if (out.size() * sizeof(Value) > in.meter().live_limit) template_error("a range is too long");
    out.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return in.make().list(std::move(out));
}

Value make_namespace(Interpreter& in, const Arguments& a) {
  Namespace* ns = in.new_namespace();
  for (const Value& v : a.positional) {
    if (!v.is_dict()) template_error("namespace() takes named values or a dict");
    for (const auto& [k, member] : v.dict().items) ns->members.emplace_back(in.str(k), member);
  }
  for (const auto& [name, value] : a.named) ns->members.emplace_back(name, value);
  return Value(Value::Data(ns));
}

Value make_dict(Interpreter& in, const Arguments& a) {
  auto dict = std::make_shared<DictObject>();
  for (const Value& v : a.positional) {
    if (v.is_dict()) {
      for (const auto& [k, item] : v.dict().items) dict->set(k, item);
      continue;
    }
    for (const Value& pair : in.iterate(v)) {
      const auto parts = in.iterate(pair);
      if (parts.size() != 2 || parts[0].is_list() || parts[0].is_dict()) template_error("dict() needs pairs of a key and a value");
      dict->set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : a.named) dict->set(in.make_string(name), value);
  return in.make().dict(std::move(dict));
}

Value raise_exception(Interpreter& in, const Arguments& a) { template_error(in.str(a.get(0, "message", Value()))); }

Value strftime_now(Interpreter& in, const Arguments& a) {
  const Value* format = a.find(0, "format");
  if (!format || !format->is_string()) template_error("strftime_now needs a format");
  const int64_t now = in.now() >= 0 ? in.now() : static_cast<int64_t>(std::time(nullptr));
  if (format->string().size() > 4096) template_error("a date format is too long");
  return in.make_string(format_time(format->string(), now));
}

const std::map<std::string_view, Function>& functions() {
  static const std::map<std::string_view, Function> table = {
      {"range", range}, {"namespace", make_namespace}, {"dict", make_dict}, {"raise_exception", raise_exception}, {"strftime_now", strftime_now},
  };
  return table;
}

}  // namespace

bool is_global_function(std::string_view name) { return functions().contains(name); }

Value call_global(Interpreter& interpreter, std::string_view name, const Arguments& arguments) {
  const auto it = functions().find(name);
  if (it == functions().end()) template_error(fmt::format("'{}' is undefined", name));
  return it->second(interpreter, arguments);
}

std::string format_time(std::string_view format, int64_t seconds) {
  static constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  static constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                            "July",    "August",   "September", "October", "November", "December"};
  const auto time = static_cast<std::time_t>(seconds);
  std::tm t{};
  if (!gmtime_r(&time, &t)) template_error("the time is out of range");
  const int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    char c = format[++i];
    const bool bare = c == '-' && i + 1 < format.size();  // no padding, as glibc
    if (bare) c = format[++i];
    const auto number = [&](int value, int width) { out += bare ? fmt::format("{}", value) : fmt::format("{:0{}}", value, width); };
    switch (c) {
      case 'Y': number(t.tm_year + 1900, 4); break;
      case 'y': number(t.tm_year % 100, 2); break;
      case 'm': number(t.tm_mon + 1, 2); break;
      case 'd': number(t.tm_mday, 2); break;
      case 'e': out += fmt::format("{:2}", t.tm_mday); break;
      case 'H': number(t.tm_hour, 2); break;
      case 'I': number(hour12, 2); break;
      case 'M': number(t.tm_min, 2); break;
      case 'S': number(t.tm_sec, 2); break;
      case 'f': out += "000000"; break;
      case 'j': number(t.tm_yday + 1, 3); break;
      case 'u': number(t.tm_wday == 0 ? 7 : t.tm_wday, 1); break;
      case 'w': number(t.tm_wday, 1); break;
      case 'p': out += t.tm_hour < 12 ? "AM" : "PM"; break;
      case 'A': out += kDays[t.tm_wday]; break;
      case 'a': out.append(kDays[t.tm_wday], 3); break;
      case 'B': out += kMonths[t.tm_mon]; break;
      case 'b':
      case 'h': out.append(kMonths[t.tm_mon], 3); break;
      case 'F': out += format_time("%Y-%m-%d", seconds); break;
      case 'T': out += format_time("%H:%M:%S", seconds); break;
      case 'R': out += format_time("%H:%M", seconds); break;
      case 'D': out += format_time("%m/%d/%y", seconds); break;
      case 'c': out += format_time("%a %b %e %H:%M:%S %Y", seconds); break;
      case 'x': out += format_time("%m/%d/%y", seconds); break;
      case 'X': out += format_time("%H:%M:%S", seconds); break;
      case 's': out += fmt::format("{}", seconds); break;
      case 'z': break;  // Python's naive time has no zone
      case 'Z': break;
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case '%': out += '%'; break;
      default: out += '%', out += c;
    }
  }
  return out;
}

}  // namespace hone::text
