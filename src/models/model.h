// A language model opened from a path: checkpoint, family, configuration, tokenizer, chat template.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "models/family.h"
#include "text/tokenizer.h"

namespace hone::models {

struct Model {
  std::shared_ptr<tensor::Checkpoint> checkpoint;
  const Family* family = nullptr;
  ModelConfig config;
  std::vector<TensorInfo> tensor_infos;   // those present in the checkpoint, canonical order

  // Name of a tensor in this checkpoint's own naming.
  const std::string& source_name(const TensorInfo& info) const;
  const tensor::NamedTensor& source(const TensorInfo& info) const;
  ir::Graph graph(const Family::GraphOptions& options = {}) const { return family->build(config, *checkpoint, options); }
  uint64_t parameters() const;            // weights of the checkpoint, tied ones once
};

// A .gguf file or a Hugging Face directory. Missing tensors and wrong shapes are named, all at once.
Model open_model(const std::filesystem::path& path);
// The checkpoint alone (for inspect): any supported container, any architecture; a tokenizer without weights too.
tensor::Checkpoint open_checkpoint(const std::filesystem::path& path);
// Error(kBadInput) when the checkpoint carries no tokenizer.
std::unique_ptr<text::Tokenizer> load_tokenizer(const tensor::Checkpoint& checkpoint);
// The chat template's source; empty when there is none.
std::string chat_template_source(const tensor::Checkpoint& checkpoint);

}  // namespace hone::models
