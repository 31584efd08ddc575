// SentencePiece's precompiled character map: a Darts-clone double array over UTF-8 strings and a blob of
// NUL-terminated replacements. From untrusted bytes: every walk is bounds-checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hone::text {

class CharsMap {
 public:
  CharsMap() = default;
  // Little-endian u32 size of the array in bytes, the array, the blob. Error(kBadInput) when truncated.
  explicit CharsMap(std::string bytes);
  bool empty() const { return units_ == 0; }
  const std::string& bytes() const { return bytes_; }

  struct Match {
    size_t length = 0;  // bytes of the key; 0: none
    std::string_view replacement;
  };
  Match shortest(std::string_view text) const { return find(text, true); }
  Match longest(std::string_view text) const { return find(text, false); }
  // False when no key begins with this byte.
  bool may_start(char byte) const { return starts_[static_cast<uint8_t>(byte)]; }

 private:
  uint32_t unit(size_t index) const;
  Match find(std::string_view text, bool first) const;
  std::string bytes_;
  size_t units_ = 0;
  bool starts_[256] = {};
};

}  // namespace hone::text
