#include "text/document.h"

namespace hone::text {
namespace {

constexpr int kMaxDepth = 64;

void check_depth(std::string_view text, std::string_view what) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) fail(ErrorKind::kBadInput, "[tokenizer] {}: JSON nested deeper than {} levels", what, kMaxDepth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

[[noreturn]] void wrong(std::string_view what, const char* key, const char* wanted) {
  fail(ErrorKind::kBadInput, "[tokenizer] {}: '{}' must be {}", what, key, wanted);
}

}  // namespace

Doc parse_document(std::string_view text, std::string_view what) {
  check_depth(text, what);
  try {
    return Doc::parse(text);
  } catch (const Doc::parse_error& e) {
    fail(ErrorKind::kBadInput, "[tokenizer] {}: not valid JSON near byte {}", what, e.byte);
  } catch (const Doc::exception& e) {
    fail(ErrorKind::kBadInput, "[tokenizer] {}: not valid JSON: {}", what, e.what());
  }
}

const Doc* doc_find(const Doc& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const Doc& doc_member(const Doc& object, const char* key, std::string_view what) {
  const Doc* found = doc_find(object, key);
  if (!found) fail(ErrorKind::kBadInput, "[tokenizer] {}: '{}' is missing", what, key);
  return *found;
}

const std::string& doc_string(const Doc& object, const char* key, std::string_view what) {
  const Doc& value = doc_member(object, key, what);
  if (!value.is_string()) wrong(what, key, "a string");
  return value.get_ref<const std::string&>();
}

std::string doc_string_or(const Doc& object, const char* key, std::string fallback, std::string_view what) {
  return doc_find(object, key) ? doc_string(object, key, what) : fallback;
}

bool doc_bool_or(const Doc& object, const char* key, bool fallback, std::string_view what) {
  const Doc* value = doc_find(object, key);
  if (!value) return fallback;
  if (!value->is_boolean()) wrong(what, key, "true or false");
  return value->get<bool>();
}

int64_t doc_int(const Doc& object, const char* key, std::string_view what) {
  const Doc& value = doc_member(object, key, what);
  if (!value.is_number_integer()) wrong(what, key, "an integer");
  return value.get<int64_t>();
}

int64_t doc_int_or(const Doc& object, const char* key, int64_t fallback, std::string_view what) {
  return doc_find(object, key) ? doc_int(object, key, what) : fallback;
}

const Doc& doc_array(const Doc& object, const char* key, std::string_view what) {
  const Doc& value = doc_member(object, key, what);
  if (!value.is_array()) wrong(what, key, "a list");
  return value;
}

const std::string& doc_type(const Doc& object, std::string_view what) { return doc_string(object, "type", what); }

}  // namespace hone::text
