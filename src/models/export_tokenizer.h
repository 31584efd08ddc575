// A tokenizer on its own in either container: what both model writers put beside the weights, and what a file
// without weights consists of.
#pragma once

#include <map>
#include <string>

#include "tensor/checkpoint.h"
#include "text/tokenizer.h"

namespace hone::models {

// Adds tokenizer.ggml.*. rows: tokens of the embedding, the vocabulary is padded to it; 0 for no padding.
// Error(kUnsupported) when there are more tokens than rows.
void write_gguf_vocab(const text::Tokenizer& tokenizer, size_t rows, const std::string& source_name,
                      tensor::Metadata& metadata);

// tokenizer.json, tokenizer_config.json and generation_config.json. context_length 0: not stated.
std::map<std::string, std::string> hf_tokenizer_texts(const tensor::Checkpoint& checkpoint,
                                                      const text::Tokenizer& tokenizer,
                                                      int64_t context_length);

// A GGUF without tensors, as llama.cpp reads with "vocab only": architecture (that of the source, else
// "llama"), vocabulary and chat template.
tensor::Metadata export_tokenizer_gguf(const tensor::Checkpoint& checkpoint);
// The tokenizer's files as they are, or made from the GGUF's vocabulary.
std::map<std::string, std::string> export_tokenizer_hf(const tensor::Checkpoint& checkpoint);

}  // namespace hone::models
