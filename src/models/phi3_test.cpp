// Phi-3: fused matrices, longrope in both containers, partial rotation, and the way there and back.
#include "base/error.h"
#include "models/rope.h"
#include "models/round_trip.h"

namespace hone::models {
namespace {

Json phi_config() {
  Json json = small_config();
  json["architectures"] = Json::array({"Phi3ForCausalLM"});
  return json;
}

Json long_config() {
  Json json = phi_config();
  json.update(Json::parse(R"({"original_max_position_embeddings": 16, "partial_rotary_factor": 0.75, "tie_word_embeddings": true,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.1, 1.2], "long_factor": [1.5, 2.5, 4.0]}})"));
  return json;
}

TEST(Phi3, MatricesAreFusedInBothContainers) {
  const Model model = opened(make_hf(phi_config()));
  EXPECT_EQ(model.checkpoint->find("model.layers.0.self_attn.qkv_proj.weight")->view.shape, (tensor::Shape{64, 32}));
  EXPECT_EQ(model.checkpoint->find("model.layers.0.mlp.gate_up_proj.weight")->view.shape, (tensor::Shape{96, 32}));
  const ir::Graph graph = model.graph();
  ir::verify(graph);
  int splits = 0;
  for (const ir::Node& node : graph.nodes()) splits += node.outputs.size() > 1 && node.name.find("attention") == std::string::npos;
  EXPECT_EQ(splits, 4);
  const GgufExport gguf = export_gguf(model);
  EXPECT_EQ(gguf.tensors[2].name, "blk.0.attn_qkv.weight");
  EXPECT_EQ(gguf.metadata.get_int("phi3.attention.sliding_window"), 0);
}

// sqrt(1 + ln(64 / 16) / ln 16) = sqrt(1.5) (Ding et al. 2024 and the published configuration code).
TEST(Phi3, LongRopeChoosesByContext) {
  const ModelConfig config = opened(make_hf(long_config())).config;
  EXPECT_EQ(config.rotary_width(), 6);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kLongRope);
  EXPECT_NEAR(config.rope_attention_factor, std::sqrt(1.5), 1e-12);
  EXPECT_EQ(longrope_factors(config, 16), (std::vector<float>{1.0f, 1.1f, 1.2f}));
  EXPECT_EQ(longrope_factors(config, 17), (std::vector<float>{1.5f, 2.5f, 4.0f}));
  Json su = long_config();
  su["rope_scaling"]["type"] = "su";
  EXPECT_EQ(opened(make_hf(su)).config.rope_long_factors, config.rope_long_factors);
}

TEST(Phi3, ThereAndBackKeepsBytesAndMeaning) {
  Json json = phi_config();
  round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "phi");
  json["sliding_window"] = 8;
  round_trip(opened(make_hf(json, tensor::FormatId::kF16)), "phi_window");
  round_trip(opened(make_hf(long_config(), tensor::FormatId::kBF16)), "phi_long");
  json = long_config();
  json["rope_scaling"]["attention_factor"] = 1.75;
  round_trip(opened(make_hf(json, tensor::FormatId::kBF16)), "phi_factor");
}

TEST(Phi3, DamagedFactorsAreRefused) {
  Folder folder("phi_damaged");
  const GgufExport good = export_gguf(opened(make_hf(long_config())));
  EXPECT_EQ(good.tensors[1].name, "rope_factors_long.weight");
  for (const size_t dropped : {size_t{1}, size_t{2}}) {
    std::vector<tensor::OutputTensor> tensors = good.tensors;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(dropped));
    formats::write_gguf(folder.path / "a.gguf", good.metadata, tensors);
    EXPECT_THROW(open_model(folder.path / "a.gguf"), Error);
  }
  std::vector<tensor::OutputTensor> wide = good.tensors;
  wide[1].shape = {4};
  wide[1].produce = [](std::span<std::byte> dst) { std::memset(dst.data(), 0, dst.size()); };
  formats::write_gguf(folder.path / "b.gguf", good.metadata, wide);
  EXPECT_THROW(open_model(folder.path / "b.gguf"), Error);
  wide[1].shape = {3};  // zeros would divide
  formats::write_gguf(folder.path / "c.gguf", good.metadata, wide);
  EXPECT_THROW(open_model(folder.path / "c.gguf"), Error);
  tensor::Metadata metadata = good.metadata;
  metadata.set("phi3.rope.dimension_count", uint32_t{7});
  formats::write_gguf(folder.path / "d.gguf", metadata, good.tensors);
  EXPECT_THROW(open_model(folder.path / "d.gguf"), Error);
}

}  // namespace
}  // namespace hone::models
