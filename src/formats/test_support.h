// Shared by the tests of this module.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "tensor/checkpoint.h"

namespace hone::formats::test {

inline const std::filesystem::path kData = HONE_SOURCE_DIR "/tests/data/formats";

// An empty directory that goes away at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "hone_formats_XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  size_t entries() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  std::filesystem::path path_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Output tensors that copy a checkpoint.
inline std::vector<tensor::OutputTensor> copies(const tensor::Checkpoint& from) {
  std::vector<tensor::OutputTensor> out;
  for (const auto& t : from.tensors())
    out.push_back({t.name, t.view.format, t.view.shape, [bytes = t.view.bytes](std::span<std::byte> dst) {
                     ASSERT_EQ(dst.size(), bytes.size());
                     if (!bytes.empty()) std::memcpy(dst.data(), bytes.data(), bytes.size());
                   }});
  return out;
}

// Names, formats, shapes and content as the reference package that wrote the file listed them.
inline void expect_listed(const tensor::Checkpoint& got, const Json& expected) {
  EXPECT_EQ(got.tensors().size(), expected.size());
  for (const Json& e : expected) {
    const std::string name = e.at("name");
    SCOPED_TRACE(name);
    const auto* t = got.find(name);
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(tensor::format(t->view.format).name, e.at("format").get<std::string>());
    EXPECT_EQ(t->view.shape, e.at("shape").get<tensor::Shape>());
    EXPECT_EQ(sha256_hex(t->view.bytes), e.at("sha256").get<std::string>());
  }
}

inline Json listing(const std::string& folder) {
  return parse_json(read_text_file(kData / folder / "expected.json"), "expected.json");
}

// The message of the Error that body throws; a message is one line. Fails when it throws none.
template <typename F>
std::string error_of(F body, ErrorKind kind = ErrorKind::kBadInput) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    EXPECT_LT(std::string(e.what()).size(), 500u) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace hone::formats::test
