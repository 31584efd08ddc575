// Properties of code points by table lookup. The table holds what the package `tokenizers` answers (its parts
// know different versions of Unicode); tests/tools/make_unicode_tables.py asks it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

namespace hone::text {

enum class Category : uint8_t {
  kNone,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMark,
  kDigit,
  kNumber,
  kPunctuation,
  kSymbol
};

// Flags above the four bits of the category.
enum CharFlag : uint16_t {
  kFlagRegexSpace = 0x10,   // \s of Oniguruma
  kFlagRegexWord = 0x20,    // \w of Oniguruma
  kFlagPunctuation = 0x40,  // the pre-tokenizer Punctuation
  kFlagNumeric = 0x80,      // the pre-tokenizer Digits
  kFlagDropped = 0x100,     // BertNormalizer's clean_text removes it
  kFlagCleanSpace = 0x200,  // ... makes it a space
  kFlagAccent = 0x400,      // StripAccents
  kFlagNonspacing = 0x800,  // BertNormalizer's strip_accents
  kFlagSpace = 0x1000,      // the pre-tokenizer WhitespaceSplit
  kFlagWord = 0x2000,       // \w of the pre-tokenizer Whitespace
  kFlagChinese = 0x4000,    // BertNormalizer's handle_chinese_chars
};

class CharTable {
 public:
  static const CharTable& instance();
  uint16_t of(uint32_t c) const { return c < 0x110000 ? blocks_[index_[c >> 8]][c & 0xFF] : 0; }
  Category category(uint32_t c) const { return static_cast<Category>(of(c) & 0xF); }

 private:
  CharTable();
  std::array<uint16_t, 0x1100> index_{};
  std::unique_ptr<std::array<uint16_t, 256>[]> blocks_;
};

constexpr uint16_t category_bit(Category c) {
  return static_cast<uint16_t>(1u << static_cast<int>(c));
}
inline constexpr uint16_t kLetters = category_bit(Category::kLu) | category_bit(Category::kLl) |
                                     category_bit(Category::kLt) | category_bit(Category::kLm) |
                                     category_bit(Category::kLo);
inline constexpr uint16_t kNumbers = category_bit(Category::kDigit) | category_bit(Category::kNumber);

}  // namespace hone::text
