#include "text/template_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr int kMaxValueDepth = 200;
constexpr size_t kIndexedFrom = 16;

constexpr size_t kMaxWeight = 100'000'000;

int list_depth(const std::vector<Value>& items) {
  int deepest = 0;
  for (const Value& v : items) deepest = std::max(deepest, v.depth());
  return deepest + 1;
}

size_t list_weight(const std::vector<Value>& items) {
  size_t weight = 1;
  for (const Value& v : items) weight += v.weight();
  if (weight > kMaxWeight) template_error("a list grew past the size limit");
  return weight;
}

size_t dict_weight(const DictObject& dict) {
  size_t weight = 1;
  for (const auto& [k, v] : dict.items) weight += k.weight() + v.weight();
  if (weight > kMaxWeight) template_error("a dict grew past the size limit");
  return weight;
}

void check_depth(int depth) {
  if (depth > kMaxValueDepth) template_error("values nested too deep");
}

}  // namespace

void template_error(const std::string& message) { throw Error(ErrorKind::kBadInput, message); }

void Meter::charge_steps(size_t n) {
  steps += n;
  if (steps > step_limit) template_error("the template does more work than allowed; a loop or a text in it is too large");
}

void Meter::charge_bytes(size_t n) {
  if (n > live_limit || live + n > live_limit) template_error("the template holds more memory than allowed");
  live += n;
}

ListObject::~ListObject() {
  if (meter) meter->live -= items.size() * sizeof(Value) + kObjectBytes;
}

DictObject::~DictObject() {
  if (meter) meter->live -= items.size() * sizeof(items[0]) + kObjectBytes;
}

const Value* DictObject::find(std::string_view key) const {
  if (!index.empty()) {
    const auto [first, last] = index.equal_range(std::hash<std::string_view>{}(key));
    for (auto it = first; it != last; ++it)
      if (items[it->second].first.string() == key) return &items[it->second].second;
    return nullptr;
  }
  for (const auto& [k, v] : items)
    if (k.is_string() && k.string() == key) return &v;
  return nullptr;
}

const Value* DictObject::find(const Value& key) const {
  if (key.is_string()) return find(key.string());
  for (const auto& [k, v] : items)
    if (equal(k, key)) return &v;
  return nullptr;
}

void DictObject::set(Value key, Value value) {
  if (const Value* found = find(key)) {
    const_cast<Value&>(*found) = std::move(value);
    return;
  }
  items.emplace_back(std::move(key), std::move(value));
  if (items.size() < kIndexedFrom) return;
  const auto add = [&](size_t i) {
    if (items[i].first.is_string()) index.emplace(std::hash<std::string_view>{}(items[i].first.string()), i);
  };
  if (items.size() == kIndexedFrom)
    for (size_t i = 0; i < items.size(); ++i) add(i);
  else
    add(items.size() - 1);
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_bool() || is_int()) return as_int() != 0;
  if (is_float()) return as_double() != 0.0;
  if (is_string()) return !string().empty();
  if (is_list()) return !list().empty();
  if (is_dict()) return !dict().items.empty();
  return true;
}

int Value::depth() const {
  if (is_list()) return std::get<std::shared_ptr<const ListObject>>(data_)->depth;
  if (is_dict()) return dict().depth;
  if (is_callable()) return callable().self ? callable().self->depth() + 1 : 1;
  return 0;
}

size_t Value::weight() const {
  if (is_string()) return 1 + string().size() / 64;
  if (is_list()) return std::get<std::shared_ptr<const ListObject>>(data_)->weight;
  if (is_dict()) return dict().weight;
  return 1;
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int", "float", "str", "list", "dict", "function", "Namespace"};
  return is_tuple() ? "tuple" : kNames[data_.index()];
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.as_double() == b.as_double();
    return a.as_int() == b.as_int();
  }
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is_list() && b.is_list()) {
    if (a.is_tuple() != b.is_tuple()) return false;
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().items.size() != b.dict().items.size()) return false;
    for (const auto& [k, v] : a.dict().items) {
      const Value* other = b.dict().find(k);
      if (!other || !equal(v, *other)) return false;
    }
    return true;
  }
  if (a.is_namespace() && b.is_namespace()) return a.ns() == b.ns();
  if (a.is_callable() && b.is_callable()) return &a.callable() == &b.callable();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int compare(const Value& a, const Value& b) {
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (a.is_number() && b.is_number())
    return a.is_float() || b.is_float() ? order(a.as_double(), b.as_double()) : order(a.as_int(), b.as_int());
  if (a.is_string() && b.is_string()) return order(a.string(), b.string());  // UTF-8 order is code point order
  if (a.is_list() && b.is_list()) {
    for (size_t i = 0; i < std::min(a.list().size(), b.list().size()); ++i)
      if (const int c = equal(a.list()[i], b.list()[i]) ? 0 : compare(a.list()[i], b.list()[i])) return c;
    return order(a.list().size(), b.list().size());
  }
  if (a.is_undefined()) template_error(a.undefined_name() + " is undefined");
  if (b.is_undefined()) template_error(b.undefined_name() + " is undefined");
  template_error(fmt::format("'<' not supported between '{}' and '{}'", a.type_name(), b.type_name()));
}

Value Maker::string(std::string text) const {
  if (text.size() > meter_.string_limit) template_error("a text grew past the size limit");
  meter_.charge_steps(1 + text.size() / 64);
  meter_.charge_bytes(text.size() + kObjectBytes);
  return Value(Value::Data(std::shared_ptr<const StringObject>(new StringObject{std::move(text), &meter_})));
}

Value Maker::list(std::vector<Value> items, bool tuple) const {
  meter_.charge_steps(1 + items.size() / 8);
  const int depth = list_depth(items);
  check_depth(depth);
  const size_t weight = list_weight(items);
  meter_.charge_bytes(items.size() * sizeof(Value) + kObjectBytes);
  auto object = std::make_shared<ListObject>();
  object->items = std::move(items);
  object->tuple = tuple;
  object->depth = depth;
  object->weight = weight;
  object->meter = &meter_;
  return Value(Value::Data(std::shared_ptr<const ListObject>(std::move(object))));
}

Value Maker::dict(std::shared_ptr<DictObject> dict) const {
  int depth = 0;
  for (const auto& [k, v] : dict->items) depth = std::max({depth, k.depth(), v.depth()});
  check_depth(++depth);
  meter_.charge_steps(1 + dict->items.size());
  dict->depth = depth;
  dict->weight = dict_weight(*dict);
  meter_.charge_bytes(dict->items.size() * sizeof(dict->items[0]) + kObjectBytes);
  dict->meter = &meter_;
  return Value(Value::Data(std::shared_ptr<const DictObject>(std::move(dict))));
}

Value Maker::from_json(const Json& json, int depth) const {
  check_depth(depth);
  switch (json.type()) {
    case Json::value_t::boolean: return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer: return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: {
      const auto u = json.get<uint64_t>();
      return u > INT64_MAX ? Value::number(static_cast<double>(u)) : Value::integer(static_cast<int64_t>(u));
    }
    case Json::value_t::number_float: return Value::number(json.get<double>());
    case Json::value_t::string:  // given, so not counted against the template
      return Value(Value::Data(std::shared_ptr<const StringObject>(new StringObject{to_valid_utf8(json.get_ref<const std::string&>()), nullptr})));
    case Json::value_t::array: {
      auto object = std::make_shared<ListObject>();
      for (const Json& item : json) object->items.push_back(from_json(item, depth + 1));
      object->depth = list_depth(object->items);
      object->weight = list_weight(object->items);
      return Value(Value::Data(std::shared_ptr<const ListObject>(std::move(object))));
    }
    case Json::value_t::object: {
      auto object = std::make_shared<DictObject>();
      int deepest = 0;
      for (auto it = json.begin(); it != json.end(); ++it) {
        Value value = from_json(it.value(), depth + 1);
        deepest = std::max(deepest, value.depth());
        object->set(from_json(Json(it.key()), depth), std::move(value));
      }
      object->depth = deepest + 1;
      object->weight = dict_weight(*object);
      return Value(Value::Data(std::shared_ptr<const DictObject>(std::move(object))));
    }
    default: return Value::none();
  }
}

void Builder::reserve(size_t more) {
  if (more > meter_.string_limit || out_.size() + more > meter_.string_limit) template_error("a text grew past the size limit");
  meter_.charge_steps(more / 64);
  meter_.charge_bytes(more);
  charged_ += more;
}

void Builder::fill(size_t count, std::string_view unit) {
  if (count && unit.size() > meter_.string_limit / count) template_error("a text grew past the size limit");
  reserve(count * unit.size());
  for (size_t i = 0; i < count; ++i) out_ += unit;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // Python: the shortest digits that read back, positional for exponents from -4 to 15.
  char buffer[64];
  const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string text(buffer, scientific.ptr);
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  text.assign(buffer, fixed.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

size_t code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

size_t find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

namespace {

void append_quoted(Builder& out, const std::string& text) {
  const bool single = text.find('\'') == std::string::npos || text.find('"') != std::string::npos;
  const char quote = single ? '\'' : '"';
  out += std::string_view(&quote, 1);
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    const uint32_t c = d.code_point;
    const std::string_view raw = std::string_view(text).substr(i, d.length);
    i += d.length;
    if (c == static_cast<uint32_t>(quote) || c == '\\') out += "\\";
    if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (c == '\t') out += "\\t";
    else if (c < 0x20 || c == 0x7F) out += fmt::format("\\x{:02x}", c);
    else if (c >= 0x80 && (is_control(c) || (is_whitespace(c)))) out += c < 0x100 ? fmt::format("\\x{:02x}", c) : c < 0x10000 ? fmt::format("\\u{:04x}", c) : fmt::format("\\U{:08x}", c);
    else out += raw;
  }
  out += std::string_view(&quote, 1);
}

}  // namespace

void append_repr(Builder& out, const Value& value) {
  if (value.is_string()) return append_quoted(out, value.string());
  append_str(out, value);
}

void append_str(Builder& out, const Value& value) {
  if (value.is_undefined()) return;
  if (value.is_string()) {
    out += value.string();
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.truthy() ? "True" : "False";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_float()) {
    out += float_repr(value.as_double());
  } else if (value.is_list()) {
    out += value.is_tuple() ? "(" : "[";
    bool first = true;
    for (const Value& item : value.list()) {
      if (!first) out += ", ";
      first = false;
      item.is_undefined() ? void(out += "Undefined") : append_repr(out, item);
    }
    if (value.is_tuple() && value.list().size() == 1) out += ",";
    out += value.is_tuple() ? ")" : "]";
  } else if (value.is_dict()) {
    out += "{";
    bool first = true;
    for (const auto& [k, v] : value.dict().items) {
      if (!first) out += ", ";
      first = false;
      append_repr(out, k);
      out += ": ";
      v.is_undefined() ? void(out += "Undefined") : append_repr(out, v);
    }
    out += "}";
  } else if (value.is_callable()) {
    out += "<function " + value.callable().name + ">";
  } else {
    out += "<Namespace>";
  }
}

std::string to_str(const Value& value, Meter& meter) {
  if (value.is_string()) return value.string();
  Builder out(meter);
  append_str(out, value);
  return out.take();
}

namespace {

void append_json_string(Builder& out, const std::string& text, bool ascii) {
  out += "\"";
  size_t plain = 0;  // start of the text not written yet
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    const uint32_t c = d.code_point;
    const bool escape = c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x7F);
    if (escape) {
      out += std::string_view(text).substr(plain, i - plain);
      if (c == '"') out += "\\\"";
      else if (c == '\\') out += "\\\\";
      else if (c == '\n') out += "\\n";
      else if (c == '\r') out += "\\r";
      else if (c == '\t') out += "\\t";
      else if (c == '\b') out += "\\b";
      else if (c == '\f') out += "\\f";
      else if (c == 0x7F) out += "\x7F";
      else if (c < 0x10000) out += fmt::format("\\u{:04x}", c);
      else out += fmt::format("\\u{:04x}\\u{:04x}", 0xD7C0 + (c >> 10), 0xDC00 + (c & 0x3FF));
      plain = i + d.length;
    }
    i += d.length;
  }
  out += std::string_view(text).substr(plain);
  out += "\"";
}

void new_line(Builder& out, const JsonStyle& style, int level) {
  if (style.indent < 0) return;
  out += "\n";
  out.fill(static_cast<size_t>(style.indent) * static_cast<size_t>(level), " ");
}

void append_json_key(Builder& out, const Value& key, const JsonStyle& style) {
  if (key.is_string()) return append_json_string(out, key.string(), style.ascii);
  if (key.is_list() || key.is_dict() || key.is_undefined()) template_error("keys of JSON objects must be texts or numbers");
  out += "\"";
  append_json(out, key, style);
  out += "\"";
}

}  // namespace

void append_json(Builder& out, const Value& value, const JsonStyle& style, int level) {
  const std::string_view separator = style.indent >= 0 && !style.exact_separators ? std::string_view(",") : style.item_separator;
  if (value.is_none()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.truthy() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_float()) {
    const double d = value.as_double();
    out += std::isnan(d) ? "NaN" : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity") : float_repr(d);
  } else if (value.is_string()) {
    append_json_string(out, value.string(), style.ascii);
  } else if (value.is_list()) {
    if (value.list().empty()) return void(out += "[]");
    out += "[";
    for (size_t i = 0; i < value.list().size(); ++i) {
      if (i) out += separator;
      new_line(out, style, level + 1);
      append_json(out, value.list()[i], style, level + 1);
    }
    new_line(out, style, level);
    out += "]";
  } else if (value.is_dict()) {
    if (value.dict().items.empty()) return void(out += "{}");
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : value.dict().items) items.push_back(&item);
    if (style.sort_keys) std::stable_sort(items.begin(), items.end(), [](const auto* a, const auto* b) { return compare(a->first, b->first) < 0; });
    out += "{";
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) out += separator;
      new_line(out, style, level + 1);
      append_json_key(out, items[i]->first, style);
      out += style.key_separator;
      append_json(out, items[i]->second, style, level + 1);
    }
    new_line(out, style, level);
    out += "}";
  } else {
    template_error(fmt::format("a value of type {} cannot be written as JSON", value.type_name()));
  }
}

}  // namespace hone::text
