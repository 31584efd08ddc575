// What the printer and the parser of the text form share: how names are spelled and what is printed whole.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hone::ir::text_form {

inline constexpr size_t kMaxPrinted = 16;  // elements of a constant that prints its values

bool is_name_character(char c);
bool is_bare(std::string_view name);       // needs no quotes: name characters, no number, no keyword
std::string quote(std::string_view text);  // "..." with \" \\ and \xNN
std::string name_text(std::string_view name);

}  // namespace hone::ir::text_form
