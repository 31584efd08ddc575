// For tests: a model through both containers and back, bytes and configuration compared.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <tuple>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/export.h"
#include "models/test_models.h"

namespace hone::models {

struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name) : path(std::filesystem::temp_directory_path() / fmt::format("hone_export_{}_{}", name, getpid())) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

inline Model opened(std::shared_ptr<tensor::Checkpoint> checkpoint) {
  Model model;
  model.checkpoint = std::move(checkpoint);
  model.family = &find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  model.tensor_infos = model.family->tensors(model.config, *model.checkpoint);
  return model;
}

inline void expect_same_tensors(const tensor::Checkpoint& a, const tensor::Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const auto& [name, view] : a.tensors()) {
    const tensor::NamedTensor* other = b.find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(view.shape, other->view.shape) << name;
    EXPECT_EQ(view.format, other->view.format) << name;
    ASSERT_EQ(view.bytes.size(), other->view.bytes.size()) << name;
    EXPECT_EQ(std::memcmp(view.bytes.data(), other->view.bytes.data(), view.bytes.size()), 0) << name;
  }
}

// HF -> GGUF -> HF -> GGUF through files.
inline void round_trip(const Model& model, const std::string& name) {
  Folder folder(name);
  const GgufExport gguf = export_gguf(model);
  formats::write_gguf(folder.path / "a.gguf", gguf.metadata, gguf.tensors);
  const Model middle = open_model(folder.path / "a.gguf");
  EXPECT_EQ(middle.config.rope_interleaved, model.family->id() == "llama");
  const HfExport hf = export_hf(middle);
  formats::write_hf_directory(folder.path / "hf", hf.texts, hf.tensors);
  const Model back = open_model(folder.path / "hf");
  expect_same_tensors(*model.checkpoint, *back.checkpoint);
  const ModelConfig &a = model.config, &b = back.config;
  EXPECT_EQ(std::tie(a.vocab_size, a.hidden_size, a.layers, a.heads, a.kv_heads, a.head_dim, a.ffn_size, a.context_length),
            std::tie(b.vocab_size, b.hidden_size, b.layers, b.heads, b.kv_heads, b.head_dim, b.ffn_size, b.context_length));
  EXPECT_EQ(std::tie(a.rotary_dim, a.rope_local_theta, a.rope_short_factors, a.rope_long_factors, a.rope_original_context,
                     a.sliding_layers, a.attention_softcap, a.logit_softcap, a.embedding_scale, a.activation),
            std::tie(b.rotary_dim, b.rope_local_theta, b.rope_short_factors, b.rope_long_factors, b.rope_original_context,
                     b.sliding_layers, b.attention_softcap, b.logit_softcap, b.embedding_scale, b.activation));
  EXPECT_EQ(std::tie(a.attention_bias, a.output_bias, a.mlp_bias), std::tie(b.attention_bias, b.output_bias, b.mlp_bias));
  EXPECT_NEAR(a.rope_attention_factor, b.rope_attention_factor, 1e-6);
  EXPECT_NEAR(a.attention_scale, b.attention_scale, 1e-7);
  EXPECT_EQ(std::tie(a.norm_epsilon, a.rope_theta, a.rope_scaling, a.rope_factor, a.sliding_window, a.tied_head),
            std::tie(b.norm_epsilon, b.rope_theta, b.rope_scaling, b.rope_factor, b.sliding_window, b.tied_head));
  const GgufExport again = export_gguf(back);
  formats::write_gguf(folder.path / "b.gguf", again.metadata, again.tensors);
  const Model second = open_model(folder.path / "b.gguf");
  expect_same_tensors(*middle.checkpoint, *second.checkpoint);
}

}  // namespace hone::models
