// What the writers share: tensors streamed one at a time, and groups of files that appear together.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "tensor/checkpoint.h"

namespace hone::formats {

// Bytes of an output tensor; errors name it.
uint64_t output_bytes(const tensor::OutputTensor& tensor, std::string_view module);
uint64_t align_up(uint64_t value, uint64_t alignment);  // saturates instead of wrapping

// Produces the tensor into scratch (grown as needed), writes it, and advances progress by its bytes.
// Honours cancellation.
void write_tensor(AtomicFile& file, const tensor::OutputTensor& tensor, std::string_view module,
                  std::vector<std::byte>& scratch, Progress& progress);

// Files that belong together: none has its final name until all are complete. If a commit fails, those
// already renamed that did not exist before are removed, and so are directories this group created.
class FileGroup {
 public:
  ~FileGroup();
  void create_directory(const std::filesystem::path& directory);  // and its missing parents
  AtomicFile& add(const std::filesystem::path& path);
  void commit();

 private:
  struct Entry {
    std::filesystem::path path;
    bool existed;
    std::unique_ptr<AtomicFile> file;
    bool committed = false;
  };
  std::vector<Entry> entries_;
  std::vector<std::filesystem::path> directories_;  // outermost first
  bool done_ = false;
};

}  // namespace hone::formats
