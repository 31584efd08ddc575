// Tokens of a template, with Jinja2's whitespace rules as transformers sets them (trim_blocks, lstrip_blocks).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::text {

enum class TokenKind { kText, kBlockBegin, kBlockEnd, kVariableBegin, kVariableEnd, kName, kString, kInteger, kFloat, kOperator, kEnd };

struct TemplateToken {
  TokenKind kind;
  std::string text;  // text, name, decoded string, operator
  int line = 1;
  int64_t integer = 0;
  double number = 0.0;
};

// Error(kBadInput) with the line.
std::vector<TemplateToken> tokenize_template(std::string_view source);

}  // namespace hone::text
