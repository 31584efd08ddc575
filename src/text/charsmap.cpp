#include "text/charsmap.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace hone::text {
namespace {

constexpr size_t kMaxBytes = 16u << 20;

size_t offset(uint32_t u) {
  return static_cast<size_t>(u >> 10) << ((u & 0x200) >> 6);
}

}  // namespace

CharsMap::CharsMap(std::string bytes) : bytes_(std::move(bytes)) {
  if (bytes_.empty()) return;
  uint32_t size = 0;
  if (bytes_.size() >= 4) std::memcpy(&size, bytes_.data(), 4);
  if (bytes_.size() < 4 || size > bytes_.size() - 4 || size % 4 != 0)
    fail(ErrorKind::kBadInput, "[tokenizer] precompiled_charsmap is truncated");
  if (bytes_.size() > kMaxBytes)
    fail(ErrorKind::kUnsupported, "[tokenizer] precompiled_charsmap has {} bytes", bytes_.size());
  units_ = size / 4;
  if (units_ == 0) return;
  for (size_t b = 0; b < 256; ++b) {
    const size_t at = offset(unit(0)) ^ b;
    starts_[b] = at < units_ && (unit(at) & 0x800000FFu) == b;
  }
}

uint32_t CharsMap::unit(size_t index) const {
  uint32_t u;
  std::memcpy(&u, bytes_.data() + 4 + 4 * index, 4);
  return u;
}

CharsMap::Match CharsMap::find(std::string_view text, bool first) const {
  Match best;
  if (units_ == 0) return best;
  const std::string_view blob = std::string_view(bytes_).substr(4 + 4 * units_);
  size_t at = offset(unit(0));
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (at >= units_) break;
    const uint32_t u = unit(at);
    if ((u & 0x800000FFu) != byte) break;
    at ^= offset(u);
    if (!(u & 0x100)) continue;
    if (at >= units_) break;
    const size_t value = unit(at) & 0x7FFFFFFFu;
    if (value >= blob.size()) break;
    const std::string_view rest = blob.substr(value);
    const std::string_view found = rest.substr(0, std::min(rest.find('\0'), rest.size()));
    if (!is_valid_utf8(found)) break;
    best = {i + 1, found};
    if (first) break;
  }
  return best;
}

}  // namespace hone::text
