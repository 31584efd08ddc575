// Functions on texts that filters and methods share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/template_interpreter.h"

namespace hone::text {

std::string lower_text(const std::string& text);
std::string upper_text(const std::string& text);
std::string capitalize_text(const std::string& text);
std::string title_text(const std::string& text);   // the method: every run of letters
std::string title_words(const std::string& text);  // the filter: words after spaces, hyphens and brackets
// Removes characters of the set (Unicode whitespace when absent) from the ends.
std::string strip_text(std::string_view text, const std::optional<std::string>& characters, bool left, bool right);
// At most count replacements (negative: all); an empty `from` matches between all characters.
std::string replace_text(Interpreter& in, const std::string& text, const std::string& from, const std::string& to, int64_t count);
enum class Padding { kLeft, kRight, kCenter };  // where the fill goes
std::string pad_text(Interpreter& in, const std::string& text, int64_t width, const std::string& fill, Padding padding);
std::optional<double> parse_float(std::string_view text);                // as Python's float(); none when malformed
std::optional<int64_t> parse_integer(std::string_view text, int base);   // as Python's int()
// Python's "%" formatting: %s %r %d %i %f %e %g %x %o %c %%, with flags, width, precision and (name).
std::string format_percent(Interpreter& in, const std::string& format, const Arguments& arguments);

}  // namespace hone::text
