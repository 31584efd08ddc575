// Every hand-written matcher beside PCRE2 with the same pattern, over texts made to break it.
#include "text/scan.h"

#include <gtest/gtest.h>

#include <random>

#include "text/unicode.h"

namespace hone::text {
namespace {

std::string shown(const std::vector<Span>& spans, std::string_view text) {
  std::string out;
  for (const Span& s : spans) out.append("[").append(text.substr(s.begin, s.size())).append("]");
  return out;
}

// What the pre-tokenizer makes of matches: pieces, cut at empty matches, gaps included.
std::vector<size_t> cuts(const std::vector<Span>& matches, Span range) {
  std::vector<size_t> out = {range.begin};
  for (const Span& m : matches)
    for (const size_t at : {m.begin, m.end})
      if (at > out.back()) out.push_back(at);
  if (range.end > out.back()) out.push_back(range.end);
  return out;
}

void expect_same(std::string_view pattern, const Regex& regex, const std::string& text, Span range) {
  std::vector<Span> by_hand, by_pcre;
  find_scanner(pattern)(text, range, by_hand);
  start_regex_budget(text.size());
  regex.find_all(text, range, by_pcre);
  if (pattern == R"((?=(\d{3})+(?!\d)))") {
    EXPECT_EQ(cuts(by_hand, range), cuts(by_pcre, range)) << text;
    return;
  }
  ASSERT_TRUE(by_hand == by_pcre) << pattern << "\ntext: " << text << "\nhand: " << shown(by_hand, text)
                                  << "\npcre: " << shown(by_pcre, text);
}

// Characters of every class the patterns tell apart, the frequent ones first.
const std::vector<std::string> kParts = {
    " ",          "a",
    "'",          "\n",
    "B",          "1",
    "s",          "\r",
    ".",          "  ",
    "ll",         "'s",
    "'RE",        "'\u017F",
    "\u017F",     "/",
    "\t",         "12345",
    "é",          "É",
    "e\u0301",    "\u0301",
    "\u01C5",     "\u02B0",
    "中",         "あ",
    "ー",         "ß",
    "₂",          "½",
    "Ⅳ",          "١",
    "१२",         "\u00A0",
    "\u3000",     "\u2028",
    "\u200B",     "\u200D",
    "\uFEFF",     "😀",
    "👍🏽",   "_",
    "!",          "?",
    "(",          "<",
    "+",          "$",
    "`",          "…",
    "—",          "€",
    "™",          "\u0600",
    "\u0903",     "\u20DD",
    "\U0001F1E6", std::string("\0", 1),
    "\x7F",       "\u0085",
    "\u180E",     "Ab",
    "aB",         "ABc",
    "'t",         "'m",
    "'D",         "'ve",
    "'Ll",        "'x",
    "1'000",      "x1",
    "1x",         "__",
    "\r\n",       " \n",
    "\n ",        "   ",
    "///",        "/\n",
    "\uE000",
};

TEST(Scanners, MatchesEqualPcre2OverAdversarialTexts) {
  std::mt19937 rng(11);
  const auto patterns = scanned_patterns();
  ASSERT_GE(patterns.size(), 30u);
  for (const std::string_view pattern : patterns) {
    const Regex regex(pattern);
    for (int round = 0; round < 400; ++round) {
      const size_t pool = round % 4 == 0 ? kParts.size() : 3 + rng() % (kParts.size() - 2),
                   offset = rng() % kParts.size();
      std::string text;
      for (size_t n = rng() % 24; n > 0; --n) text += kParts[(offset + rng() % pool) % kParts.size()];
      const auto border = [&] {
        size_t at = rng() % (text.size() + 1);
        while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
        return at;
      };
      const size_t a = round % 3 ? 0 : border(), b = round % 3 ? text.size() : border();
      expect_same(pattern, regex, text, {std::min(a, b), std::max(a, b)});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Scanners, ShortTextsOfFewCharactersAllEqual) {
  const std::vector<std::string> letters = {" ", "a", "A", "\n", "1", "'", ".", "\u0301"};
  for (const std::string_view pattern : scanned_patterns()) {
    const Regex regex(pattern);
    for (size_t code = 0; code < 8 * 8 * 8 * 8; ++code) {
      std::string text;
      for (size_t c = code, n = 0; n < 4; ++n, c /= 8) text += letters[c % 8];
      expect_same(pattern, regex, text, {0, text.size()});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Scanners, UnknownPatternsHaveNone) {
  EXPECT_EQ(find_scanner(R"(\p{L}+|x)"), nullptr);
  EXPECT_EQ(find_scanner(""), nullptr);
}

}  // namespace
}  // namespace hone::text
