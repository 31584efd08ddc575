// Names of the parts of a split model, the same pattern in GGUF and safetensors.
#include <fmt/format.h>

#include "formats/gguf_layout.h"

namespace hone::formats {

std::optional<ShardName> parse_shard_name(const std::string& file_name, const std::string& extension) {
  constexpr size_t kTail = sizeof("-00001-of-00002") - 1;
  if (file_name.size() < kTail + extension.size() || !file_name.ends_with(extension)) return std::nullopt;
  const size_t at = file_name.size() - extension.size() - kTail;
  const std::string tail = file_name.substr(at, kTail);
  ShardName out;
  for (size_t i = 0; i < kTail; ++i) {
    const bool digit = (i >= 1 && i <= 5) || i >= 10;
    if (digit != (tail[i] >= '0' && tail[i] <= '9')) return std::nullopt;
    if (!digit && tail[i] != "-00001-of-00002"[i]) return std::nullopt;
    unsigned& number = i <= 5 ? out.number : out.count;
    if (digit) number = number * 10 + static_cast<unsigned>(tail[i] - '0');
  }
  out.prefix = file_name.substr(0, at);
  return out;
}

std::string shard_name(const std::string& prefix, size_t number, size_t count, const std::string& extension) {
  return fmt::format("{}-{:05}-of-{:05}{}", prefix, number, count, extension);
}

}  // namespace hone::formats
