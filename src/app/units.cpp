#include "app/units.h"

#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace hone::app {
namespace {

struct Unit {
  const char* name;  // lower case
  double bytes;
};
constexpr Unit kUnits[] = {{"", 1},         {"b", 1},        {"k", 1e3},     {"kb", 1e3},     {"m", 1e6},
                           {"mb", 1e6},     {"g", 1e9},      {"gb", 1e9},    {"t", 1e12},     {"tb", 1e12},
                           {"ki", 0x1p10},  {"kib", 0x1p10}, {"mi", 0x1p20}, {"mib", 0x1p20}, {"gi", 0x1p30},
                           {"gib", 0x1p30}, {"ti", 0x1p40},  {"tib", 0x1p40}};

}  // namespace

uint64_t parse_size(std::string_view text) {
  double number = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string unit;
  if (error == std::errc()) {
    for (const char* p = rest; p != text.data() + text.size(); ++p) {
      if (*p != ' ' || !unit.empty()) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*p)));
    }
    for (const Unit& known : kUnits) {
      if (unit != known.name) continue;
      const double bytes = std::floor(number * known.bytes + 0.5);
      if (bytes >= 1 && bytes < 0x1p63) return static_cast<uint64_t>(bytes);
      fail(ErrorKind::kUsage, "size '{}' is out of range; give at least one byte", text);
    }
  }
  fail(ErrorKind::kUsage, "'{}' is not a size; write for example 80MB, 75MiB or a number of bytes", text);
}

std::string human_bytes(uint64_t bytes) {
  const double b = static_cast<double>(bytes);
  if (bytes < 1000) return fmt::format("{} B", bytes);
  if (b < 999.95e3) return fmt::format("{:.1f} kB", b / 1e3);
  if (b < 999.95e6) return fmt::format("{:.1f} MB", b / 1e6);
  if (b < 999.95e9) return fmt::format("{:.2f} GB", b / 1e9);
  return fmt::format("{:.2f} TB", b / 1e12);
}

std::string human_count(uint64_t count) {
  const double c = static_cast<double>(count);
  if (count < 10000) return fmt::format("{}", count);
  if (c < 999.95e3) return fmt::format("{:.1f} k", c / 1e3);
  if (c < 999.95e6) return fmt::format("{:.1f} M", c / 1e6);
  return fmt::format("{:.2f} B", c / 1e9);
}

std::string human_duration(double seconds) {
  if (!(seconds >= 0)) return "?";
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(std::min(seconds, 1e12)));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace hone::app
