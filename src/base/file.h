// Files: read-only memory maps, whole-file reads with a size limit, and writes that appear under
// their final name only when complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hone {

// A read-only map of a whole regular file. Shared because tensors of several checkpoints may view it.
class MappedFile {
 public:
  // Throws Error(kResource) when the file cannot be opened, Error(kBadInput) for a non-regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Lets go of the memory of whole pages in these bytes, for who passes once through a file larger than memory; they
  // are read again when touched. Does nothing where the bytes lie in no open map.
  static void forget(std::span<const std::byte> bytes);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Whole text file. Throws Error(kResource) if unreadable, Error(kBadInput) past max_bytes.
std::string read_text_file(const std::filesystem::path& path, size_t max_bytes = size_t{1} << 30);

// Writes "<path>.<pid>.tmp" and renames it to path on commit(); the destructor removes what was not
// committed, and so does an interrupt (see cancel.h). Throws Error(kResource) with the system's reason
// (full disk, read-only directory).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void write_zeros(size_t count);
  uint64_t position() const { return position_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  uint64_t position_ = 0;
};

void write_text_file(const std::filesystem::path& path, std::string_view text);

}  // namespace hone
