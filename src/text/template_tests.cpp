// Tests of the template language: `x is name`.
#include <map>

#include "base/error.h"
#include "text/template_interpreter.h"
#include "text/template_text.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

const Value& argument(const Arguments& a) {
  if (a.positional.empty()) template_error("the test needs an argument");
  return a.positional[0];
}

bool is_integer(const Value& v) { return v.is_int(); }

int64_t integer(const Value& v) {
  if (!v.is_int() && !v.is_bool()) template_error("the test needs an integer");
  return v.as_int();
}

// Identity for the values that Python keeps once, equality of type and value for the rest.
bool same_object(Interpreter& in, const Value& a, const Value& b) { return std::string_view(a.type_name()) == b.type_name() && in.same(a, b); }

bool case_test(const Value& v, std::string (*map)(const std::string&)) {
  if (!v.is_string()) return false;
  return map(v.string()) == v.string() && lower_text(v.string()) != upper_text(v.string());
}

#define HONE_ORDER_TEST(op) [](Interpreter& in, const Value& v, const Arguments& a) { return in.order(v, argument(a)) op 0; }

const std::map<std::string_view, Test>& tests() {
  static const Test equal_to = [](Interpreter& in, const Value& v, const Arguments& a) { return in.same(v, argument(a)); };
  static const Test not_equal = [](Interpreter& in, const Value& v, const Arguments& a) { return !in.same(v, argument(a)); };
  static const Test less = HONE_ORDER_TEST(<), less_equal = HONE_ORDER_TEST(<=), greater = HONE_ORDER_TEST(>), greater_equal = HONE_ORDER_TEST(>=);
  static const std::map<std::string_view, Test> table = {
      {"defined", [](Interpreter&, const Value& v, const Arguments&) { return !v.is_undefined(); }},
      {"undefined", [](Interpreter&, const Value& v, const Arguments&) { return v.is_undefined(); }},
      {"none", [](Interpreter&, const Value& v, const Arguments&) { return v.is_none(); }},
      {"boolean", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool(); }},
      {"true", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool() && v.truthy(); }},
      {"false", [](Interpreter&, const Value& v, const Arguments&) { return v.is_bool() && !v.truthy(); }},
      {"integer", [](Interpreter&, const Value& v, const Arguments&) { return is_integer(v); }},
      {"float", [](Interpreter&, const Value& v, const Arguments&) { return v.is_float(); }},
      {"number", [](Interpreter&, const Value& v, const Arguments&) { return v.is_number(); }},
      {"string", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string(); }},
      {"mapping", [](Interpreter&, const Value& v, const Arguments&) { return v.is_dict(); }},
      {"iterable", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() || v.is_list() || v.is_dict() || v.is_undefined(); }},
      {"sequence", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() || v.is_list() || v.is_dict() || v.is_undefined(); }},
      {"callable", [](Interpreter&, const Value& v, const Arguments&) { return v.is_callable(); }},
      {"sameas", [](Interpreter& in, const Value& v, const Arguments& a) { return same_object(in, v, argument(a)); }},
      {"escaped", [](Interpreter&, const Value&, const Arguments&) { return false; }},
      {"odd", [](Interpreter&, const Value& v, const Arguments&) { return integer(v) % 2 != 0; }},
      {"even", [](Interpreter&, const Value& v, const Arguments&) { return integer(v) % 2 == 0; }},
      {"divisibleby",
       [](Interpreter&, const Value& v, const Arguments& a) {
         const int64_t by = integer(argument(a));
         if (by == 0) template_error("division by zero");
         return by == -1 || integer(v) % by == 0;
       }},
      {"lower", [](Interpreter&, const Value& v, const Arguments&) { return case_test(v, lower_text); }},
      {"upper", [](Interpreter&, const Value& v, const Arguments&) { return case_test(v, upper_text); }},
      {"in", [](Interpreter& in, const Value& v, const Arguments& a) { return in.contains(argument(a), v); }},
      {"filter", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_filter(v.string()) != nullptr; }},
      {"test", [](Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_test(v.string()) != nullptr; }},
      {"eq", equal_to},
      {"equalto", equal_to},
      {"==", equal_to},
      {"ne", not_equal},
      {"!=", not_equal},
      {"lt", less},
      {"lessthan", less},
      {"<", less},
      {"le", less_equal},
      {"<=", less_equal},
      {"gt", greater},
      {"greaterthan", greater},
      {">", greater},
      {"ge", greater_equal},
      {">=", greater_equal},
  };
  return table;
}

}  // namespace

Test find_test(std::string_view name) {
  const auto it = tests().find(name);
  return it == tests().end() ? nullptr : it->second;
}

}  // namespace hone::text
