#include "base/json.h"

#include "base/error.h"

namespace hone {
namespace {

const Json& member(const Json& object, const char* key, std::string_view what) {
  const Json* found = json_find(object, key);
  if (!found) fail(ErrorKind::kBadInput, "{}: '{}' is missing", what, key);
  return *found;
}

}  // namespace

Json parse_json(std::string_view text, std::string_view what) {
  // The library recurses when values are destroyed, so depth is bounded before it builds anything.
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
      if (++depth > 512) fail(ErrorKind::kBadInput, "{}: JSON nested deeper than 512 levels", what);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    fail(ErrorKind::kBadInput, "{}: not valid JSON near byte {}", what, e.byte);
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorKind::kBadInput, "{}: not valid JSON: {}", what, e.what());
  }
}

const Json* json_find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

int64_t json_int(const Json& object, const char* key, std::string_view what) {
  const Json& value = member(object, key, what);
  if (!value.is_number_integer()) fail(ErrorKind::kBadInput, "{}: '{}' must be an integer", what, key);
  return value.get<int64_t>();
}

int64_t json_int_or(const Json& object, const char* key, int64_t fallback, std::string_view what) {
  return json_find(object, key) ? json_int(object, key, what) : fallback;
}

double json_number_or(const Json& object, const char* key, double fallback, std::string_view what) {
  const Json* value = json_find(object, key);
  if (!value) return fallback;
  if (!value->is_number()) fail(ErrorKind::kBadInput, "{}: '{}' must be a number", what, key);
  return value->get<double>();
}

bool json_bool_or(const Json& object, const char* key, bool fallback, std::string_view what) {
  const Json* value = json_find(object, key);
  if (!value) return fallback;
  if (!value->is_boolean()) fail(ErrorKind::kBadInput, "{}: '{}' must be true or false", what, key);
  return value->get<bool>();
}

std::string json_string_or(const Json& object, const char* key, std::string fallback, std::string_view what) {
  const Json* value = json_find(object, key);
  if (!value) return fallback;
  if (!value->is_string()) fail(ErrorKind::kBadInput, "{}: '{}' must be a string", what, key);
  return value->get<std::string>();
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hone
