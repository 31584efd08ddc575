// Quantities as people write them, in and out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hone::app {

// "80MB" and "80M" are 80 million bytes, "75MiB" is 75 * 2^20, "1024" and "1024B" are bytes; fractions are
// allowed ("1.5GB"). Error(kUsage) names the text, also when the size does not fit or is zero.
uint64_t parse_size(std::string_view text);

std::string human_bytes(uint64_t bytes);     // decimal units as --max-size takes them: "77.6 MB"
std::string human_count(uint64_t count);     // "134.5 M"
std::string human_duration(double seconds);  // "3.2 s", "1 min 05 s", "2 h 03 min"

}  // namespace hone::app
