// Filters of the template language.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "text/template_interpreter.h"
#include "text/template_text.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

int64_t integer_argument(const Arguments& a, size_t index, std::string_view name, int64_t fallback) {
  const Value* v = a.find(index, name);
  if (!v) return fallback;
  if (!v->is_int() && !v->is_bool()) template_error(fmt::format("argument '{}' must be an integer", name));
  return v->as_int();
}

bool flag_argument(const Arguments& a, size_t index, std::string_view name, bool fallback) {
  const Value* v = a.find(index, name);
  return v ? v->truthy() : fallback;
}

// "a.b.0" looked up step by step.
Value dotted(Interpreter& in, const Value& value, const Value& path) {
  if (!path.is_string()) return in.item(value, path);
  Value current = value;
  size_t at = 0;
  const std::string& text = path.string();
  for (;;) {
    const size_t dot = std::min(text.find('.', at), text.size());
    const std::string part = text.substr(at, dot - at);
    const bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    current = digits ? in.item(current, Value::integer(std::stoll(part))) : in.item(current, in.make_string(part));
    if (dot == text.size()) return current;
    at = dot + 1;
  }
}

Value text_filter(Interpreter& in, const Value& v, std::string (*map)(const std::string&)) { return in.make_string(map(in.str(v))); }

Value filter_abs(Interpreter& in, const Value& v, const Arguments&) {
  if (!v.is_number()) template_error("abs needs a number");
  if (v.is_float()) return Value::number(std::fabs(v.as_double()));
  return v.as_int() < 0 ? in.binary("-", Value::integer(0), v) : Value::integer(v.as_int());
}

Value filter_attr(Interpreter& in, const Value& v, const Arguments& a) {
  const Value name = a.get(0, "name", Value());
  return in.attribute(v, in.str(name));
}

Value filter_batch(Interpreter& in, const Value& v, const Arguments& a) {
  const int64_t size = integer_argument(a, 0, "linecount", 0);
  if (size < 1) template_error("batch needs a positive size");
  const Value* fill = a.find(1, "fill_with");
  std::vector<Value> out, row;
  for (Value& item : in.iterate(v)) {
    row.push_back(std::move(item));
    if (static_cast<int64_t>(row.size()) == size) out.push_back(in.make().list(std::exchange(row, {})));
  }
  if (!row.empty()) {
    while (fill && !fill->is_none() && static_cast<int64_t>(row.size()) < size) {
      in.meter().charge_steps(1);
      row.push_back(*fill);
    }
    out.push_back(in.make().list(std::move(row)));
  }
  return in.make().list(std::move(out));
}

Value filter_center(Interpreter& in, const Value& v, const Arguments& a) {
  return in.make_string(pad_text(in, in.str(v), integer_argument(a, 0, "width", 80), " ", Padding::kCenter));
}

Value filter_default(Interpreter& in, const Value& v, const Arguments& a) {
  const bool use = v.is_undefined() || (flag_argument(a, 1, "boolean", false) && !v.truthy());
  return use ? a.get(0, "default_value", in.make_string("")) : v;
}

Value pairs(Interpreter& in, const std::vector<std::pair<Value, Value>>& items) {
  std::vector<Value> out;
  for (const auto& [k, item] : items) out.push_back(in.make().list({k, item}, true));
  return in.make().list(std::move(out));
}

// Text compares without case unless asked.
Value sort_key(Interpreter& in, const Value& v, bool case_sensitive) {
  return v.is_string() && !case_sensitive ? in.make_string(lower_text(v.string())) : v;
}

template <typename Item, typename Key>
void sort_items(Interpreter& in, std::vector<Item>& items, bool reverse, Key key) {
  std::vector<std::pair<Value, size_t>> order;
  for (size_t i = 0; i < items.size(); ++i) order.emplace_back(key(items[i]), i);
  // A throwing comparison leaves the vector valid. Reversed sorting keeps equal items in order.
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return reverse ? in.order(b.first, a.first) < 0 : in.order(a.first, b.first) < 0;
  });
  std::vector<Item> sorted;
  for (const auto& [k, i] : order) sorted.push_back(std::move(items[i]));
  items = std::move(sorted);
}

Value filter_dictsort(Interpreter& in, const Value& v, const Arguments& a) {
  if (!v.is_dict()) template_error("dictsort needs a dict");
  const bool sensitive = flag_argument(a, 0, "case_sensitive", false);
  const Value by = a.get(1, "by", in.make_string("key"));
  const bool by_value = by.is_string() && by.string() == "value";
  auto items = v.dict().items;
  sort_items(in, items, flag_argument(a, 2, "reverse", false),
             [&](const auto& item) { return sort_key(in, by_value ? item.second : item.first, sensitive); });
  return pairs(in, items);
}

Value filter_escape(Interpreter& in, const Value& v, const Arguments&) {
  Builder out(in.meter());
  for (const char c : in.str(v)) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&#34;";
    else if (c == '\'') out += "&#39;";
    else out += std::string_view(&c, 1);
  }
  return in.make_string(out.take());
}

Value filter_first(Interpreter& in, const Value& v, const Arguments&) {
  const auto items = in.iterate(v);
  return items.empty() ? Value::undefined("the first item of an empty sequence") : items.front();
}

Value filter_last(Interpreter& in, const Value& v, const Arguments&) {
  const auto items = in.iterate(v);
  return items.empty() ? Value::undefined("the last item of an empty sequence") : items.back();
}

Value filter_float(Interpreter&, const Value& v, const Arguments& a) {
  if (v.is_undefined()) template_error(v.undefined_name() + " is undefined");
  if (v.is_number()) return Value::number(v.as_double());
  if (v.is_string())
    if (const auto d = parse_float(v.string())) return Value::number(*d);
  return a.get(0, "default", Value::number(0.0));
}

Value filter_int(Interpreter&, const Value& v, const Arguments& a) {
  const Value fallback = a.get(0, "default", Value::integer(0));
  if (v.is_undefined()) template_error(v.undefined_name() + " is undefined");
  if (v.is_int() || v.is_bool()) return Value::integer(v.as_int());
  std::optional<double> number;
  if (v.is_string()) {
    if (const auto i = parse_integer(v.string(), static_cast<int>(integer_argument(a, 1, "base", 10)))) return Value::integer(*i);
    number = parse_float(v.string());
  } else if (v.is_float()) {
    number = v.as_double();
  }
  if (!number || !(std::fabs(*number) < 9.2e18)) return fallback;
  return Value::integer(static_cast<int64_t>(*number));
}

Value filter_format(Interpreter& in, const Value& v, const Arguments& a) { return in.make_string(format_percent(in, in.str(v), a)); }

Value filter_groupby(Interpreter& in, const Value& v, const Arguments& a) {
  const Value path = a.get(0, "attribute", Value());
  const Value fallback = a.get(1, "default", Value());
  const auto key_of = [&](const Value& item) {
    Value key = dotted(in, item, path);
    return key.is_undefined() && !fallback.is_undefined() ? fallback : key;
  };
  auto items = in.iterate(v);
  sort_items(in, items, false, [&](const Value& item) { return sort_key(in, key_of(item), false); });
  std::vector<Value> groups, group;
  Value current;
  const auto flush = [&] {
    if (!group.empty()) groups.push_back(in.make().list({current, in.make().list(std::exchange(group, {}))}, true));
  };
  for (Value& item : items) {
    const Value key = key_of(item);
    if (group.empty() || !in.same(sort_key(in, key, false), sort_key(in, current, false))) {
      flush();
      current = key;
    }
    group.push_back(std::move(item));
  }
  flush();
  return in.make().list(std::move(groups));
}

Value filter_indent(Interpreter& in, const Value& v, const Arguments& a) {
  const Value width = a.get(0, "width", Value::integer(4));
  const bool first = flag_argument(a, 1, "first", false), blank = flag_argument(a, 2, "blank", false);
  std::string unit;
  if (width.is_string()) {
    unit = width.string();
  } else {
    const int64_t n = integer_argument(a, 0, "width", 4);
    Builder spaces(in.meter());
    spaces.fill(static_cast<size_t>(std::max<int64_t>(0, n)), " ");
    unit = spaces.take();
  }
  const std::string text = in.str(v);
  Builder out(in.meter());
  size_t at = 0;
  for (bool first_line = true;; first_line = false) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const bool indented = first_line ? first : (blank || end > at);
    if (indented) out += unit;
    out += std::string_view(text).substr(at, end - at);
    if (end == text.size()) break;
    out += "\n";
    at = end + 1;
  }
  return in.make_string(out.take());
}

Value filter_items(Interpreter& in, const Value& v, const Arguments&) {
  if (v.is_undefined()) return in.make().list({});
  if (!v.is_dict()) template_error("Can only get item pairs from a mapping.");
  return pairs(in, v.dict().items);
}

Value filter_join(Interpreter& in, const Value& v, const Arguments& a) {
  const std::string separator = in.str(a.get(0, "d", in.make_string("")));
  const Value* path = a.find(1, "attribute");
  Builder out(in.meter());
  bool first = true;
  for (const Value& item : in.iterate(v)) {
    if (!first) out += separator;
    first = false;
    append_str(out, path ? dotted(in, item, *path) : item);
  }
  return in.make_string(out.take());
}

Value filter_length(Interpreter&, const Value& v, const Arguments&) {
  if (v.is_undefined()) return Value::integer(0);
  if (v.is_string()) return Value::integer(static_cast<int64_t>(code_points(v.string())));
  if (v.is_list()) return Value::integer(static_cast<int64_t>(v.list().size()));
  if (v.is_dict()) return Value::integer(static_cast<int64_t>(v.dict().items.size()));
  template_error(fmt::format("object of type '{}' has no len()", v.type_name()));
}

Value filter_map(Interpreter& in, const Value& v, const Arguments& a) {
  std::vector<Value> out;
  const Value* path = a.find(SIZE_MAX, "attribute");
  const Value fallback = a.get(SIZE_MAX, "default", Value());
  if (!path && a.positional.empty()) template_error("map needs a filter or an attribute");
  Arguments rest;
  if (!path) {
    rest.positional.assign(a.positional.begin() + 1, a.positional.end());
    rest.named = a.named;
  }
  for (const Value& item : in.iterate(v)) {
    in.meter().charge_steps(1);
    if (path) {
      Value found = dotted(in, item, *path);
      out.push_back(found.is_undefined() && !fallback.is_undefined() ? fallback : std::move(found));
    } else {
      out.push_back(in.apply_filter(in.str(a.positional[0]), item, rest));
    }
  }
  return in.make().list(std::move(out));
}

Value extreme(Interpreter& in, const Value& v, const Arguments& a, int sign) {
  const bool sensitive = flag_argument(a, 0, "case_sensitive", false);
  const Value* path = a.find(1, "attribute");
  Value best, best_key;
  bool any = false;
  for (const Value& item : in.iterate(v)) {
    const Value key = sort_key(in, path ? dotted(in, item, *path) : item, sensitive);
    if (!any || in.order(key, best_key) * sign > 0) best = item, best_key = key;
    any = true;
  }
  return any ? best : Value::undefined("an extreme of an empty sequence");
}

Value filter_replace(Interpreter& in, const Value& v, const Arguments& a) {
  const Value* count = a.find(2, "count");
  return in.make_string(replace_text(in, in.str(v), in.str(a.get(0, "old", Value())), in.str(a.get(1, "new", Value())),
                                     count && count->is_int() ? count->as_int() : -1));
}

Value filter_reverse(Interpreter& in, const Value& v, const Arguments&) {
  auto items = in.iterate(v);
  std::reverse(items.begin(), items.end());
  if (!v.is_string()) return in.make().list(std::move(items));
  Builder out(in.meter());
  for (const Value& item : items) out += item.string();
  return in.make_string(out.take());
}

Value filter_round(Interpreter& in, const Value& v, const Arguments& a) {
  if (!v.is_number()) template_error("round needs a number");
  const int64_t precision = integer_argument(a, 0, "precision", 0);
  const std::string method = in.str(a.get(1, "method", in.make_string("common")));
  if (!v.is_float() && precision >= 0 && method == "common") return Value::integer(v.as_int());
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<int64_t>(precision, -300, 300)));
  const double scaled = v.as_double() * scale;
  if (method == "ceil") return Value::number(std::ceil(scaled) / scale);
  if (method == "floor") return Value::number(std::floor(scaled) / scale);
  if (precision < 0 || precision > 20) return Value::number(std::nearbyint(scaled) / scale);
  char digits[512];  // printing rounds the exact value, as Python does
  std::snprintf(digits, sizeof digits, "%.*f", static_cast<int>(precision), v.as_double());
  return Value::number(std::strtod(digits, nullptr));
}

// select, reject, selectattr, rejectattr.
Value select_items(Interpreter& in, const Value& v, const Arguments& a, bool by_attribute, bool wanted) {
  const size_t skip = by_attribute ? 1 : 0;
  if (by_attribute && a.positional.empty()) template_error("an attribute name is missing");
  Arguments rest;
  std::string test;
  if (a.positional.size() > skip) {
    test = in.str(a.positional[skip]);
    rest.positional.assign(a.positional.begin() + static_cast<ptrdiff_t>(skip) + 1, a.positional.end());
  }
  std::vector<Value> out;
  for (Value& item : in.iterate(v)) {
    in.meter().charge_steps(1);
    const Value tested = by_attribute ? dotted(in, item, a.positional[0]) : item;
    if ((test.empty() ? tested.truthy() : in.apply_test(test, tested, rest)) == wanted) out.push_back(std::move(item));
  }
  return in.make().list(std::move(out));
}

Value filter_slice(Interpreter& in, const Value& v, const Arguments& a) {
  const int64_t slices = integer_argument(a, 0, "slices", 0);
  if (slices < 1 || slices > 100000) template_error("slice needs a positive number of columns");
  const Value* fill = a.find(1, "fill_with");
  const auto items = in.iterate(v);
  const size_t n = static_cast<size_t>(slices), each = items.size() / n, longer = items.size() % n;
  std::vector<Value> out;
  size_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t count = each + (i < longer);
    std::vector<Value> column(items.begin() + static_cast<ptrdiff_t>(at), items.begin() + static_cast<ptrdiff_t>(at + count));
    at += count;
    if (fill && !fill->is_none() && i >= longer && longer > 0) column.push_back(*fill);
    out.push_back(in.make().list(std::move(column)));
  }
  return in.make().list(std::move(out));
}

Value filter_sort(Interpreter& in, const Value& v, const Arguments& a) {
  const bool sensitive = flag_argument(a, 1, "case_sensitive", false);
  const Value* path = a.find(2, "attribute");
  auto items = in.iterate(v);
  sort_items(in, items, flag_argument(a, 0, "reverse", false),
             [&](const Value& item) { return sort_key(in, path ? dotted(in, item, *path) : item, sensitive); });
  return in.make().list(std::move(items));
}

Value filter_sum(Interpreter& in, const Value& v, const Arguments& a) {
  const Value* path = a.find(0, "attribute");
  Value total = a.get(1, "start", Value::integer(0));
  for (const Value& item : in.iterate(v)) total = in.binary("+", total, path && !path->is_none() ? dotted(in, item, *path) : item);
  return total;
}

Value filter_tojson(Interpreter& in, const Value& v, const Arguments& a) {
  JsonStyle style;
  style.ascii = flag_argument(a, 0, "ensure_ascii", false);
  if (const Value* indent = a.find(1, "indent"); indent && !indent->is_none()) style.indent = static_cast<int>(std::clamp<int64_t>(integer_argument(a, 1, "indent", 0), 0, 1000));
  if (const Value* separators = a.find(2, "separators"); separators && separators->is_list() && separators->list().size() == 2) {
    style.item_separator = in.str(separators->list()[0]);
    style.key_separator = in.str(separators->list()[1]);
    style.exact_separators = true;
  }
  style.sort_keys = flag_argument(a, 3, "sort_keys", false);
  Builder out(in.meter());
  append_json(out, v, style);
  return in.make_string(out.take());
}

Value filter_trim(Interpreter& in, const Value& v, const Arguments& a) {
  const Value* characters = a.find(0, "chars");
  return in.make_string(strip_text(in.str(v), characters && !characters->is_none() ? std::optional(in.str(*characters)) : std::nullopt, true, true));
}

Value filter_truncate(Interpreter& in, const Value& v, const Arguments& a) {
  const std::string text = in.str(v), end = in.str(a.get(2, "end", in.make_string("...")));
  const int64_t length = integer_argument(a, 0, "length", 255), leeway = integer_argument(a, 3, "leeway", 5);
  if (length < static_cast<int64_t>(code_points(end)) || leeway < 0) template_error("truncate: the length is too small");
  if (static_cast<int64_t>(code_points(text)) - leeway <= length) return in.make_string(text);
  size_t at = 0;
  for (int64_t i = length - static_cast<int64_t>(code_points(end)); i > 0; --i) at += decode_utf8(text, at).length;
  std::string kept = text.substr(0, at);
  if (!flag_argument(a, 1, "killwords", false))
    if (const size_t space = kept.rfind(' '); space != std::string::npos) kept.resize(space);
  return in.make_string(kept + end);
}

Value filter_unique(Interpreter& in, const Value& v, const Arguments& a) {
  const bool sensitive = flag_argument(a, 0, "case_sensitive", false);
  const Value* path = a.find(1, "attribute");
  std::vector<Value> out, keys;
  for (Value& item : in.iterate(v)) {
    Value key = sort_key(in, path ? dotted(in, item, *path) : item, sensitive);
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return in.same(k, key); })) continue;
    keys.push_back(std::move(key));
    out.push_back(std::move(item));
  }
  return in.make().list(std::move(out));
}

Value filter_wordcount(Interpreter& in, const Value& v, const Arguments&) {
  int64_t words = 0;
  bool inside = false;
  const std::string text = in.str(v);
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    i += d.length;
    const bool word = is_word(d.code_point);
    words += word && !inside;
    inside = word;
  }
  return Value::integer(words);
}

Value filter_urlencode(Interpreter& in, const Value& v, const Arguments&) {
  Builder out(in.meter());
  for (const char c : in.str(v)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_.-~/").find(c) != std::string_view::npos;
    if (plain) out += std::string_view(&c, 1);
    else out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
  return in.make_string(out.take());
}

const std::map<std::string_view, Filter>& filters() {
  static const std::map<std::string_view, Filter> table = {
      {"abs", filter_abs},
      {"attr", filter_attr},
      {"batch", filter_batch},
      {"capitalize", [](Interpreter& in, const Value& v, const Arguments&) { return text_filter(in, v, capitalize_text); }},
      {"center", filter_center},
      {"count", filter_length},
      {"d", filter_default},
      {"default", filter_default},
      {"dictsort", filter_dictsort},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"first", filter_first},
      {"float", filter_float},
      {"forceescape", filter_escape},
      {"format", filter_format},
      {"groupby", filter_groupby},
      {"indent", filter_indent},
      {"int", filter_int},
      {"items", filter_items},
      {"join", filter_join},
      {"last", filter_last},
      {"length", filter_length},
      {"list", [](Interpreter& in, const Value& v, const Arguments&) { return in.make().list(in.iterate(v)); }},
      {"lower", [](Interpreter& in, const Value& v, const Arguments&) { return text_filter(in, v, lower_text); }},
      {"map", filter_map},
      {"max", [](Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, 1); }},
      {"min", [](Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, -1); }},
      {"reject", [](Interpreter& in, const Value& v, const Arguments& a) { return select_items(in, v, a, false, false); }},
      {"rejectattr", [](Interpreter& in, const Value& v, const Arguments& a) { return select_items(in, v, a, true, false); }},
      {"replace", filter_replace},
      {"reverse", filter_reverse},
      {"round", filter_round},
      {"safe", [](Interpreter& in, const Value& v, const Arguments&) { return in.make_string(in.str(v)); }},
      {"select", [](Interpreter& in, const Value& v, const Arguments& a) { return select_items(in, v, a, false, true); }},
      {"selectattr", [](Interpreter& in, const Value& v, const Arguments& a) { return select_items(in, v, a, true, true); }},
      {"slice", filter_slice},
      {"sort", filter_sort},
      {"string", [](Interpreter& in, const Value& v, const Arguments&) { return in.make_string(in.str(v)); }},
      {"sum", filter_sum},
      {"title", [](Interpreter& in, const Value& v, const Arguments&) { return text_filter(in, v, title_words); }},
      {"tojson", filter_tojson},
      {"trim", filter_trim},
      {"truncate", filter_truncate},
      {"unique", filter_unique},
      {"upper", [](Interpreter& in, const Value& v, const Arguments&) { return text_filter(in, v, upper_text); }},
      {"urlencode", filter_urlencode},
      {"wordcount", filter_wordcount},
  };
  return table;
}

}  // namespace

Filter find_filter(std::string_view name) {
  const auto it = filters().find(name);
  return it == filters().end() ? nullptr : it->second;
}

}  // namespace hone::text
