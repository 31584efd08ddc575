// Readers of adapters and control vectors: what configurations mean, and what is refused, by name.
#include "formats/adapter.h"

#include <cmath>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/test_support.h"

namespace hone::formats {
namespace {

using tensor::FormatId;
using test::error_of;

// A checkpoint of F32 tensors with values 1, 2, 3 ... over all of them.
class Weights {
 public:
  Weights(std::initializer_list<std::pair<const char*, tensor::Shape>> tensors) {
    float next = 1;
    for (const auto& [name, shape] : tensors) {
      auto t = std::make_shared<tensor::Tensor>(FormatId::kF32, shape);
      for (uint64_t i = 0; i < tensor::element_count(shape); ++i) t->f32()[i] = next++;
      file.add({name, t->view()});
      file.keep_alive(t);
    }
  }
  tensor::Checkpoint file;
};

std::string config(const std::string& more = "") {
  return R"({"peft_type": "LORA", "r": 2, "lora_alpha": 8)" + more + "}";
}

Weights plain() {
  return {{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {2, 4}},
          {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", {6, 2}}};
}

TEST(Peft, ReadsThePublishedGolden) {
  const AdapterFile file = read_adapter(HONE_SOURCE_DIR "/tests/data/models/llama-lora");
  EXPECT_EQ(file.kind, AdapterKind::kPeft);
  EXPECT_EQ(file.base_model, "../llama");
  ASSERT_EQ(file.updates.size(), 9u);
  for (const AdapterTensor& t : file.updates) {
    EXPECT_DOUBLE_EQ(t.update.scale, 6.0 / 4);
    EXPECT_EQ(t.update.rank(), 4);
    EXPECT_TRUE(t.base.starts_with("model.layers.") && t.base.ends_with(".weight")) << t.base;
  }
}

TEST(Peft, ScalesFollowTheConfiguration) {
  const auto scale = [](const std::string& more) {
    return parse_peft(config(more), plain().file, "a").updates.at(0).update.scale;
  };
  EXPECT_DOUBLE_EQ(scale(""), 4);
  EXPECT_DOUBLE_EQ(scale(R"(, "use_rslora": true)"), 8 / std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(scale(R"(, "alpha_pattern": {"k_proj": 1, "q_proj": 3})"), 1.5);
  EXPECT_DOUBLE_EQ(scale(R"(, "alpha_pattern": {"^model\\.layers\\.0\\.self_attn\\.q_proj": 5})"), 2.5);
  EXPECT_DOUBLE_EQ(scale(R"(, "alpha_pattern": {"proj": 3})"), 4);  // a part of a name is not a name
  const std::string message =
      error_of([&] { scale(R"(, "alpha_pattern": {"layers.[0-3].q_proj": 3})"); }, ErrorKind::kUnsupported);
  EXPECT_NE(message.find("regular expression"), std::string::npos) << message;
}

TEST(Peft, RanksAreHeldAgainstTheConfiguration) {
  const Weights weights = plain();
  EXPECT_EQ(parse_peft(R"({"peft_type": "LORA", "r": 9, "rank_pattern": {"q_proj": 2}})", weights.file, "a")
                .updates.size(),
            1u);
  const std::string message =
      error_of([&] { parse_peft(R"({"peft_type": "LORA", "r": 3})", weights.file, "a"); });
  EXPECT_NE(message.find("has rank 2, the configuration says 3"), std::string::npos) << message;
}

TEST(Peft, EmbeddingsAreTurned) {
  const Weights weights{{"base_model.model.model.embed_tokens.lora_embedding_A", {2, 3}},
                        {"base_model.model.model.embed_tokens.lora_embedding_B", {4, 2}}};
  const AdapterFile file = parse_peft(config(), weights.file, "a");
  const auto& u = file.updates.at(0).update;
  EXPECT_EQ(u.b.shape, (tensor::Shape{3, 2}));  // tokens, rank
  EXPECT_EQ(u.a.shape, (tensor::Shape{2, 4}));  // rank, hidden
  EXPECT_EQ(tensor::decode(u.b), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(tensor::decode(u.a), (std::vector<float>{7, 9, 11, 13, 8, 10, 12, 14}));
}

TEST(Peft, WholeTensorsAndWrappers) {
  const Weights weights{{"base_model.model.lm_head.modules_to_save.default.weight", {5, 4}},
                        {"base_model.model.model.layers.1.self_attn.k_proj.base_layer.bias", {4}},
                        {"base_model.model.model.embed_tokens.weight", {5, 4}}};
  const AdapterFile file =
      parse_peft(config(R"(, "modules_to_save": ["lm_head", "embed_tokens"])"), weights.file, "a");
  ASSERT_EQ(file.replaced.size(), 3u);
  EXPECT_EQ(file.replaced[0].name, "lm_head.weight");
  EXPECT_EQ(file.replaced[1].name, "model.layers.1.self_attn.k_proj.bias");
  EXPECT_TRUE(file.splits_tied_embedding);
}

TEST(Peft, DoraNeedsItsMagnitudes) {
  Weights weights = plain();
  const std::string missing =
      error_of([&] { parse_peft(config(R"(, "use_dora": true)"), weights.file, "a"); });
  EXPECT_NE(missing.find("has no magnitudes"), std::string::npos) << missing;
  const Weights whole{{"x.q_proj.lora_A.weight", {2, 4}},
                      {"x.q_proj.lora_B.weight", {3, 2}},
                      {"x.q_proj.lora_magnitude_vector", {3}}};
  const AdapterFile file = parse_peft(config(R"(, "use_dora": true)"), whole.file, "a");
  EXPECT_EQ(file.updates.at(0).update.magnitude, (std::vector<float>{15, 16, 17}));
  EXPECT_NE(error_of([&] { parse_peft(config(), whole.file, "a"); }).find("plain LoRA"), std::string::npos);
}

TEST(Peft, NamesEveryFaultAtOnce) {
  const Weights weights{{"m.q_proj.lora_A.weight", {2, 4}},
                        {"m.k_proj.lora_B.weight", {2, 4}},
                        {"m.v_proj.lora_C.weight", {1}},
                        {"m.o_proj.lora_A.weight", {4}},
                        {"m.o_proj.lora_B.weight", {2, 4}}};
  const std::string message = error_of([&] { parse_peft(config(), weights.file, "adapter"); });
  for (const char* part :
       {"'m.q_proj' has A but no B", "'m.k_proj' has B but no A", "m.v_proj.lora_C", "'m.o_proj' is F32 [4]"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Peft, RefusesWhatComputesSomethingElse) {
  const Weights weights = plain();
  const auto refused = [&](const std::string& text) {
    return error_of([&] { parse_peft(text, weights.file, "a"); }, ErrorKind::kUnsupported);
  };
  EXPECT_NE(refused(R"({"peft_type": "IA3"})").find("'IA3'"), std::string::npos);
  const std::string both = refused(config(R"(, "layer_replication": [[0, 4]], "lora_bias": true)"));
  EXPECT_NE(both.find("layer_replication"), std::string::npos);
  EXPECT_NE(both.find("lora_bias"), std::string::npos);
  EXPECT_NE(refused(config(R"(, "init_lora_weights": "pissa_niter_4")")).find("changes the base"),
            std::string::npos);
  EXPECT_EQ(
      parse_peft(config(R"(, "init_lora_weights": "gaussian", "layer_replication": null)"), weights.file, "a")
          .updates.size(),
      1u);
  error_of([&] { parse_peft("[1]", weights.file, "a"); });
  error_of([&] { parse_peft("{", weights.file, "a"); });
}

TEST(Mlx, TurnsBothMatricesAndTakesTheScaleAsItIs) {
  const Weights weights{{"model.layers.0.mlp.down_proj.lora_a", {3, 2}},
                        {"model.layers.0.mlp.down_proj.lora_b", {2, 2}}};
  const AdapterFile file = parse_mlx(
      R"({"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 20.0}})", weights.file, "a");
  const AdapterTensor& t = file.updates.at(0);
  EXPECT_EQ(t.base, "model.layers.0.mlp.down_proj.weight");
  EXPECT_DOUBLE_EQ(t.update.scale, 20);
  EXPECT_EQ(tensor::decode(t.update.a), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(tensor::decode(t.update.b), (std::vector<float>{7, 9, 8, 10}));
  EXPECT_NE(error_of([&] { parse_mlx("{}", weights.file, "a"); }).find("scale"), std::string::npos);
}

std::vector<std::byte> gguf_of(const tensor::Metadata& metadata, const tensor::Checkpoint& weights) {
  test::TemporaryDirectory folder;
  write_gguf(folder / "x.gguf", metadata, test::copies(weights));
  const std::string text = read_text_file(folder / "x.gguf");
  const auto bytes = test::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

tensor::Metadata adapter_metadata() {
  tensor::Metadata meta;
  meta.set("general.type", std::string("adapter"));
  meta.set("general.architecture", std::string("llama"));
  meta.set("adapter.type", std::string("lora"));
  meta.set("adapter.lora.alpha", 6.0f);
  return meta;
}

TEST(GgufAdapter, ReadsPairsAndTheTurnedEmbedding) {
  const Weights weights{{"blk.0.attn_q.weight.lora_a", {2, 4}},
                        {"blk.0.attn_q.weight.lora_b", {6, 2}},
                        {"token_embd.weight.lora_a", {5, 2}},
                        {"token_embd.weight.lora_b", {4, 2}},
                        {"output_norm.weight", {4}}};
  const auto bytes = gguf_of(adapter_metadata(), weights.file);
  const AdapterFile file = parse_gguf_adapter(read_gguf_bytes(bytes, "x"), "x");
  EXPECT_EQ(file.architecture, "llama");
  ASSERT_EQ(file.updates.size(), 2u);
  EXPECT_DOUBLE_EQ(file.updates[0].update.scale, 3);
  EXPECT_EQ(file.updates[1].update.a.shape, (tensor::Shape{2, 4}));
  EXPECT_EQ(file.updates[1].update.b.shape, (tensor::Shape{5, 2}));
  EXPECT_EQ(file.replaced.size(), 1u);
}

TEST(GgufAdapter, RefusesOtherFiles) {
  const Weights odd{{"blk.0.attn_q.weight.lora_c", {2, 4}}, {"blk.0.attn_q.weight.lora_a", {2, 4}}};
  const std::string message = error_of([&] {
    const auto bytes = gguf_of(adapter_metadata(), odd.file);
    parse_gguf_adapter(read_gguf_bytes(bytes, "x"), "x");
  });
  EXPECT_NE(message.find("lora_c"), std::string::npos);
  EXPECT_NE(message.find("no B"), std::string::npos);
  tensor::Metadata model;
  model.set("general.type", std::string("model"));
  const auto bytes = gguf_of(model, odd.file);
  EXPECT_NE(error_of([&] { parse_gguf_adapter(read_gguf_bytes(bytes, "x"), "x"); }).find("'model'"),
            std::string::npos);
}

TEST(ControlVector, ReadsDirectionsByLayer) {
  tensor::Metadata meta;
  meta.set("general.architecture", std::string("controlvector"));
  meta.set("controlvector.model_hint", std::string("llama"));
  const Weights weights{{"direction.2", {3}}, {"direction.1", {3}}};
  const auto bytes = gguf_of(meta, weights.file);
  const ControlVector vector = parse_control_vector(read_gguf_bytes(bytes, "x"), "x");
  EXPECT_EQ(vector.model_hint, "llama");
  EXPECT_EQ(vector.directions, (std::map<int64_t, std::vector<float>>{{1, {4, 5, 6}}, {2, {1, 2, 3}}}));
  const Weights wrong{{"direction.0", {3}},
                      {"direction.1", {3}},
                      {"direction.3", {2}},
                      {"direction.x", {3}},
                      {"direction.4", {1, 3}}};
  const auto damaged = gguf_of(meta, wrong.file);
  const std::string message = error_of([&] { parse_control_vector(read_gguf_bytes(damaged, "x"), "x"); });
  for (const char* part : {"'direction.0'", "'direction.3' has 2", "'direction.x'", "'direction.4'"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Adapters, TellWhatIsMissing) {
  test::TemporaryDirectory folder;
  EXPECT_NE(error_of([&] { read_adapter(folder / "none"); }).find("no such file"), std::string::npos);
  EXPECT_NE(error_of([&] { read_adapter(folder.path()); }).find("neither adapter_model.safetensors"),
            std::string::npos);
  write_text_file(folder / "adapter_model.bin", "x");
  EXPECT_NE(error_of([&] { read_adapter(folder.path()); }, ErrorKind::kUnsupported).find("pickle"),
            std::string::npos);
}

}  // namespace
}  // namespace hone::formats
