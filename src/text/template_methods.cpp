// Methods of texts, dicts and lists. Those that would change a value are refused, as in transformers'
// immutable sandbox.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "text/regex.h"
#include "text/template_interpreter.h"
#include "text/template_text.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

using Method = Value (*)(Interpreter&, const Value& self, const Arguments& arguments);
using Table = std::map<std::string_view, Method>;

std::optional<std::string> optional_text(const Arguments& a, size_t index, std::string_view name) {
  const Value* v = a.find(index, name);
  if (!v || v->is_none()) return std::nullopt;
  if (!v->is_string()) template_error(fmt::format("the argument must be str, not {}", v->type_name()));
  return v->string();
}

std::string text_argument(const Arguments& a, size_t index, std::string_view name) {
  auto text = optional_text(a, index, name);
  if (!text) template_error("the method needs a text");
  return *text;
}

int64_t integer_argument(const Arguments& a, size_t index, std::string_view name, int64_t fallback) {
  const Value* v = a.find(index, name);
  if (!v) return fallback;
  if (!v->is_int() && !v->is_bool()) template_error("the argument must be an integer");
  return v->as_int();
}

Value strip(Interpreter& in, const Value& self, const Arguments& a, bool left, bool right) {
  return in.make_string(strip_text(self.string(), optional_text(a, 0, "chars"), left, right));
}

Value split_spaces(Interpreter& in, const std::string& text, int64_t limit, bool from_right) {
  std::vector<Span> words;
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    const bool space = is_whitespace(d.code_point);
    if (!space && (words.empty() || words.back().end != i)) words.push_back({i, i});
    if (!space) words.back().end = i + d.length;
    i += d.length;
  }
  const auto wanted = limit < 0 ? words.size() : static_cast<size_t>(limit);
  std::vector<Value> out;
  if (!from_right) {
    for (size_t i = 0; i < words.size(); ++i) {
      if (i == wanted) {
        out.push_back(in.make_string(strip_text(std::string_view(text).substr(words[i].begin), std::nullopt, false, true)));
        break;
      }
      out.push_back(in.make_string(text.substr(words[i].begin, words[i].size())));
    }
  } else {
    const size_t kept = words.size() > wanted ? words.size() - wanted : 0;
    if (kept) out.push_back(in.make_string(text.substr(words[0].begin, words[kept - 1].end - words[0].begin)));
    if (kept) out.back() = in.make_string(strip_text(std::string_view(text).substr(0, words[kept - 1].end), std::nullopt, true, false));
    for (size_t i = kept; i < words.size(); ++i) out.push_back(in.make_string(text.substr(words[i].begin, words[i].size())));
  }
  return in.make().list(std::move(out));
}

Value split(Interpreter& in, const Value& self, const Arguments& a, bool from_right) {
  const std::string& text = self.string();
  const auto separator = optional_text(a, 0, "sep");
  const int64_t limit = integer_argument(a, 1, "maxsplit", -1);
  if (!separator) return split_spaces(in, text, limit, from_right);
  if (separator->empty()) template_error("empty separator");
  std::vector<size_t> cuts;
  for (size_t at = find_text(text, *separator); at != std::string_view::npos; at = find_text(text, *separator, at + separator->size())) cuts.push_back(at);
  if (from_right) {  // matches are taken from the right end
    cuts.clear();
    size_t end = text.size();
    for (size_t at; end >= separator->size() && (at = text.rfind(*separator, end - separator->size())) != std::string::npos; end = at) {
      in.meter().charge_steps(1);
      cuts.push_back(at);
      if (limit >= 0 && static_cast<int64_t>(cuts.size()) >= limit) break;
    }
    std::reverse(cuts.begin(), cuts.end());
  }
  if (limit >= 0 && static_cast<int64_t>(cuts.size()) > limit) cuts.resize(static_cast<size_t>(limit));
  std::vector<Value> out;
  size_t done = 0;
  for (const size_t cut : cuts) {
    out.push_back(in.make_string(text.substr(done, cut - done)));
    done = cut + separator->size();
  }
  out.push_back(in.make_string(text.substr(done)));
  return in.make().list(std::move(out));
}

Value split_lines(Interpreter& in, const Value& self, const Arguments& a) {
  const bool keep = a.get(0, "keepends", Value::boolean(false)).truthy();
  const std::string& text = self.string();
  std::vector<Value> out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    const uint32_t c = d.code_point;
    const bool ends = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    size_t next = i + d.length;
    if (ends) {
      if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
      out.push_back(in.make_string(text.substr(begin, (keep ? next : i) - begin)));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) out.push_back(in.make_string(text.substr(begin)));
  return in.make().list(std::move(out));
}

Value affix_test(const Value& self, const Arguments& a, bool front) {
  const Value* wanted = a.find(0, "prefix");
  if (!wanted) wanted = a.find(0, "suffix");
  const auto test = [&](const Value& v) {
    if (!v.is_string()) template_error(fmt::format("first arg must be str or a tuple of str, not {}", v.type_name()));
    return front ? self.string().starts_with(v.string()) : self.string().ends_with(v.string());
  };
  if (!wanted) template_error("the method needs a text");
  if (wanted->is_tuple()) return Value::boolean(std::any_of(wanted->list().begin(), wanted->list().end(), test));
  return Value::boolean(test(*wanted));
}

Value find(Interpreter& in, const Value& self, const Arguments& a, bool from_right, bool required) {
  const std::string needle = text_argument(a, 0, "sub"), &text = self.string();
  in.meter().charge_steps(self.weight());
  const size_t at = from_right ? text.rfind(needle) : find_text(text, needle);
  if (at == std::string::npos) {
    if (required) template_error("substring not found");
    return Value::integer(-1);
  }
  return Value::integer(static_cast<int64_t>(code_points(std::string_view(text).substr(0, at))));
}

Value count_text(Interpreter& in, const Value& self, const Arguments& a) {
  const std::string needle = text_argument(a, 0, "sub");
  in.meter().charge_steps(self.weight());
  if (needle.empty()) return Value::integer(static_cast<int64_t>(code_points(self.string())) + 1);
  int64_t n = 0;
  for (size_t at = find_text(self.string(), needle); at != std::string_view::npos; at = find_text(self.string(), needle, at + needle.size())) ++n;
  return Value::integer(n);
}

Value partition(Interpreter& in, const Value& self, const Arguments& a, bool from_right) {
  const std::string separator = text_argument(a, 0, "sep"), &text = self.string();
  if (separator.empty()) template_error("empty separator");
  const size_t at = from_right ? text.rfind(separator) : find_text(text, separator);
  const auto part = [&](std::string s) { return in.make_string(std::move(s)); };
  std::vector<Value> parts;
  if (at != std::string::npos) parts = {part(text.substr(0, at)), part(separator), part(text.substr(at + separator.size()))};
  else if (from_right) parts = {part(""), part(""), self};
  else parts = {self, part(""), part("")};
  return in.make().list(std::move(parts), true);
}

Value join(Interpreter& in, const Value& self, const Arguments& a) {
  Builder out(in.meter());
  bool first = true;
  for (const Value& item : in.iterate(a.get(0, "iterable", Value::none()))) {
    if (!item.is_string()) template_error(fmt::format("sequence item: expected str instance, {} found", item.type_name()));
    if (!first) out += self.string();
    first = false;
    out += item.string();
  }
  return in.make_string(out.take());
}

Value every(const Value& self, bool (*property)(uint32_t)) {
  const std::string& text = self.string();
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    if (!property(d.code_point)) return Value::boolean(false);
    i += d.length;
  }
  return Value::boolean(!text.empty());
}

bool is_letter(uint32_t c) { return is_word(c) && !is_numeric(c) && !is_punctuation(c) && !is_nonspacing_mark(c); }

Value pad(Interpreter& in, const Value& self, const Arguments& a, Padding padding) {
  return in.make_string(pad_text(in, self.string(), integer_argument(a, 0, "width", 0), optional_text(a, 1, "fillchar").value_or(" "), padding));
}

Value zero_fill(Interpreter& in, const Value& self, const Arguments& a) {
  const std::string& text = self.string();
  const bool sign = text.starts_with('-') || text.starts_with('+');
  const std::string digits = pad_text(in, text.substr(sign), integer_argument(a, 0, "width", 0) - sign, "0", Padding::kLeft);
  return in.make_string((sign ? text.substr(0, 1) : "") + digits);
}

Value cased(const Value& self, std::string (*map)(const std::string&)) {
  return Value::boolean(map(self.string()) == self.string() && lower_text(self.string()) != upper_text(self.string()));
}

// str.format with {}, {0}, {name} only.
Value brace_format(Interpreter& in, const Value& self, const Arguments& a) {
  Builder out(in.meter());
  const std::string& text = self.string();
  size_t next = 0;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += std::string_view(&c, 1);
      i += 2;
    } else if (c == '{') {
      const size_t close = text.find('}', i);
      if (close == std::string::npos) template_error("expected '}' before end of string");
      const std::string field = text.substr(i + 1, close - i - 1);
      if (field.find_first_of(":!.[") != std::string::npos) fail(ErrorKind::kUnsupported, "format field '{}' is not supported", field);
      const bool digits = !field.empty() && field.size() < 6 && field.find_first_not_of("0123456789") == std::string::npos;
      const Value* v = field.empty() ? a.find(next++, "") : digits ? a.find(std::stoul(field), "") : a.find(SIZE_MAX, field);
      if (!v) template_error("format argument '" + field + "' is missing");
      append_str(out, *v);
      i = close + 1;
    } else if (c == '}') {
      template_error("single '}' encountered in format string");
    } else {
      const size_t end = std::min(text.find_first_of("{}", i), text.size());
      out += std::string_view(text).substr(i, end - i);
      i = end;
    }
  }
  return in.make_string(out.take());
}

#define HONE_METHOD [](Interpreter & in, const Value& self, const Arguments& a) -> Value
#define HONE_PLAIN_METHOD [](Interpreter&, const Value& self, const Arguments&) -> Value

const Table& text_methods() {
  static const Table table = {
      {"strip", HONE_METHOD { return strip(in, self, a, true, true); }},
      {"lstrip", HONE_METHOD { return strip(in, self, a, true, false); }},
      {"rstrip", HONE_METHOD { return strip(in, self, a, false, true); }},
      {"split", HONE_METHOD { return split(in, self, a, false); }},
      {"rsplit", HONE_METHOD { return split(in, self, a, true); }},
      {"splitlines", split_lines},
      {"startswith", [](Interpreter&, const Value& self, const Arguments& a) { return affix_test(self, a, true); }},
      {"endswith", [](Interpreter&, const Value& self, const Arguments& a) { return affix_test(self, a, false); }},
      {"find", HONE_METHOD { return find(in, self, a, false, false); }},
      {"rfind", HONE_METHOD { return find(in, self, a, true, false); }},
      {"index", HONE_METHOD { return find(in, self, a, false, true); }},
      {"rindex", HONE_METHOD { return find(in, self, a, true, true); }},
      {"count", count_text},
      {"partition", HONE_METHOD { return partition(in, self, a, false); }},
      {"rpartition", HONE_METHOD { return partition(in, self, a, true); }},
      {"join", join},
      {"format", brace_format},
      {"replace",
       HONE_METHOD { return in.make_string(replace_text(in, self.string(), text_argument(a, 0, "old"), text_argument(a, 1, "new"), integer_argument(a, 2, "count", -1))); }},
      {"removeprefix",
       HONE_METHOD {
         const std::string affix = text_argument(a, 0, "prefix");
         return self.string().starts_with(affix) ? in.make_string(self.string().substr(affix.size())) : self;
       }},
      {"removesuffix",
       HONE_METHOD {
         const std::string affix = text_argument(a, 0, "suffix");
         return self.string().ends_with(affix) ? in.make_string(self.string().substr(0, self.string().size() - affix.size())) : self;
       }},
      {"lower", [](Interpreter& in, const Value& self, const Arguments&) { return in.make_string(lower_text(self.string())); }},
      {"casefold", [](Interpreter& in, const Value& self, const Arguments&) { return in.make_string(lower_text(self.string())); }},
      {"upper", [](Interpreter& in, const Value& self, const Arguments&) { return in.make_string(upper_text(self.string())); }},
      {"title", [](Interpreter& in, const Value& self, const Arguments&) { return in.make_string(title_text(self.string())); }},
      {"capitalize", [](Interpreter& in, const Value& self, const Arguments&) { return in.make_string(capitalize_text(self.string())); }},
      {"isdigit", HONE_PLAIN_METHOD { return every(self, is_numeric); }},
      {"isdecimal", HONE_PLAIN_METHOD { return every(self, is_numeric); }},
      {"isnumeric", HONE_PLAIN_METHOD { return every(self, is_numeric); }},
      {"isspace", HONE_PLAIN_METHOD { return every(self, is_whitespace); }},
      {"isalpha", HONE_PLAIN_METHOD { return every(self, is_letter); }},
      {"isalnum", HONE_PLAIN_METHOD { return every(self, [](uint32_t c) { return is_letter(c) || is_numeric(c); }); }},
      {"isascii", HONE_PLAIN_METHOD { return Value::boolean(self.string().empty() || every(self, [](uint32_t c) { return c < 0x80; }).truthy()); }},
      {"islower", HONE_PLAIN_METHOD { return cased(self, lower_text); }},
      {"isupper", HONE_PLAIN_METHOD { return cased(self, upper_text); }},
      {"ljust", HONE_METHOD { return pad(in, self, a, Padding::kRight); }},
      {"rjust", HONE_METHOD { return pad(in, self, a, Padding::kLeft); }},
      {"center", HONE_METHOD { return pad(in, self, a, Padding::kCenter); }},
      {"zfill", zero_fill},
  };
  return table;
}

[[noreturn]] Value immutable(Interpreter&, const Value& self, const Arguments&) {
  fail(ErrorKind::kBadInput, "a template may not change a {}", self.type_name());
}

const Table& dict_methods() {
  static const Table table = {
      {"get",
       [](Interpreter&, const Value& self, const Arguments& a) -> Value {
         if (a.positional.empty()) template_error("get expected at least 1 argument");
         const Value* found = self.dict().find(a.positional[0]);
         return found ? *found : a.get(1, "default", Value::none());
       }},
      {"items", [](Interpreter& in, const Value& self, const Arguments&) { return in.apply_filter("items", self, {}); }},
      {"keys", [](Interpreter& in, const Value& self, const Arguments&) { return in.make().list(in.iterate(self)); }},
      {"values",
       [](Interpreter& in, const Value& self, const Arguments&) {
         std::vector<Value> out;
         for (const auto& [k, v] : self.dict().items) out.push_back(v);
         return in.make().list(std::move(out));
       }},
      {"copy", [](Interpreter&, const Value& self, const Arguments&) { return self; }},
      {"clear", immutable},
      {"pop", immutable},
      {"popitem", immutable},
      {"setdefault", immutable},
      {"update", immutable},
  };
  return table;
}

const Table& list_methods() {
  static const Table table = {
      {"count",
       [](Interpreter& in, const Value& self, const Arguments& a) {
         const Value wanted = a.get(0, "value", Value());
         return Value::integer(std::count_if(self.list().begin(), self.list().end(), [&](const Value& v) { return in.same(v, wanted); }));
       }},
      {"index",
       [](Interpreter& in, const Value& self, const Arguments& a) {
         const Value wanted = a.get(0, "value", Value());
         for (size_t i = 0; i < self.list().size(); ++i)
           if (in.same(self.list()[i], wanted)) return Value::integer(static_cast<int64_t>(i));
         template_error("the value is not in the list");
       }},
      {"copy", [](Interpreter&, const Value& self, const Arguments&) { return self; }},
      {"append", immutable},
      {"clear", immutable},
      {"extend", immutable},
      {"insert", immutable},
      {"pop", immutable},
      {"remove", immutable},
      {"reverse", immutable},
      {"sort", immutable},
  };
  return table;
}

const Table* methods_of(const Value& object) {
  if (object.is_string()) return &text_methods();
  if (object.is_dict()) return &dict_methods();
  if (object.is_list()) return &list_methods();
  return nullptr;
}

}  // namespace

bool has_method(const Value& object, std::string_view name) {
  const Table* table = methods_of(object);
  return table && table->contains(name);
}

Value call_method(Interpreter& in, const Value& object, std::string_view name, const Arguments& arguments) {
  const Table* table = methods_of(object);
  if (!table) template_error("the value has no methods");
  const auto it = table->find(name);
  if (it == table->end()) template_error("the value has no such method");
  in.meter().charge_steps(1 + object.weight() / 4);
  return it->second(in, object, arguments);
}

}  // namespace hone::text
