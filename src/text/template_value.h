// Values of the template language. Lists and dicts never change once made (as in transformers' immutable
// sandbox), so values form no cycles; only namespaces are mutable and they belong to the interpreter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace hone::text {

class Value;
struct Macro;
struct Namespace;

// Bytes held by values of one render, and what it has executed; checked against RenderLimits.
struct Meter {
  size_t live = 0, live_limit = 0;
  size_t steps = 0, step_limit = 0;
  size_t string_limit = 0;
  void charge_steps(size_t n);   // Error(kBadInput) past the limit
  void charge_bytes(size_t n);   // the same
};

inline constexpr size_t kObjectBytes = 96;  // what a string, list or dict costs beside its content

struct StringObject {
  std::string text;
  Meter* meter;  // null for strings that were given
  ~StringObject() {
    if (meter) meter->live -= text.size() + kObjectBytes;
  }
};

struct ListObject {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
  size_t weight = 1;  // values in it, counted with repetition: shared parts can make a small list huge
  Meter* meter = nullptr;
  ~ListObject();
};

// Insertion-ordered; keys are usually strings. Looked up linearly when small, by hash otherwise.
struct DictObject {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_multimap<size_t, size_t> index;  // of string keys, built for large dicts
  int depth = 1;
  size_t weight = 1;
  Meter* meter = nullptr;
  ~DictObject();
  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;
  void set(Value key, Value value);  // only while being made
};

// A function of the language: a macro, a global such as range, or a method bound to its object.
struct Callable {
  std::string name;
  std::shared_ptr<const Value> self;  // methods
  const Macro* macro = nullptr;       // owned by the interpreter
};

struct Undefined {
  std::string what;  // for error messages
};
struct None {};

class Value {
 public:
  // shared_ptr: values are passed around by copy and never change.
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const StringObject>, std::shared_ptr<const ListObject>,
                            std::shared_ptr<const DictObject>, std::shared_ptr<const Callable>, Namespace*>;
  Value() = default;
  Value(Data data) : data_(std::move(data)) {}  // NOLINT: implicit on purpose
  static Value undefined(std::string what) { return Value(Data(Undefined{std::move(what)})); }
  static Value none() { return Value(Data(None{})); }
  static Value boolean(bool b) { return Value(Data(b)); }
  static Value integer(int64_t i) { return Value(Data(i)); }
  static Value number(double d) { return Value(Data(d)); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return std::holds_alternative<std::shared_ptr<const StringObject>>(data_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const ListObject>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const DictObject>>(data_); }
  bool is_callable() const { return std::holds_alternative<std::shared_ptr<const Callable>>(data_); }
  bool is_namespace() const { return std::holds_alternative<Namespace*>(data_); }

  const std::string& string() const { return std::get<std::shared_ptr<const StringObject>>(data_)->text; }
  const std::vector<Value>& list() const { return std::get<std::shared_ptr<const ListObject>>(data_)->items; }
  bool is_tuple() const { return is_list() && std::get<std::shared_ptr<const ListObject>>(data_)->tuple; }
  const DictObject& dict() const { return *std::get<std::shared_ptr<const DictObject>>(data_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(data_); }
  Namespace* ns() const { return std::get<Namespace*>(data_); }
  int64_t as_int() const { return is_bool() ? std::get<bool>(data_) : std::get<int64_t>(data_); }  // bool or int
  double as_double() const { return is_float() ? std::get<double>(data_) : static_cast<double>(as_int()); }
  const std::string& undefined_name() const { return std::get<Undefined>(data_).what; }

  bool truthy() const;
  int depth() const;
  size_t weight() const;  // cost of walking or comparing the value, in steps
  const char* type_name() const;  // Python's

 private:
  Data data_;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> members;
};

bool equal(const Value& a, const Value& b);
// -1, 0, 1; Error(kBadInput) for values that have no order.
int compare(const Value& a, const Value& b);

// Makes values and strings within the limits of a render.
class Maker {
 public:
  explicit Maker(Meter& meter) : meter_(meter) {}
  Value string(std::string text) const;
  Value list(std::vector<Value> items, bool tuple = false) const;
  Value dict(std::shared_ptr<DictObject> dict) const;
  Value from_json(const Json& json, int depth = 0) const;
  Meter& meter() const { return meter_; }

 private:
  Meter& meter_;
};

// A string under construction that respects the limit on sizes.
class Builder {
 public:
  explicit Builder(Meter& meter) : meter_(meter) {}
  ~Builder() { meter_.live -= charged_; }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;
  Builder& operator+=(std::string_view text) {
    reserve(text.size());
    out_ += text;
    return *this;
  }
  void fill(size_t count, std::string_view unit);
  std::string take() {
    meter_.live -= std::exchange(charged_, 0);
    return std::exchange(out_, {});
  }

 private:
  void reserve(size_t more);
  Meter& meter_;
  std::string out_;
  size_t charged_ = 0;
};

void append_str(Builder& out, const Value& value);   // Python's str()
void append_repr(Builder& out, const Value& value);  // Python's repr()
std::string to_str(const Value& value, Meter& meter);
struct JsonStyle {
  int indent = -1;  // none
  std::string item_separator = ", ", key_separator = ": ";
  bool ascii = false, sort_keys = false, exact_separators = false;  // Python drops the space after ',' when it indents
};
void append_json(Builder& out, const Value& value, const JsonStyle& style, int level = 0);  // Python's json.dumps
std::string float_repr(double value);

// Errors of a running template; the interpreter adds the line.
[[noreturn]] void template_error(const std::string& message);

size_t code_points(std::string_view text);
// Position of needle at or after `from`, npos when absent; linear in the text for any needle.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);

}  // namespace hone::text
