// What the tests of this module share: fixtures beside the checkout, and a throw-away reader of the
// vocabulary keys of a GGUF file (the real reader is in a higher module).
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace hone::text::testing {

inline std::filesystem::path source_dir() { return HONE_SOURCE_DIR; }
inline std::filesystem::path shared_data() { return source_dir() / ".." / "shared" / "data"; }

// Skips the running test when the shared data is not beside the checkout.
#define HONE_NEED_SHARED(path)                                                   \
  if (!std::filesystem::exists(::hone::text::testing::shared_data() / (path)))   \
  GTEST_SKIP() << "needs ../shared/data/" << (path)

inline Json read_json(const std::filesystem::path& path) { return parse_json(read_text_file(path), path.filename().string()); }

inline std::string unxz(const std::filesystem::path& path) {
  std::string out;
  FILE* pipe = popen(("xz -dc '" + path.string() + "'").c_str(), "r");
  if (!pipe) return out;
  char buffer[1 << 16];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  pclose(pipe);
  return out;
}

class GgufKeys {
 public:
  explicit GgufKeys(std::string bytes) : bytes_(std::move(bytes)) {
    at_ = 16;
    const auto count = number<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) {
      const std::string key = text();
      const auto type = number<uint32_t>();
      read(key, type);
    }
  }
  VocabSpec spec;

 private:
  template <typename T>
  T number() {
    T v;
    if (at_ + sizeof v > bytes_.size()) throw std::runtime_error("fixture ends early");
    std::memcpy(&v, bytes_.data() + at_, sizeof v);
    at_ += sizeof v;
    return v;
  }
  std::string text() {
    const auto n = number<uint64_t>();
    std::string s = bytes_.substr(at_, n);
    at_ += n;
    return s;
  }
  // Fixed sizes by GGUF value type; 8 is a string, 9 an array.
  static size_t size_of(uint32_t type) {
    constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kSizes[type];
  }
  void read(const std::string& key, uint32_t type) {
    const std::string p = "tokenizer.ggml.";
    if (type == 8) {
      const std::string value = text();
      if (key == p + "model") spec.model = value;
      if (key == p + "pre") spec.pre = value;
    } else if (type == 9) {
      const auto element = number<uint32_t>();
      const auto count = number<uint64_t>();
      for (uint64_t i = 0; i < count; ++i) {
        if (element == 8) {
          const std::string value = text();
          if (key == p + "tokens") spec.tokens.push_back(value);
          if (key == p + "merges") spec.merges.push_back(value);
        } else if (key == p + "scores") {
          spec.scores.push_back(number<float>());
        } else if (key == p + "token_type") {
          spec.types.push_back(number<int32_t>());
        } else {
          at_ += size_of(element);
        }
      }
    } else {
      const size_t begin = at_;
      int64_t value = 0;
      std::memcpy(&value, bytes_.data() + at_, std::min<size_t>(size_of(type), 8));
      at_ = begin + size_of(type);
      const auto id = static_cast<TokenId>(value);
      if (key == p + "bos_token_id") spec.bos = id;
      if (key == p + "eos_token_id") spec.eos = id;
      if (key == p + "eot_token_id") spec.eot = id;
      if (key == p + "unknown_token_id") spec.unknown = id;
      if (key == p + "padding_token_id") spec.padding = id;
      if (key == p + "add_bos_token") spec.add_bos = value != 0;
      if (key == p + "add_eos_token") spec.add_eos = value != 0;
      if (key == p + "add_space_prefix") spec.add_space_prefix = value != 0;
    }
  }
  std::string bytes_;
  size_t at_ = 0;
};

}  // namespace hone::text::testing
