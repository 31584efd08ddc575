// Qwen 2 and 3: configurations of both containers, windows of late layers, and the way there and back.
#include "base/error.h"
#include "models/rope.h"
#include "models/round_trip.h"

namespace hone::models {
namespace {

Json qwen_config(const char* architecture) {
  Json json = small_config();
  json["architectures"] = Json::array({architecture});
  json["num_hidden_layers"] = 3;
  return json;
}

TEST(Qwen, BiasesAndHeadNormsAreListed) {
  const Model qwen2 = opened(make_hf(qwen_config("Qwen2ForCausalLM")));
  EXPECT_EQ(qwen2.family->id(), "qwen2");
  EXPECT_TRUE(qwen2.checkpoint->find("model.layers.2.self_attn.k_proj.bias"));
  EXPECT_FALSE(qwen2.checkpoint->find("model.layers.2.self_attn.o_proj.bias"));
  Json json = qwen_config("Qwen3ForCausalLM");
  EXPECT_EQ(opened(make_hf(json)).config.head_dim, 128);  // the family's default, not hidden / heads
  json["head_dim"] = 16;
  const Model qwen3 = opened(make_hf(json));
  EXPECT_EQ(qwen3.family->id(), "qwen3");
  EXPECT_EQ(qwen3.checkpoint->find("model.layers.1.self_attn.q_norm.weight")->view.shape, tensor::Shape{16});
  EXPECT_FALSE(qwen3.checkpoint->find("model.layers.1.self_attn.q_proj.bias"));
  ir::verify(qwen2.graph());
  ir::verify(qwen3.graph());
}

TEST(Qwen, WindowHoldsOnlyWhereItIsAskedFor) {
  Json json = qwen_config("Qwen2ForCausalLM");
  json["sliding_window"] = 16;
  json["max_window_layers"] = 1;
  EXPECT_EQ(opened(make_hf(json)).config.sliding_window, 0);
  json["use_sliding_window"] = true;
  const ModelConfig late = opened(make_hf(json)).config;
  EXPECT_EQ(std::tuple(late.window(0), late.window(1), late.window(2)), std::tuple(0, 16, 16));
  json["max_window_layers"] = 3;
  EXPECT_EQ(opened(make_hf(json)).config.sliding_window, 0);
  json["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  const ModelConfig listed = opened(make_hf(json)).config;
  EXPECT_EQ(std::tuple(listed.window(0), listed.window(1), listed.window(2)), std::tuple(16, 0, 16));
  json["layer_types"] = {"linear_attention", "full_attention", "full_attention"};
  EXPECT_THROW(opened(make_hf(json)), Error);
  json["layer_types"] = {"full_attention"};
  EXPECT_THROW(opened(make_hf(json)), Error);
}

TEST(Qwen, ThereAndBackKeepsBytesAndMeaning) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    SCOPED_TRACE(architecture);
    Json json = qwen_config(architecture);
    if (architecture == std::string("Qwen3ForCausalLM")) json["head_dim"] = 16;
    round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "qwen");
    for (const char* types : {R"(["full_attention", "sliding_attention", "sliding_attention"])",
                              R"(["sliding_attention", "full_attention", "sliding_attention"])",
                              R"(["sliding_attention", "sliding_attention", "full_attention"])"}) {
      json.update(Json::parse(R"({"use_sliding_window": true, "sliding_window": 8, "tie_word_embeddings": true})"));
      json["layer_types"] = Json::parse(types);
      json["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}, {"beta_fast", 24}};
      round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "qwen_windows");
    }
  }
}

// Peng et al. 2023, equations 22 to 25, worked out by hand for width 8, base 10000, context 64, factor 4: turns of
// 64 / (2 pi) = 10.2, 1.02, 0.102, 0.0102 over the context; bounds at indices 0 (clamped) and 2 (rounded up).
TEST(Qwen, YarnBlendsBetweenItsBounds) {
  ModelConfig config;
  config.head_dim = 8;
  config.rope_scaling = RopeScaling::kYarn;
  config.rope_factor = 4;
  config.rope_original_context = 64;
  const std::vector<double> frequencies = rope_frequencies(config, {});
  ASSERT_EQ(frequencies.size(), 4u);
  EXPECT_DOUBLE_EQ(frequencies[0], 1.0);
  EXPECT_NEAR(frequencies[1], 0.1 * (0.5 / 4 + 0.5), 1e-12);
  EXPECT_NEAR(frequencies[2], 0.01 / 4, 1e-12);
  EXPECT_NEAR(frequencies[3], 0.001 / 4, 1e-12);
  EXPECT_NEAR(default_attention_factor(config), 1.138629436, 1e-8);
}

}  // namespace
}  // namespace hone::models
