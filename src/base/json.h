// JSON through nlohmann-json, with errors that name the document. Object order is kept.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hone {

using Json = nlohmann::ordered_json;

// Throws Error(kBadInput) "<what>: not valid JSON at byte N: ..."; nesting deeper than 512 is refused.
Json parse_json(std::string_view text, std::string_view what);

// Member access with clear errors: "<what>: 'hidden_size' is missing" / "... must be an integer".
int64_t json_int(const Json& object, const char* key, std::string_view what);
int64_t json_int_or(const Json& object, const char* key, int64_t fallback, std::string_view what);
double json_number_or(const Json& object, const char* key, double fallback, std::string_view what);
bool json_bool_or(const Json& object, const char* key, bool fallback, std::string_view what);
std::string json_string_or(const Json& object, const char* key, std::string fallback, std::string_view what);
const Json* json_find(const Json& object, const char* key);  // null when absent or null

// Text that is certain to be valid UTF-8 JSON (invalid bytes replaced).
std::string dump_json(const Json& value, int indent = -1);

}  // namespace hone
