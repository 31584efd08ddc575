#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "text/char_class.h"

namespace hone::text {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, 512> bytes;  // by code point; the alphabet ends at U+0143
  Alphabet() {
    bytes.fill(-1);
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const uint32_t c = printable ? b : next++;
      append_utf8(characters[b], c);
      bytes[c] = static_cast<int>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    uint64_t eight;
    if (i + 8 <= text.size() && (std::memcpy(&eight, text.data() + i, 8), (eight & 0x8080808080808080ull) == 0)) {
      i += 8;
      continue;
    }
    const Decoded d = decode_utf8(text, i);
    if (!d.valid) return false;
    i += d.length;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    if (!d.valid) {
      out.append(text, copied, i - copied);
      out += "\xEF\xBF\xBD";
      copied = i + d.length;
    }
    i += d.length;
  }
  out.append(text, copied);
  return out;
}

size_t incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<uint8_t>(text[text.size() - back]);
    if (byte >= 0x80 && byte < 0xC0) continue;
    if (byte < 0xC2 || byte > 0xF4) return 0;
    const size_t length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    if (back >= length) return 0;
    // A prefix that no continuation can complete is invalid already, not incomplete.
    return decode_utf8(text, text.size() - back).length == back ? back : 0;
  }
  return 0;
}

bool is_whitespace(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

namespace {

bool has(uint32_t c, uint16_t flag) { return (CharTable::instance().of(c) & flag) != 0; }

}  // namespace

bool is_punctuation(uint32_t c) { return has(c, kFlagPunctuation); }
bool is_numeric(uint32_t c) { return has(c, kFlagNumeric); }
bool is_word(uint32_t c) { return has(c, kFlagWord); }
bool is_control(uint32_t c) { return has(c, kFlagDropped); }
bool is_nonspacing_mark(uint32_t c) { return c >= 0x300 && has(c, kFlagNonspacing); }
bool is_mark(uint32_t c) { return c >= 0x300 && has(c, kFlagAccent); }
bool is_cjk(uint32_t c) { return c >= 0x2E80 && has(c, kFlagChinese); }

int script_of(uint32_t c) {
  struct Run {
    uint32_t begin;
    uint8_t script;
  };
  static constexpr Run kRuns[] = {
#include "text/unicode_scripts.inc"
  };
  const auto* after = std::upper_bound(std::begin(kRuns), std::end(kRuns), c, [](uint32_t point, const Run& run) { return point < run.begin; });
  return (after - 1)->script;
}

void append_lower(std::string& out, uint32_t c) {
  struct Range {
    uint32_t first, last;
    uint8_t step;
    int32_t distance;
  };
  static constexpr Range kRanges[] = {
#include "text/unicode_lower.inc"
  };
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return;
  }
  if (c == 0x130) {  // the one lower-case mapping of two characters
    out += "i\xCC\x87";
    return;
  }
  const auto* range = std::upper_bound(std::begin(kRanges), std::end(kRanges), c, [](uint32_t point, const Range& r) { return point < r.first; });
  if (range != std::begin(kRanges) && c <= (--range)->last && (c - range->first) % range->step == 0) c += static_cast<uint32_t>(range->distance);
  append_utf8(out, c);
}

namespace {

// Characters younger than the Unicode version of the package `tokenizers`: it does not know how they decompose.
bool is_too_young(uint32_t c) {
  static constexpr std::pair<uint32_t, uint32_t> kRanges[] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},
                                                              {0x10781, 0x107BA}, {0x11938, 0x11938}, {0x1E030, 0x1E06D},
                                                              {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
  for (const auto& [first, last] : kRanges)
    if (c >= first && c <= last) return true;
  return false;
}

}  // namespace

std::string normalize_unicode(std::string_view text, NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) return std::string(text);
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Decoded d = decode_utf8(text, i);
    i += d.length;
    utf8proc_int32_t buffer[32];
    int boundary = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(d.code_point), buffer, 32, options, &boundary);
    if (n < 0 || n > 32 || is_too_young(d.code_point)) points.push_back(static_cast<utf8proc_int32_t>(d.code_point));
    else points.insert(points.end(), buffer, buffer + n);
  }
  // utf8proc's own canonical ordering swaps neighbours, which is quadratic on long runs of marks.
  const auto ccc = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (size_t i = 0; i < points.size();) {
    if (ccc(points[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < points.size() && ccc(points[end]) != 0) ++end;
    std::stable_sort(points.begin() + static_cast<ptrdiff_t>(i), points.begin() + static_cast<ptrdiff_t>(end),
                     [&](auto a, auto b) { return ccc(a) < ccc(b); });
    i = end;
  }
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (compose)
    count = utf8proc_normalize_utf32(points.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  HONE_CHECK(count >= 0);
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<uint32_t>(points[static_cast<size_t>(i)]));
  return out;
}

size_t grapheme_length(std::string_view text, size_t at) {
  size_t i = at;
  Decoded previous = decode_utf8(text, i);
  i += previous.length;
  utf8proc_int32_t state = 0;
  while (i < text.size()) {
    const Decoded next = decode_utf8(text, i);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    previous = next;
    i += next.length;
  }
  return i - at;
}

const std::array<std::string, 256>& byte_alphabet() { return alphabet().characters; }

int byte_of_alphabet(uint32_t c) { return c < alphabet().bytes.size() ? alphabet().bytes[c] : -1; }

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  const int high = digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string byte_token(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

}  // namespace hone::text
