// UTF-8 and the few Unicode properties that tokenizers ask for, over utf8proc.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace hone::text {

struct Decoded {
  uint32_t code_point;  // U+FFFD for an invalid sequence
  uint32_t length;      // bytes consumed, at least 1
  bool valid;
};

// The character at text[at]; at < text.size(). An invalid sequence consumes its maximal valid prefix
// (Unicode 3.9, "substitution of maximal subparts").
inline Decoded decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {0xFFFD, 1, false};
  const uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t c = lead & (0xFFu >> (length + 1));
  for (uint32_t i = 1; i < length; ++i) {
    if (at + i >= text.size()) return {0xFFFD, i, false};
    const uint8_t next = byte(at + i);
    uint8_t low = 0x80, high = 0xBF;
    if (i == 1) {  // overlong forms, surrogates, past U+10FFFF
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (next < low || next > high) return {0xFFFD, i, false};
    c = (c << 6) | (next & 0x3Fu);
  }
  return {c, length, true};
}
void append_utf8(std::string& out, uint32_t code_point);

bool is_valid_utf8(std::string_view text);
// Invalid sequences become U+FFFD.
std::string to_valid_utf8(std::string_view text);
// Bytes at the end of text that begin a character which is not complete yet (0 to 3).
size_t incomplete_tail(std::string_view text);

bool is_whitespace(uint32_t c);    // Unicode White_Space
bool is_punctuation(uint32_t c);   // general category P*, or ASCII punctuation
bool is_numeric(uint32_t c);       // N*
bool is_word(uint32_t c);          // \w: letters, marks, digits, connector punctuation
bool is_control(uint32_t c);       // what BertNormalizer removes: C* except tab, newline, carriage return; U+FFFD
bool is_nonspacing_mark(uint32_t c);  // Mn
bool is_mark(uint32_t c);             // M*
bool is_cjk(uint32_t c);           // the ideograph blocks that BERT isolates
// A number for the script; 0: none (spaces, unassigned). Kana and Han are one script.
int script_of(uint32_t c);
void append_lower(std::string& out, uint32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
// Linear in the text up to the sort of runs of combining marks; text must be valid UTF-8.
std::string normalize_unicode(std::string_view text, NormalForm form);

// Length in bytes of the extended grapheme cluster at text[at].
size_t grapheme_length(std::string_view text, size_t at);

// GPT-2's byte alphabet: one printable character for every byte.
const std::array<std::string, 256>& byte_alphabet();
int byte_of_alphabet(uint32_t code_point);  // -1 when the character is not in the alphabet

// "<0xHH>" -> byte, else -1.
int byte_of_token(std::string_view token);
std::string byte_token(uint8_t byte);

}  // namespace hone::text
