// A cursor over untrusted bytes: every read is checked against the end, and no count is believed before
// the bytes that back it are known to be there.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hone::formats {

// A name from a file made safe for a one-line message: control bytes become '?', long names are cut.
std::string printable(std::string_view text, size_t max_bytes = 80);

class ByteReader {
 public:
  // module and name begin every message, as in "[gguf] model.gguf: ..."; both must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, std::string_view module, std::string_view name)
      : bytes_(bytes), module_(module), name_(name) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  // Little-endian scalar; what names the field for messages.
  template <typename T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> take(uint64_t count, std::string_view what) {
    if (count > remaining()) fail_truncated(count, what);
    const auto part = bytes_.subspan(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return part;
  }

  // Fails unless count items of at least item_bytes each can still follow.
  void require_items(uint64_t count, uint64_t item_bytes, std::string_view what) const {
    if (count > remaining() / item_bytes) fail_truncated(count, what, "items");
  }

  template <typename... Args>
  [[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(kind,
                fmt::format("[{}] {}: {}", module_, name_, fmt::format(format, std::forward<Args>(args)...)));
  }

 private:
  [[noreturn]] void fail_truncated(uint64_t count, std::string_view what, const char* unit = "bytes") const;

  std::span<const std::byte> bytes_;
  std::string_view module_, name_;
  size_t position_ = 0;
};

}  // namespace hone::formats
