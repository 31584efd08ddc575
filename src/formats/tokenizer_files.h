// Tokenizers without a model: a tokenizer.json or tokenizer.model, alone or in a directory with its sidecar
// files.
#pragma once

#include <filesystem>

#include "tensor/checkpoint.h"

namespace hone::formats {

// True for a .json or .model file, and for a directory that holds one of the two but no weights.
bool is_tokenizer_only(const std::filesystem::path& path);
// A checkpoint of kind kHuggingFace without tensors; texts hold the files under their usual names.
tensor::Checkpoint read_tokenizer_files(const std::filesystem::path& path);
// Makes the directory; all files appear together.
void write_tokenizer_files(const std::filesystem::path& directory,
                           const std::map<std::string, std::string>& texts);

}  // namespace hone::formats
