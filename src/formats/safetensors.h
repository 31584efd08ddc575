// safetensors files and Hugging Face model directories. Rules: as strict as the reference reader, and
// duplicate names refused; see docs/formats.md.
#pragma once

#include <filesystem>
#include <vector>

#include "base/progress.h"
#include "tensor/checkpoint.h"

namespace hone::formats {

// One file: adds its tensors to the checkpoint.
void read_safetensors(const std::filesystem::path& path, tensor::Checkpoint& into);
void read_safetensors_bytes(std::span<const std::byte> bytes, const std::string& name, tensor::Checkpoint& into);

// A directory with config.json and model.safetensors, or shards with model.safetensors.index.json.
// Loads config.json, generation_config.json, tokenizer.json, tokenizer_config.json,
// special_tokens_map.json and chat_template.jinja into texts, where present.
tensor::Checkpoint read_hf_directory(const std::filesystem::path& directory);

// Header padded to 8 bytes, tensors by descending element size, then name, as the reference writer does.
void write_safetensors(const std::filesystem::path& path, const std::vector<tensor::OutputTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}},
                       ProgressSink* progress = nullptr);
struct HfWriteOptions {
  uint64_t max_shard_bytes = 5'000'000'000;  // 0: one file
  std::string framework = "pt";              // "format" of the files' metadata; MLX writes "mlx"
  bool always_index = false;                 // an index for a single file too, as MLX has it
  bool keep_order = false;                   // tensors in the given order where their alignment allows it
};
// A whole directory: sidecar texts and weights, sharded past max_shard_bytes with an index.
void write_hf_directory(const std::filesystem::path& directory, const std::map<std::string, std::string>& texts,
                        const std::vector<tensor::OutputTensor>& tensors, const HfWriteOptions& options,
                        ProgressSink* progress = nullptr);
void write_hf_directory(const std::filesystem::path& directory, const std::map<std::string, std::string>& texts,
                        const std::vector<tensor::OutputTensor>& tensors, uint64_t max_shard_bytes = 5'000'000'000,
                        ProgressSink* progress = nullptr);

}  // namespace hone::formats
