// Small models for the tests of this module: the committed goldens, and checkpoints made in memory.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "models/decoder_blocks.h"
#include "models/model.h"

namespace hone::models {

inline std::filesystem::path data_path(const std::string& name) {
  return std::filesystem::path(HONE_SOURCE_DIR) / "tests/data/models" / name;
}

inline Json small_config() {
  return parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 40, "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false})",
                    "test");
}

// A Hugging Face checkpoint of this configuration with every tensor the family lists, values by position.
inline std::shared_ptr<tensor::Checkpoint> make_hf(const Json& config, tensor::FormatId format = tensor::FormatId::kF32) {
  auto checkpoint = std::make_shared<tensor::Checkpoint>();
  checkpoint->kind = tensor::CheckpointKind::kHuggingFace;
  checkpoint->path = "made";
  checkpoint->texts["config.json"] = config.dump();
  const Family& family = find_family(*checkpoint);
  int seed = 1;
  for (const TensorInfo& info : family.tensors(family.read_config(*checkpoint), *checkpoint)) {
    auto tensor = std::make_shared<tensor::Tensor>(format, info.shape);
    const size_t count = tensor::element_count(info.shape);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>((static_cast<int>(i) * 7 + seed) % 251 - 125) / 64.0f;
    tensor::format(format).encode(values.data(), tensor->bytes().data(), count);
    checkpoint->add({info.hf_name, tensor->view()});
    checkpoint->keep_alive(tensor);
    ++seed;
  }
  return checkpoint;
}

}  // namespace hone::models
