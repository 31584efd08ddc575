#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "base/error.h"

namespace hone {
namespace {

[[noreturn]] void fail_system(const std::filesystem::path& path, const char* action) {
  fail(ErrorKind::kResource, "[file] {}: cannot {}: {}", path.string(), action, std::strerror(errno));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// The open maps, by address: what MappedFile::forget may drop.
struct OpenMaps {
  std::mutex mutex;
  std::map<const std::byte*, size_t> sizes;
};
OpenMaps& open_maps() {
  static auto& maps = *new OpenMaps;  // outlives every map, static ones too
  return maps;
}

struct stat regular_file_status(int fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail_system(path, "read its status");
  if (S_ISDIR(status.st_mode)) fail(ErrorKind::kBadInput, "[file] {}: is a directory, not a file", path.string());
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::kBadInput, "[file] {}: not a regular file", path.string());
  return status;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_system(path, "open");
  const auto status = regular_file_status(file.fd, path);
  auto mapped = std::shared_ptr<MappedFile>(new MappedFile());
  mapped->path_ = path;
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ > 0) {
    void* data = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_SHARED, file.fd, 0);
    if (data == MAP_FAILED) fail_system(path, "map into memory");
    mapped->data_ = static_cast<const std::byte*>(data);
    std::lock_guard lock(open_maps().mutex);
    open_maps().sizes[mapped->data_] = mapped->size_;
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!data_) return;
  {
    std::lock_guard lock(open_maps().mutex);
    open_maps().sizes.erase(data_);
  }
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::forget(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  std::lock_guard lock(open_maps().mutex);  // held to the end: the map must stay while its pages go
  const auto next = open_maps().sizes.upper_bound(bytes.data());
  if (next == open_maps().sizes.begin()) return;
  const auto [start, size] = *std::prev(next);
  const auto offset = static_cast<size_t>(bytes.data() - start);
  if (offset > size || bytes.size() > size - offset) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = (offset + page - 1) / page * page, last = (offset + bytes.size()) / page * page;
  if (first < last) ::madvise(const_cast<std::byte*>(start) + first, last - first, MADV_DONTNEED);
}

std::string read_text_file(const std::filesystem::path& path, size_t max_bytes) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_system(path, "open");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail_system(path, "read its status");
  if (S_ISDIR(status.st_mode)) fail(ErrorKind::kBadInput, "[file] {}: is a directory, not a file", path.string());
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system(path, "read");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > max_bytes)
      fail(ErrorKind::kBadInput, "[file] {}: larger than the {} bytes allowed here", path.string(), max_bytes);
  }
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += "." + std::to_string(::getpid()) + ".tmp";
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_system(path_, "write");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_system(path_, "write");
    bytes = bytes.subspan(static_cast<size_t>(done));
    position_ += static_cast<uint64_t>(done);
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::write_zeros(size_t count) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (count > 0) {
    const size_t n = std::min(count, kZeros.size());
    write(std::span(kZeros).first(n));
    count -= n;
  }
}

void AtomicFile::commit() {
  HONE_CHECK(fd_ >= 0);
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail_system(path_, "write");
  if (::close(fd_) != 0) {
    fd_ = -1;
    ::unlink(temporary_.c_str());
    fail_system(path_, "write");
  }
  fd_ = -1;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    errno = reason;
    fail_system(path_, "rename the finished file to this name");
  }
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace hone
