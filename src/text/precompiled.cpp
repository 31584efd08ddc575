// SentencePiece's precompiled character map: a Darts-clone double array over UTF-8 prefixes and a blob of
// replacements. Applied here as the package `tokenizers` does, by grapheme clusters.
#include <cstring>

#include "text/pipeline.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

std::string decode_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0, count = 0;
  for (const char c : text) {
    int v = -1;
    if (c >= 'A' && c <= 'Z') v = c - 'A';
    else if (c >= 'a' && c <= 'z') v = c - 'a' + 26;
    else if (c >= '0' && c <= '9') v = c - '0' + 52;
    else if (c == '+') v = 62;
    else if (c == '/') v = 63;
    else if (c == '=') break;
    else fail(ErrorKind::kBadInput, "[tokenizer] precompiled_charsmap is not base64");
    bits = (bits << 6) | static_cast<uint32_t>(v);
    if (++count == 4) {
      out += static_cast<char>(bits >> 16);
      out += static_cast<char>(bits >> 8);
      out += static_cast<char>(bits);
      bits = count = 0;
    }
  }
  if (count >= 2) out += static_cast<char>(bits >> (6 * count - 8));
  if (count == 3) out += static_cast<char>(bits >> 2);
  return out;
}

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(std::string map) : map_(std::move(map)) {
    if (map_.empty()) return;
    uint32_t size = 0;
    if (map_.size() >= 4) std::memcpy(&size, map_.data(), 4);
    if (map_.size() < 4 || size > map_.size() - 4 || size % 4 != 0)
      fail(ErrorKind::kBadInput, "[tokenizer] precompiled_charsmap is truncated");
    units_ = size / 4;
    blob_ = std::string_view(map_).substr(4 + size);
  }

  void apply(std::string& text) const override {
    if (units_ == 0) return;
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      // Two ASCII characters in a row never share a cluster except CR LF.
      const size_t length = grapheme_length(text, i);
      const std::string_view cluster = std::string_view(text).substr(i, length);
      i += length;
      std::optional<std::string_view> whole;
      if (length < 6) whole = shortest(cluster);
      if (whole) out += *whole;
      else append_characters(out, cluster);
      check_growth(text.size(), out.size());
    }
    text = std::move(out);
  }

 private:
  uint32_t unit(size_t index) const {
    uint32_t u;
    std::memcpy(&u, map_.data() + 4 + 4 * index, 4);
    return u;
  }
  static size_t offset(uint32_t u) { return static_cast<size_t>(u >> 10) << ((u & 0x200) >> 6); }

  // Replacement of the shortest prefix of key that the map holds.
  std::optional<std::string_view> shortest(std::string_view key) const {
    size_t at = offset(unit(0));
    for (const char c : key) {
      at ^= static_cast<uint8_t>(c);
      if (at >= units_) return std::nullopt;
      const uint32_t u = unit(at);
      if ((u & 0x800000FFu) != static_cast<uint8_t>(c)) return std::nullopt;
      at ^= offset(u);
      if (!(u & 0x100)) continue;
      if (at >= units_) return std::nullopt;
      const size_t value = unit(at) & 0x7FFFFFFFu;
      if (value >= blob_.size()) return std::nullopt;
      const std::string_view rest = blob_.substr(value);
      const std::string_view found = rest.substr(0, std::min(rest.find('\0'), rest.size()));
      if (!is_valid_utf8(found)) return std::nullopt;
      return found;
    }
    return std::nullopt;
  }

  void append_characters(std::string& out, std::string_view cluster) const {
    for (size_t i = 0; i < cluster.size();) {
      const Decoded d = decode_utf8(cluster, i);
      const auto character = cluster.substr(i, d.length);
      out += shortest(character).value_or(character);
      i += d.length;
    }
  }

  std::string map_;
  std::string_view blob_;
  size_t units_ = 0;
};

}  // namespace

std::unique_ptr<Normalizer> make_precompiled(const Doc& object) {
  return std::make_unique<Precompiled>(decode_base64(doc_string_or(object, "precompiled_charsmap", "", "normalizer Precompiled")));
}

}  // namespace hone::text
