// The normalizer Precompiled: SentencePiece's character map applied as the package `tokenizers` does, by
// grapheme clusters (SentencePiece itself takes the longest match; see sentencepiece.cpp).
#include "text/charsmap.h"
#include "text/pipeline.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

std::string decode_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0, count = 0;
  for (const char c : text) {
    int v = -1;
    if (c >= 'A' && c <= 'Z')
      v = c - 'A';
    else if (c >= 'a' && c <= 'z')
      v = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      v = c - '0' + 52;
    else if (c == '+')
      v = 62;
    else if (c == '/')
      v = 63;
    else if (c == '=')
      break;
    else
      fail(ErrorKind::kBadInput, "[tokenizer] precompiled_charsmap is not base64");
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
  explicit Precompiled(std::string map) : map_(std::move(map)) {}

  void apply(std::string& text) const override {
    if (map_.empty()) return;
    std::string out;
    out.reserve(text.size());
    const std::string_view view = text;
    for (size_t i = 0; i < view.size();) {
      // Two ASCII characters in a row never share a cluster except CR LF.
      if (i + 1 < view.size() && is_ascii(view[i]) && is_ascii(view[i + 1]) && view[i] != '\r' &&
          !map_.may_start(view[i])) {
        out += view[i++];
        continue;
      }
      const size_t length = grapheme_length(view, i);
      const std::string_view cluster = view.substr(i, length);
      i += length;
      CharsMap::Match whole;
      if (length < 6) whole = map_.shortest(cluster);
      if (whole.length)
        out += whole.replacement;
      else
        append_characters(out, cluster);
      check_growth(text.size(), out.size());
    }
    text = std::move(out);
  }

 private:
  static bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

  void append_characters(std::string& out, std::string_view cluster) const {
    for (size_t i = 0; i < cluster.size();) {
      const std::string_view character = cluster.substr(i, decode_utf8(cluster, i).length);
      const CharsMap::Match match = map_.shortest(character);
      out += match.length ? match.replacement : character;
      i += character.size();
    }
  }

  CharsMap map_;
};

}  // namespace

std::unique_ptr<Normalizer> make_precompiled(const Doc& object) {
  return std::make_unique<Precompiled>(
      CharsMap(decode_base64(doc_string_or(object, "precompiled_charsmap", "", "normalizer Precompiled")))
          .bytes());
}

}  // namespace hone::text
