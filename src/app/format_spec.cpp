#include "app/format_spec.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <vector>

#include "base/error.h"

namespace hone::app {
namespace {

using tensor::CodeKind;
using tensor::GroupedLayout;
using tensor::ScaleType;
using tensor::ZeroKind;

struct NamedLayout {
  const char* name;
  GroupedLayout layout;
};
constexpr NamedLayout kNames[] = {
    {"MXFP4", {CodeKind::kE2M1, 4, 32, ScaleType::kE8M0, ZeroKind::kNone}},
    {"MXFP8", {CodeKind::kE4M3, 8, 32, ScaleType::kE8M0, ZeroKind::kNone}},
    {"NVFP4", {CodeKind::kE2M1, 4, 16, ScaleType::kE4M3, ZeroKind::kNone}},
    {"NF4", {CodeKind::kNF4, 4, 64, ScaleType::kF32, ZeroKind::kNone}},
    {"FP8", {CodeKind::kE4M3, 8, 128, ScaleType::kF32, ZeroKind::kNone}},
};

std::vector<std::string> words_of(const std::string& spec) {
  std::vector<std::string> words(1);
  for (const char c : spec) {
    if (c == '_' || c == '-')
      words.emplace_back();
    else
      words.back() += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return words;
}

// The whole of text as a number.
std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// "4", "4BIT", "INT4".
std::optional<int> bits_of(std::string_view word) {
  if (word.starts_with("INT"))
    word.remove_prefix(3);
  else if (word.ends_with("BIT"))
    word.remove_suffix(3);
  const auto bits = number(word);
  return bits && *bits >= 1 && *bits <= 8 ? bits : std::nullopt;
}

bool apply(const std::string& word, GroupedLayout& layout) {
  if (word == "SYM")
    layout.zero = ZeroKind::kMiddle;
  else if (word == "BIAS")
    layout.zero = ZeroKind::kBias;
  else if (word == "ZERO" || word == "ASYM")
    layout.zero = ZeroKind::kZeroPoint;
  else if (word == "F16")
    layout.scale = ScaleType::kF16;
  else if (word == "BF16")
    layout.scale = ScaleType::kBF16;
  else if (word == "F32")
    layout.scale = ScaleType::kF32;
  else if (const auto group = word.starts_with("G") ? number(std::string_view(word).substr(1)) : std::nullopt;
           group && *group > 0 && *group <= 65535)
    layout.group = static_cast<uint16_t>(*group);
  else
    return false;
  return true;
}

}  // namespace

tensor::FormatId parse_group_format(const std::string& spec, const GroupDefaults& defaults) {
  if (const tensor::QuantFormat* row = tensor::find_format(spec); row && tensor::grouped_layout(row->id))
    return row->id;
  const std::vector<std::string> words = words_of(spec);
  GroupedLayout layout{CodeKind::kInt, 4, defaults.group, defaults.scale, defaults.zero};
  bool known = true;
  const auto named =
      std::ranges::find(kNames, words[0], [](const NamedLayout& n) { return std::string(n.name); });
  if (named != std::end(kNames))
    layout = named->layout;
  else if (const auto bits = bits_of(words[0]))
    layout.bits = static_cast<uint8_t>(*bits);
  else
    known = false;
  for (size_t i = 1; i < words.size() && known; ++i) known = apply(words[i], layout);
  const auto id = known ? tensor::find_grouped(layout) : std::nullopt;
  if (!id)
    fail(ErrorKind::kUsage,
         "'{}' is no format of {}; give 4bit, INT4_G32 or the like (groups of 16, 32, 64 or 128, 1 to 8 "
         "bits), or FP8, "
         "MXFP4, MXFP8, NVFP4",
         spec, defaults.container);
  return *id;
}

}  // namespace hone::app
