// GGUF v2 and v3, little-endian, single or split. Layout: facts of ggml's gguf.cpp; docs/formats.md.
#pragma once

#include <filesystem>
#include <vector>

#include "base/progress.h"
#include "tensor/checkpoint.h"

namespace hone::formats {

// Opens a file, or all files of a split model given any one of them (the split.* keys are then dropped).
// Tensors view the maps.
// Error(kBadInput) for anything malformed, Error(kUnsupported) for other versions, byte order or types.
tensor::Checkpoint read_gguf(const std::filesystem::path& path);
// The same from bytes in memory (tests, fuzzing); the bytes must outlive the result.
tensor::Checkpoint read_gguf_bytes(std::span<const std::byte> bytes, const std::string& name);

struct GgufWriteOptions {
  uint32_t alignment = 32;       // power of two; at 32 a general.alignment in the metadata holds instead
  uint64_t max_shard_bytes = 0;  // 0: one file; else files past it become "<stem>-00001-of-000NN.gguf"
};
// Writes version 3, tensors in the given order, under temporary names until complete. Returns the paths.
std::vector<std::filesystem::path> write_gguf(const std::filesystem::path& path, const tensor::Metadata& metadata,
                                              const std::vector<tensor::OutputTensor>& tensors,
                                              const GgufWriteOptions& options = {}, ProgressSink* progress = nullptr);
// Exact size in bytes of the single file that write_gguf would write.
uint64_t gguf_file_bytes(const tensor::Metadata& metadata, const std::vector<tensor::OutputTensor>& tensors,
                         uint32_t alignment = 32);

}  // namespace hone::formats
