#include "text/scan.h"

#include <string>
#include <utility>

#include "text/char_class.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr uint16_t kMarks = category_bit(Category::kMark);
constexpr uint16_t kUpperPart = (kLetters ^ category_bit(Category::kLl)) | kMarks;
constexpr uint16_t kLowerPart =
    category_bit(Category::kLl) | category_bit(Category::kLm) | category_bit(Category::kLo) | kMarks;
constexpr uint16_t kDigits = category_bit(Category::kDigit);
constexpr uint16_t kSpaceBit = 1u << 15;    // beside the categories: \s
constexpr uint16_t kNewlineBit = 1u << 14;  // \r \n
constexpr uint16_t kWordBit = 1u << 13;     // \w

// One character: its class as a set with one category and the three bits above; 0 bytes at the end.
struct Char {
  uint16_t set = 0;
  uint32_t size = 0;
  bool is(uint16_t wanted) const { return (set & wanted) != 0; }
};

class Text {
 public:
  Text(std::string_view text, size_t end) : text_(text), end_(end) {}
  Char at(size_t i) const {
    if (i >= end_) return {};
    const auto byte = static_cast<uint8_t>(text_[i]);
    if (byte < 0x80) return {ascii()[byte], 1};
    const Decoded d = decode_utf8(text_.substr(0, end_), i);
    return {set_of(d.code_point), d.length};
  }
  char byte(size_t i) const { return i < end_ ? text_[i] : '\0'; }
  size_t end() const { return end_; }
  // End of the run of characters from i on that are (or are not) in the set.
  size_t run(size_t i, uint16_t wanted) const {
    for (Char c = at(i); c.size && c.is(wanted); c = at(i)) i += c.size;
    return i;
  }
  size_t run_without(size_t i, uint16_t unwanted) const {
    for (Char c = at(i); c.size && !c.is(unwanted); c = at(i)) i += c.size;
    return i;
  }

 private:
  static uint16_t set_of(uint32_t c) {
    const uint16_t entry = CharTable::instance().of(c);
    auto set = static_cast<uint16_t>(1u << (entry & 0xF));
    if (entry & kFlagRegexSpace) set |= kSpaceBit;
    if (entry & kFlagRegexWord) set |= kWordBit;
    if (c == '\r' || c == '\n') set |= kNewlineBit;
    return set;
  }
  static const std::array<uint16_t, 128>& ascii() {
    static const std::array<uint16_t, 128> table = [] {
      std::array<uint16_t, 128> sets{};
      for (uint32_t c = 0; c < 128; ++c) sets[c] = set_of(c);
      return sets;
    }();
    return table;
  }
  std::string_view text_;
  size_t end_;
};

enum class Contractions { kNone, kLower, kSpelled, kFolded };

// 's 't 're 've 'm 'll 'd at i: its end, or i. kFolded: (?i:...), where the long s folds to s.
template <Contractions kind>
size_t contraction(const Text& text, size_t i) {
  if (kind == Contractions::kNone || text.byte(i) != '\'') return i;
  const auto lower = [&](size_t at) {
    const char c = text.byte(at);
    return kind != Contractions::kLower && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = lower(i + 1), second = lower(i + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return i + 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
    return i + 3;
  if (kind == Contractions::kFolded && first == '\xC5' && text.byte(i + 2) == '\xBF') return i + 3;
  return i;
}

// `\s*[\r\n]+|\s+(?!\S)|\s+` at a space; newlines: whether the first alternative is there, single: the last.
template <bool newlines, bool single>
size_t spaces(const Text& text, size_t i) {
  size_t end = i, last = i, after_newline = i;
  for (Char c = text.at(end); c.size && c.is(kSpaceBit); c = text.at(end)) {
    last = end;
    end += c.size;
    if (c.is(kNewlineBit)) after_newline = end;
  }
  if (newlines && after_newline > i) return after_newline;
  if (end == text.end()) return end;
  return last > i ? last : single ? end : i;
}

// ` ?[^\s\p{L}\p{N}]+` and what may follow; i when it does not match.
template <bool newlines, bool slashes>
size_t punctuation(const Text& text, size_t i) {
  constexpr uint16_t kOthers = kSpaceBit | kLetters | kNumbers;
  const size_t from = text.byte(i) == ' ' ? i + 1 : i;
  size_t end = text.run_without(from, kOthers);
  if (end == from) return i;
  while (newlines && (text.at(end).is(kNewlineBit) || (slashes && text.byte(end) == '/'))) ++end;
  return end;
}

// The family of GPT-2's pattern.
template <bool single>
void scan_gpt2(std::string_view whole, Span range, std::vector<Span>& matches) {
  const Text text(whole, range.end);
  for (size_t at = range.begin; at < range.end;) {
    size_t end = contraction<Contractions::kLower>(text, at);
    if (end == at) {
      const size_t from = text.byte(at) == ' ' ? at + 1 : at;
      const Char c = text.at(from);
      if (c.is(kLetters))
        end = text.run(from, kLetters);
      else if (c.is(kNumbers))
        end = text.run(from, kNumbers);
      else if (c.size && !c.is(kSpaceBit))
        end = text.run_without(from, kSpaceBit | kLetters | kNumbers);
      else
        end = spaces<false, single>(text, at);
    }
    if (end > at) matches.push_back({at, end});
    at = end > at ? end : at + text.at(at).size;
  }
}

// `[^\r\n\p{L}\p{N}]?\p{L}+` or i.
size_t word(const Text& text, size_t i, const Char& first) {
  if (first.is(kLetters)) return text.run(i, kLetters);
  if (first.is(kNewlineBit | kNumbers)) return i;
  const size_t end = text.run(i + first.size, kLetters);
  return end == i + first.size ? i : end;
}

// The two alternatives of GPT-4o for words, upper case first; from: behind the optional first character.
size_t lower_word(const Text& text, size_t from) {
  size_t end = from, behind_lower = from;
  for (Char c = text.at(end); c.size && c.is(kUpperPart); c = text.at(end)) {
    end += c.size;
    if (c.is(kLowerPart)) behind_lower = end;
  }
  const size_t run = text.run(end, kLowerPart);
  return run > end ? run : behind_lower;
}
size_t upper_word(const Text& text, size_t from) {
  const size_t end = text.run(from, kUpperPart);
  return end == from ? from : text.run(end, kLowerPart);
}
size_t cased_word(const Text& text, size_t i, const Char& first) {
  const bool prefix = !first.is(kNewlineBit | kLetters | kNumbers);
  for (const auto alternative : {lower_word, upper_word}) {
    if (prefix)
      if (const size_t end = alternative(text, i + first.size); end > i + first.size) return end;
    if (const size_t end = alternative(text, i); end > i) return end;
  }
  return i;
}

// Llama 3, Qwen 2, GPT-4o and their kin: contraction | word | numbers | punctuation | spaces.
// digits: how many numbers make a piece, 0: any number.
template <Contractions before, Contractions after, bool cased, int digits, bool newlines, bool slashes>
void scan_modern(std::string_view whole, Span range, std::vector<Span>& matches) {
  const Text text(whole, range.end);
  for (size_t at = range.begin; at < range.end;) {
    size_t end = contraction<before>(text, at);
    if (end == at) {
      const Char first = text.at(at);
      end = cased ? cased_word(text, at, first) : word(text, at, first);
      if (end > at)
        end = contraction<after>(text, end);
      else if (first.is(kNumbers)) {
        end = at;
        for (int n = 0; (digits == 0 || n < digits) && text.at(end).is(kNumbers); ++n)
          end += text.at(end).size;
      } else if (end = punctuation<newlines, slashes>(text, at); end == at) {
        end = first.is(kSpaceBit) ? spaces<true, true>(text, at) : at + first.size;
      }
    }
    matches.push_back({at, end});
    at = end;
  }
}

// Characters of a set: one by one, in runs, or at most three.
template <uint16_t set, int most>
void scan_set(std::string_view whole, Span range, std::vector<Span>& matches) {
  const Text text(whole, range.end);
  int length = 0;
  bool previous = false;
  for (size_t at = range.begin; at < range.end;) {
    const Char c = text.at(at);
    const bool match = c.is(set);
    if (match && previous && (most == 0 || length < most)) {
      matches.back().end = at + c.size;
      ++length;
    } else if (match) {
      matches.push_back({at, at + c.size});
      length = 1;
    }
    previous = match;
    at += c.size;
  }
}

// Runs of digits in groups of three from the right. (PCRE2 looks at the whole rest of a run again for every group.)
enum class Groups {
  kCuts,     // `(?=(\d{3})+(?!\d))`
  kPieces,   // `\d{1,3}(?=(?:\d{3})*(?!\d))`
  kBounded,  // `\d{1,3}(?=(?:\d{3})*\b)`
};
template <Groups kind, uint16_t digits>
void scan_groups(std::string_view whole, Span range, std::vector<Span>& matches) {
  constexpr bool pieces = kind != Groups::kCuts;
  const Text text(whole, range.end);
  for (size_t at = range.begin; at < range.end;) {
    size_t count = 0, end = at;
    for (Char c = text.at(end); c.is(digits); c = text.at(end)) end += c.size, ++count;
    if (count == 0) {
      at += text.at(at).size;
      continue;
    }
    if (kind == Groups::kBounded && text.at(end).is(kWordBit)) {  // no boundary behind the run
      at = end;
      continue;
    }
    size_t begin = at;
    for (; at < end; at += text.at(at).size, --count) {
      if (count % 3 != 0 || count == 0) continue;
      if (!pieces)
        matches.push_back({at, at});
      else if (at > begin)
        matches.push_back({begin, at});
      begin = at;
    }
    if (pieces && end > begin) matches.push_back({begin, end});
  }
}

// `\s+$`: the spaces at the end; $ also holds before a last newline, but \s+ is greedy.
void scan_last_spaces(std::string_view whole, Span range, std::vector<Span>& matches) {
  const Text text(whole, range.end);
  size_t begin = range.end;
  for (size_t at = range.begin; at < range.end;) {
    const Char c = text.at(at);
    if (!c.is(kSpaceBit))
      begin = range.end;
    else if (begin == range.end)
      begin = at;
    at += c.size;
  }
  if (begin < range.end) matches.push_back({begin, range.end});
}

using C = Contractions;
const std::string kSpelled = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
                  kFolded = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const std::string kWord = R"([^\r\n\p{L}\p{N}]?\p{L}+)", kPunctuation = R"( ?[^\s\p{L}\p{N}]+[\r\n]*)";
const std::string kSpaces = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kUpper = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
const std::string kLower = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";
const std::string kSlashed = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)";
const std::string kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
const std::string kGpt2Short = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
const std::string kBailing = R"(|\s*[\r\n]|\s+(?!\S)|\s+)";

const std::vector<std::pair<std::string, Scanner>>& table() {
  static const std::vector<std::pair<std::string, Scanner>> rows = {
      {kGpt2, scan_gpt2<false>},
      {kGpt2 + "|\\s+", scan_gpt2<true>},
      {kGpt2Short, scan_gpt2<false>},
      {kGpt2Short + "|\\s+", scan_gpt2<true>},
      {kSpelled + "|" + kWord + R"(|\p{N}{1,3}|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kSpelled, C::kNone, false, 3, true, false>},
      {kFolded + "|" + kWord + R"(|\p{N}{1,3}|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kFolded, C::kNone, false, 3, true, false>},
      {kSpelled + "|" + kWord + R"(|\p{N}|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kSpelled, C::kNone, false, 1, true, false>},
      {kFolded + "|" + kWord + R"(|\p{N}|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kFolded, C::kNone, false, 1, true, false>},
      {kSpelled + "|" + kWord + R"(|\p{N}+|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kSpelled, C::kNone, false, 0, true, false>},
      {kWord + R"(|\p{N}|)" + kPunctuation + "|" + kSpaces,
       scan_modern<C::kNone, C::kNone, false, 1, true, false>},
      {kUpper + kSpelled + "?|" + kLower + kSpelled + R"(?|\p{N}{1,3}|)" + kSlashed + "|" + kSpaces,
       scan_modern<C::kNone, C::kSpelled, true, 3, true, true>},
      {kUpper + kSpelled + "?|" + kLower + kSpelled + R"(?|\p{N}|)" + kSlashed + "|" + kSpaces,
       scan_modern<C::kNone, C::kSpelled, true, 1, true, true>},
      {kUpper + kFolded + "?|" + kLower + kFolded + R"(?|\p{N}{1,3}|)" + kSlashed + "|" + kSpaces,
       scan_modern<C::kNone, C::kFolded, true, 3, true, true>},
      {kUpper + "|" + kLower + R"(|\p{N}|)" + kSlashed + "|" + kSpaces,
       scan_modern<C::kNone, C::kNone, true, 1, true, true>},
      {"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" + kWord + R"(|\p{N}|)" + kPunctuation + kBailing,
       scan_modern<C::kSpelled, C::kNone, false, 1, true, false>},
      {"'(?i:[sdmt]|ll|ve|re)|" + kWord + R"(|\p{N}|)" + kPunctuation + kBailing,
       scan_modern<C::kFolded, C::kNone, false, 1, true, false>},
      {R"(\p{N})", scan_set<kNumbers, 1>},
      {R"(\p{N}{1,3})", scan_set<kNumbers, 3>},
      {R"(\p{N}+)", scan_set<kNumbers, 0>},
      {R"(\d)", scan_set<kDigits, 1>},
      {R"(\p{L})", scan_set<kLetters, 1>},
      {R"(\p{L}+)", scan_set<kLetters, 0>},
      {R"(\p{Lu})", scan_set<category_bit(Category::kLu), 1>},
      {R"(\p{Ll})", scan_set<category_bit(Category::kLl), 1>},
      {R"(\p{Lt})", scan_set<category_bit(Category::kLt), 1>},
      {R"(\p{Lm})", scan_set<category_bit(Category::kLm), 1>},
      {R"(\p{Lo})", scan_set<category_bit(Category::kLo), 1>},
      {R"(\p{M})", scan_set<kMarks, 1>},
      {R"(\p{P})", scan_set<category_bit(Category::kPunctuation), 1>},
      {R"(\p{S})", scan_set<category_bit(Category::kSymbol), 1>},
      {R"(\s)", scan_set<kSpaceBit, 1>},
      {R"(\s+)", scan_set<kSpaceBit, 0>},
      {R"(\w)", scan_set<kWordBit, 1>},
      {R"(\w+)", scan_set<kWordBit, 0>},
      {R"([\r\n])", scan_set<kNewlineBit, 1>},
      {R"(\d{1,3}(?=(?:\d{3})*\b))", scan_groups<Groups::kBounded, kDigits>},
      {R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))", scan_groups<Groups::kPieces, kNumbers>},
      {R"((?=(\d{3})+(?!\d)))", scan_groups<Groups::kCuts, kDigits>},
      {R"(\s+$)", scan_last_spaces},
  };
  return rows;
}

}  // namespace

Scanner find_scanner(std::string_view pattern) {
  for (const auto& [known, scanner] : table())
    if (known == pattern) return scanner;
  return nullptr;
}

std::vector<std::string_view> scanned_patterns() {
  std::vector<std::string_view> patterns;
  for (const auto& [known, scanner] : table()) patterns.push_back(known);
  return patterns;
}

}  // namespace hone::text
