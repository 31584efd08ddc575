// Typed access to parts of a tokenizer.json. The sorted map is used on purpose: the insertion-ordered one
// of base/json.h searches linearly, and a vocabulary is an object of up to 300,000 members.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

#include "base/error.h"

namespace hone::text {

using Doc = nlohmann::json;

// Error(kBadInput) for malformed JSON or nesting deeper than 64 levels.
Doc parse_document(std::string_view text, std::string_view what);

const Doc* doc_find(const Doc& object, const char* key);  // null when absent or null
const Doc& doc_member(const Doc& object, const char* key, std::string_view what);
const std::string& doc_string(const Doc& object, const char* key, std::string_view what);
std::string doc_string_or(const Doc& object, const char* key, std::string fallback, std::string_view what);
bool doc_bool_or(const Doc& object, const char* key, bool fallback, std::string_view what);
int64_t doc_int(const Doc& object, const char* key, std::string_view what);
int64_t doc_int_or(const Doc& object, const char* key, int64_t fallback, std::string_view what);
const Doc& doc_array(const Doc& object, const char* key, std::string_view what);
// The member "type".
const std::string& doc_type(const Doc& object, std::string_view what);

}  // namespace hone::text
