#include "text/template_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

template <typename Map>
std::string map_characters(const std::string& text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    i += d.length;
    map(out, d.code_point);
  }
  return out;
}

void append_upper(std::string& out, uint32_t c) {
  if (c == 0xDF) out += "SS";  // the common mapping of two characters
  else append_utf8(out, static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

bool is_letter(uint32_t c) {
  const auto k = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

}  // namespace

std::string lower_text(const std::string& text) { return map_characters(text, append_lower); }
std::string upper_text(const std::string& text) { return map_characters(text, append_upper); }

std::string capitalize_text(const std::string& text) {
  bool first = true;
  return map_characters(text, [&](std::string& out, uint32_t c) {
    first ? append_upper(out, c) : append_lower(out, c);
    first = false;
  });
}

std::string title_text(const std::string& text) {
  bool inside = false;
  return map_characters(text, [&](std::string& out, uint32_t c) {
    inside ? append_lower(out, c) : append_upper(out, c);
    inside = is_letter(c);
  });
}

std::string title_words(const std::string& text) {
  bool inside = false;
  return map_characters(text, [&](std::string& out, uint32_t c) {
    const bool separator = is_whitespace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    inside ? append_lower(out, c) : append_upper(out, c);
    inside = !separator;
  });
}

std::string strip_text(std::string_view text, const std::optional<std::string>& characters, bool left, bool right) {
  const auto strips = [&](std::string_view character) {
    if (characters) return find_text(*characters, character) != std::string_view::npos;
    return is_whitespace(decode_utf8(character, 0).code_point) || (character.size() == 1 && character[0] >= 0x1C && character[0] <= 0x1F);
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t n = decode_utf8(text, begin).length;
    if (!strips(text.substr(begin, n))) break;
    begin += n;
  }
  while (right && end > begin) {
    size_t at = end - 1;
    while (at > begin && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    if (!strips(text.substr(at, end - at))) break;
    end = at;
  }
  return std::string(text.substr(begin, end - begin));
}

std::string replace_text(Interpreter& in, const std::string& text, const std::string& from, const std::string& to, int64_t count) {
  Builder out(in.meter());
  size_t done = 0;
  if (from.empty()) {
    for (size_t i = 0; count != 0; --count) {
      out += std::string_view(text).substr(done, i - done);
      out += to;
      done = i;
      if (i >= text.size()) break;
      i += decode_utf8(text, i).length;
    }
  } else {
    for (size_t at = find_text(text, from); at != std::string_view::npos && count != 0; at = find_text(text, from, done), --count) {
      out += std::string_view(text).substr(done, at - done);
      out += to;
      done = at + from.size();
    }
  }
  out += std::string_view(text).substr(done);
  return out.take();
}

std::string pad_text(Interpreter& in, const std::string& text, int64_t width, const std::string& fill, Padding padding) {
  const auto length = static_cast<int64_t>(code_points(text));
  if (width <= length) return text;
  const auto missing = static_cast<size_t>(width - length);
  size_t left = padding == Padding::kLeft ? missing : 0;
  // Python's rule for where the odd space of a centred text goes.
  if (padding == Padding::kCenter) left = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  Builder out(in.meter());
  out.fill(left, fill);
  out += text;
  out.fill(missing - left, fill);
  return out.take();
}

std::optional<double> parse_float(std::string_view given) {
  std::string text = strip_text(given, std::nullopt, true, true);
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  const bool plus = text.starts_with('+');
  const char* begin = text.data() + (plus ? 1 : 0);
  const char* end = text.data() + text.size();
  if (plus && begin < end && *begin == '-') return std::nullopt;
  double value = 0.0;
  const auto result = std::from_chars(begin, end, value);
  if (result.ptr != end || begin == end) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) return std::strtod(text.c_str(), nullptr);
  return result.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> parse_integer(std::string_view given, int base) {
  if (base < 2 || base > 36) return std::nullopt;
  std::string text = strip_text(given, std::nullopt, true, true);
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  for (const auto& [prefix, b] : {std::pair{"0x", 16}, std::pair{"0o", 8}, std::pair{"0b", 2}})
    if (base == b && (digits.starts_with(prefix))) digits.remove_prefix(2);
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (result.ec != std::errc() || result.ptr != digits.data() + digits.size()) return std::nullopt;
  return negative ? -value : value;
}

namespace {

struct Conversion {
  bool left = false, sign = false, space = false, zero = false, alternate = false;
  int width = 0, precision = -1;
  char kind = 's';
};

std::string number_text(const Value& v, const Conversion& c) {
  if (!v.is_number()) template_error(fmt::format("%{} format: a real number is required, not {}", c.kind, v.type_name()));
  const int precision = c.precision < 0 ? 6 : c.precision;
  char buffer[512];
  int n = 0;
  if (std::string_view("feEgGF").find(c.kind) != std::string_view::npos) {
    const char format[] = {'%', '.', '*', c.kind, '\0'};
    n = std::snprintf(buffer, sizeof buffer, format, std::min(precision, 100), v.as_double());
  } else {
    if (v.is_float() && !(std::fabs(v.as_double()) < 9.2e18)) template_error("a number is too large for an integer format");
    const int64_t i = v.is_float() ? static_cast<int64_t>(v.as_double()) : v.as_int();
    const uint64_t magnitude = i < 0 ? 0 - static_cast<uint64_t>(i) : static_cast<uint64_t>(i);
    const char* format = c.kind == 'x' ? "%s%lx" : c.kind == 'X' ? "%s%lX" : c.kind == 'o' ? "%s%lo" : "%s%lu";
    n = std::snprintf(buffer, sizeof buffer, format, i < 0 ? "-" : "", static_cast<unsigned long>(magnitude));
  }
  std::string text(buffer, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof buffer) - 1)));
  if (!text.starts_with('-') && (c.sign || c.space)) text.insert(0, c.sign ? "+" : " ");
  return text;
}

void append_conversion(Interpreter& in, Builder& out, const Value& v, const Conversion& c) {
  std::string text;
  const bool numeric = std::string_view("diufFeEgGxXo").find(c.kind) != std::string_view::npos;
  if (numeric) {
    text = number_text(v, c);
  } else if (c.kind == 's' || c.kind == 'r' || c.kind == 'a') {
    Builder shown(in.meter());
    c.kind == 's' ? append_str(shown, v) : append_repr(shown, v);
    text = shown.take();
    if (c.precision >= 0) {
      size_t at = 0;
      for (int i = 0; i < c.precision && at < text.size(); ++i) at += decode_utf8(text, at).length;
      text.resize(at);
    }
  } else if (c.kind == 'c') {
    if (v.is_string()) text = v.string();
    else if (v.is_int() && v.as_int() >= 0 && v.as_int() < 0xD800) append_utf8(text, static_cast<uint32_t>(v.as_int()));
    else template_error("%c requires a character");
  } else {
    template_error(fmt::format("unsupported format character '{}'", c.kind));
  }
  if (numeric && c.zero && !c.left) {
    const size_t sign = text.starts_with('-') || text.starts_with('+') || text.starts_with(' ') ? 1 : 0;
    if (static_cast<int>(text.size()) < c.width) text.insert(sign, static_cast<size_t>(c.width) - text.size(), '0');
  }
  out += pad_text(in, text, c.width, " ", c.left ? Padding::kRight : Padding::kLeft);
}

int read_number(const std::string& format, size_t& i) {
  int value = 0;
  while (i < format.size() && format[i] >= '0' && format[i] <= '9') {
    value = value * 10 + (format[i++] - '0');
    if (value > 100000) template_error("a format width is too large");
  }
  return value;
}

}  // namespace

std::string format_percent(Interpreter& in, const std::string& format, const Arguments& arguments) {
  Builder out(in.meter());
  size_t next = 0;
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      const size_t end = std::min(format.find('%', i), format.size());
      out += std::string_view(format).substr(i, end - i);
      i = end;
      continue;
    }
    ++i;
    std::optional<Value> named;
    if (i < format.size() && format[i] == '(') {
      const size_t close = format.find(')', i);
      if (close == std::string::npos) template_error("incomplete format key");
      const std::string key = format.substr(i + 1, close - i - 1);
      const Value* found = arguments.find(SIZE_MAX, key);
      if (!found && !arguments.positional.empty() && arguments.positional[0].is_dict()) found = arguments.positional[0].dict().find(key);
      if (!found) template_error("format key '" + key + "' is missing");
      named = *found;
      i = close + 1;
    }
    Conversion c;
    for (; i < format.size() && std::string_view("-+ 0#").find(format[i]) != std::string_view::npos; ++i) {
      c.left = c.left || format[i] == '-';
      c.sign = c.sign || format[i] == '+';
      c.space = c.space || format[i] == ' ';
      c.zero = c.zero || format[i] == '0';
    }
    c.width = read_number(format, i);
    if (i < format.size() && format[i] == '.') c.precision = read_number(format, ++i);
    if (i >= format.size()) template_error("incomplete format");
    c.kind = format[i++];
    if (c.kind == '%') {
      out += "%";
      continue;
    }
    if (!named && next >= arguments.positional.size()) template_error("not enough arguments for format string");
    append_conversion(in, out, named ? *named : arguments.positional[next++], c);
  }
  return out.take();
}

}  // namespace hone::text
