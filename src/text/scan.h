// Hand-written matchers for the published pre-tokenizer patterns: the same matches as the regular expression,
// in linear time for any text, several times as fast. Unknown patterns stay with PCRE2 (regex.h).
#pragma once

#include <string_view>
#include <vector>

#include "text/regex.h"

namespace hone::text {

// Appends the matches in text[range] (valid UTF-8), as Regex::find_all does.
using Scanner = void (*)(std::string_view text, Span range, std::vector<Span>& matches);

// Null when the pattern has no matcher of its own. Patterns are compared as strings.
Scanner find_scanner(std::string_view pattern);

// Every pattern that has one, for the test that compares them with PCRE2.
std::vector<std::string_view> scanned_patterns();

}  // namespace hone::text
