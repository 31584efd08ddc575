// Gemma 2 and 3: windows, caps and rotary bases of both containers, norm weights that differ by one, the scaled
// embedding, and the way there and back.
#include "base/error.h"
#include "models/rope.h"
#include "models/round_trip.h"

namespace hone::models {
namespace {

Json gemma_config(const char* architecture) {
  Json json = small_config();
  json.update(Json::parse(R"({"num_hidden_layers": 7, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 20,
                              "tie_word_embeddings": true})"));
  json["architectures"] = Json::array({architecture});
  return json;
}

ModelConfig config_of(const Json& json) { return opened(make_hf(json)).config; }

std::string windows(const ModelConfig& config) {
  std::string text;
  for (int64_t layer = 0; layer < config.layers; ++layer) text += config.slides(layer) ? 's' : 'f';
  return text;
}

TEST(Gemma, WindowsFollowThePatternOfTheFamilyOrTheList) {
  EXPECT_EQ(windows(config_of(gemma_config("Gemma2ForCausalLM"))), "sfsfsfs");
  Json json = gemma_config("Gemma3ForCausalLM");
  EXPECT_EQ(windows(config_of(json)), "sssssfs");
  json["sliding_window_pattern"] = 3;
  EXPECT_EQ(windows(config_of(json)), "ssfssfs");
  json["layer_types"] = Json::array({"full_attention", "sliding_attention", "full_attention", "full_attention",
                                     "sliding_attention", "full_attention", "sliding_attention"});
  EXPECT_EQ(windows(config_of(json)), "fsffsfs");
}

TEST(Gemma, CapsAreTheFamilysUnlessNull) {
  Json json = gemma_config("Gemma2ForCausalLM");
  EXPECT_EQ(config_of(json).attention_softcap, 50);
  EXPECT_EQ(config_of(json).logit_softcap, 30);
  json["attn_logit_softcapping"] = nullptr;
  json["final_logit_softcapping"] = 7.5;
  EXPECT_EQ(config_of(json).attention_softcap, 0);
  EXPECT_EQ(config_of(json).logit_softcap, 7.5);
  EXPECT_EQ(config_of(gemma_config("Gemma3ForCausalLM")).logit_softcap, 0);
  EXPECT_NEAR(config_of(json).attention_scale, 0.2236068, 1e-7);
}

TEST(Gemma, OlderAndNewerRopeKeysMeanTheSame) {
  Json older = gemma_config("Gemma3ForCausalLM"), newer = older;
  older.update(Json::parse(R"({"rope_theta": 500000.0, "rope_local_base_freq": 20000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})"));
  newer.erase("rope_theta");
  newer["rope_parameters"] = Json::parse(R"({"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500000.0},
                                             "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}})");
  for (const Json& json : {older, newer}) {
    const ModelConfig config = config_of(json);
    EXPECT_EQ(config.rope_theta, 500000);
    EXPECT_EQ(config.rope_local_theta, 20000);
    EXPECT_EQ(config.rope_scaling, RopeScaling::kLinear);
    EXPECT_EQ(config.rope_factor, 8);
    EXPECT_NEAR(rope_frequencies(config, {})[0], 1.0 / 8, 1e-12);
    EXPECT_EQ(local_rope_frequencies(config)[0], 1.0);  // no scaling there
  }
}

// As published tables are BF16, the factor is a BF16 number too: 5.65625 for sqrt(32) = 5.65685.
TEST(Gemma, EmbeddingScaleIsRoundedToTheTypeOfTheTable) {
  const Json json = gemma_config("Gemma3ForCausalLM");
  EXPECT_FLOAT_EQ(static_cast<float>(config_of(json).embedding_scale), 5.65685425f);
  const Model half = opened(make_hf(json, tensor::FormatId::kBF16));
  EXPECT_EQ(half.config.embedding_scale, 5.65625);
  EXPECT_EQ(export_gguf(half).metadata.get_number_or("gemma3.embedding_scale", 0), 5.65625);
  EXPECT_FALSE(export_gguf(opened(make_hf(json))).metadata.find("gemma3.embedding_scale"));
  const ir::Graph graph = half.graph();
  ir::verify(graph);
  const ir::Constant* scale = graph.constant_of(graph.find_value("embedding.scale"));
  float value = 0;
  std::memcpy(&value, scale->bytes.data(), sizeof value);
  EXPECT_EQ(value, 5.65625f);
}

TEST(Gemma, GgufStoresNormWeightsPlusOne) {
  for (const char* architecture : {"Gemma2ForCausalLM", "Gemma3ForCausalLM"}) {
    const Model model = opened(make_hf(gemma_config(architecture), tensor::FormatId::kBF16));
    const GgufExport gguf = export_gguf(model);
    int norms = 0;
    for (size_t i = 0; i < gguf.tensors.size(); ++i) {
      if (gguf.infos[i].role != Role::kNorm) continue;
      ++norms;
      std::vector<float> stored(static_cast<size_t>(gguf.tensors[i].shape[0]));
      gguf.tensors[i].produce(std::as_writable_bytes(std::span<float>(stored)));
      const std::vector<float> own = tensor::decode(model.source(gguf.infos[i]).view);
      for (size_t k = 0; k < own.size(); ++k) ASSERT_EQ(stored[k], own[k] + 1) << gguf.tensors[i].name;
      EXPECT_EQ(gguf_order_f32(model, gguf.infos[i]), stored);
    }
    EXPECT_EQ(norms, 7 * (architecture == std::string("Gemma2ForCausalLM") ? 4 : 6) + 1);
  }
}

TEST(Gemma, ThereAndBackKeepsBytesAndMeaning) {
  for (const char* architecture : {"Gemma2ForCausalLM", "Gemma3ForCausalLM"}) {
    SCOPED_TRACE(architecture);
    Json json = gemma_config(architecture);
    round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "gemma");
    json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
    json["attention_bias"] = true;
    json["final_logit_softcapping"] = 12.5;
    for (const char* types : {R"(["sliding_attention", "sliding_attention", "sliding_attention"])",
                              R"(["full_attention", "full_attention", "full_attention"])",
                              R"(["sliding_attention", "full_attention", "sliding_attention"])"}) {
      json["num_hidden_layers"] = 3;
      json["layer_types"] = Json::parse(types);
      round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "gemma_types");
    }
  }
}

TEST(Gemma, WhatCannotBeComputedIsRefused) {
  for (const auto& [patch, message] : {std::pair{R"({"use_bidirectional_attention": true})", "bidirectional"},
                                       {R"({"query_pre_attn_scalar": 0})", "query_pre_attn_scalar"},
                                       {R"({"final_logit_softcapping": -1})", "the cap of the logits"},
                                       {R"({"hidden_activation": "relu"})", "activation 'relu'"},
                                       {R"({"rope_local_base_freq": -5})", "local rotary base"},
                                       {R"({"layer_types": 3})", "'layer_types'"}}) {
    Json json = gemma_config("Gemma3ForCausalLM");
    json.update(Json::parse(patch));
    try {
      config_of(json);
      ADD_FAILURE() << patch;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace hone::models
