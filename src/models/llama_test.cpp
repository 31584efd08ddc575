// The Llama family: configuration from both containers, the tensor list, and the graph's structure.
#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/op_table.h"
#include "models/rope.h"
#include "models/test_models.h"

namespace hone::models {
namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

ModelConfig config_of(const Json& json) {
  tensor::Checkpoint checkpoint;
  checkpoint.kind = tensor::CheckpointKind::kHuggingFace;
  checkpoint.path = "made";
  checkpoint.texts["config.json"] = json.dump();
  return find_family(checkpoint).read_config(checkpoint);
}

std::string op_counts(const ir::Graph& graph) {
  std::map<std::string, int> counts;
  for (const ir::Node& node : graph.nodes()) ++counts[node.op->name];
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, count);
  return text;
}

TEST(Llama, OlderAndNewerRopeKeysMeanTheSame) {
  Json older = small_config(), newer = small_config();
  older["rope_theta"] = 500000.0;
  older["rope_scaling"] = {{"type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                           {"original_max_position_embeddings", 32}};
  newer.erase("rope_theta");
  newer["rope_parameters"] = older["rope_scaling"];
  newer["rope_parameters"]["rope_type"] = "llama3";
  newer["rope_parameters"]["rope_theta"] = 500000.0;
  for (const Json& json : {older, newer}) {
    const ModelConfig config = config_of(json);
    EXPECT_EQ(config.rope_scaling, RopeScaling::kLlama3);
    EXPECT_EQ(config.rope_theta, 500000.0);
    EXPECT_EQ(config.rope_factor, 8.0);
    EXPECT_EQ(config.rope_original_context, 32);
    EXPECT_EQ(config.head_dim, 8);
  }
}

TEST(Llama, PublishedConfigsAreRead) {
  const Model llama3 = open_model(data_path("llama3-rope"));
  EXPECT_EQ(llama3.config.head_dim, 32);
  EXPECT_EQ(llama3.config.kv_heads, 2);
  EXPECT_TRUE(llama3.config.tied_head);
  const Model mistral = open_model(data_path("mistral-swa"));
  EXPECT_EQ(mistral.config.sliding_window, 16);
  EXPECT_EQ(mistral.parameters(), 113088u);
  EXPECT_EQ(open_model(data_path("llama")).parameters(), 125376u);
  EXPECT_EQ(llama3.parameters(), 121280u);
}

TEST(Llama, MistralDefaultsApplyWhereKeysAreLeftOut) {
  Json json = small_config();
  json["architectures"] = Json::array({"MistralForCausalLM"});
  EXPECT_EQ(config_of(json).sliding_window, 4096);
  json["sliding_window"] = nullptr;
  EXPECT_EQ(config_of(json).sliding_window, 0);
  json["num_attention_heads"] = 8;
  json.erase("num_key_value_heads");
  EXPECT_EQ(config_of(json).kv_heads, 8);
}

TEST(Llama, DamagedConfigsAreRefusedWithEveryFault) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"hidden_size": 0, "num_hidden_layers": -3})", "the hidden size is 0"},
      {R"({"hidden_size": 0, "num_hidden_layers": -3})", "the number of layers is -3"},
      {R"({"num_hidden_layers": 1000000000})", "must be 1 to 4096"},
      {R"({"vocab_size": 9223372036854775807})", "the vocabulary"},
      {R"({"num_attention_heads": 3, "head_dim": 8})", "3 heads cannot share 2"},
      {R"({"num_attention_heads": 0})", "the number of heads is 0"},
      {R"({"num_key_value_heads": 0})", "key-value heads is 0"},
      {R"({"head_dim": 7})", "odd"},
      {R"({"rms_norm_eps": -1})", "norm epsilon"},
      {R"({"rope_theta": 0})", "rotary base"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0}})", "rotary factor"},
      {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8}})", "original context"},
      {R"({"rope_scaling": {"rope_type": "dynamic", "factor": 8}})", "'dynamic' is not supported"},
      {R"({"partial_rotary_factor": 0.5})", "rotation of a part of each head"},
      {R"({"partial_rotary_factor": 0})", "above 0"},
      {R"({"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1, 1, 1, 1]}})", "1 rotary factors for 4"},
      {R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 1, 1, 1], "long_factor": [1, 1, 1, 1]}})", "'longrope' is not supported"},
      {R"({"rope_scaling": {"type": "longrope", "short_factor": "x"}})", "'short_factor' of the rotary scaling"},
      {R"({"rope_scaling": 3})", "must be an object"},
      {R"({"hidden_act": "gelu"})", "activation 'gelu'"},
      {R"({"hidden_size": "x"})", "hidden_size"},
      {R"({"architectures": ["GPT2LMHeadModel"]})", "architecture 'GPT2LMHeadModel' is not supported; known families: llama"},
  };
  for (const auto& [patch, message] : cases) {
    Json json = small_config();
    json.update(Json::parse(patch));
    EXPECT_NE(error_of([&] { config_of(json); }).find(message), std::string::npos)
        << patch << "\n" << error_of([&] { config_of(json); });
  }
}

TEST(Llama, GraphHasTheDocumentedForm) {
  const auto checkpoint = make_hf(small_config());
  const Family& family = find_family(*checkpoint);
  const ModelConfig config = family.read_config(*checkpoint);
  const ir::Graph graph = family.build(config, *checkpoint, {.select_rows = true});
  ir::verify(graph);
  EXPECT_EQ(op_counts(graph),
            "Add 4, Attention 2, Gather 2, MatMul 15, Mul 2, RMSNormalization 5, Reshape 1, RotaryEmbedding 4, Swish 2");
  EXPECT_EQ(graph.states().size(), 4u);
  const ir::Value& logits = graph.value(graph.outputs().at(0));
  EXPECT_EQ(logits.name, "logits");
  EXPECT_EQ(ir::type_text(graph, logits.dtype, logits.shape), "F32[rows, 40]");
  const ir::Constant* q = graph.constant_of(graph.find_value("blk.1.attn_q.weight"));
  EXPECT_EQ(q->source, "model.layers.1.self_attn.q_proj.weight");
  EXPECT_TRUE(q->transposed);
  EXPECT_EQ(q->bytes.data(), checkpoint->find(q->source)->view.bytes.data());  // a view, not a copy
  EXPECT_EQ(ir::print_graph(ir::parse_graph(ir::print_graph(graph))), ir::print_graph(graph));

  const ir::Graph early = family.build(config, *checkpoint, {.select_rows = true, .early_rows = true});
  ir::verify(early);
  EXPECT_EQ(op_counts(early),
            "Add 4, Attention 2, Gather 3, MatMul 15, Mul 2, RMSNormalization 5, Reshape 2, RotaryEmbedding 4, Swish 2");
  const auto shape_of = [&](const char* name) {
    const ir::Value& value = early.value(early.find_value(name));
    return ir::type_text(early, value.dtype, value.shape);
  };
  EXPECT_EQ(shape_of("blk.0.attn_output"), "F32[batch, sequence, 32]");
  EXPECT_EQ(shape_of("blk.1.attn_output"), "F32[rows, 32]");  // only what somebody asked for, behind the last attention
  EXPECT_EQ(shape_of("blk.1.ffn_gate"), "F32[rows, 48]");
  EXPECT_EQ(shape_of("logits"), "F32[rows, 40]");

  const ir::Graph plain = family.build(config, *checkpoint, {.max_context = 16, .with_cache = false});
  ir::verify(plain);
  EXPECT_TRUE(plain.states().empty());
  EXPECT_EQ(ir::type_text(plain, ir::DType::kF32, plain.value(plain.outputs()[0]).shape), "F32[batch, sequence, 40]");
  EXPECT_EQ(plain.value(plain.find_value("rope.cos")).shape, (ir::Shape{ir::Dim::of(16), ir::Dim::of(4)}));
}

TEST(Llama, BiasesTiesAndWindowsShapeTheGraph) {
  Json json = small_config();
  json.update(Json::parse(R"({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true})"));
  const auto checkpoint = make_hf(json, tensor::FormatId::kBF16);
  const Family& family = find_family(*checkpoint);
  const ir::Graph graph = family.build(family.read_config(*checkpoint), *checkpoint, {});
  ir::verify(graph);
  EXPECT_NE(op_counts(graph).find("Add 18"), std::string::npos) << op_counts(graph);  // 4 residual, 14 biases
  const ir::Constant* embedding = graph.constant_of(graph.find_value("token_embd.weight"));
  const ir::Constant* head = graph.constant_of(graph.find_value("output.weight"));
  EXPECT_EQ(head->source, "model.embed_tokens.weight");
  EXPECT_EQ(head->bytes.data(), embedding->bytes.data());
  EXPECT_TRUE(head->transposed && !embedding->transposed);
  EXPECT_EQ(graph.constant_of(graph.find_value("blk.0.attn_norm.weight"))->format, tensor::FormatId::kF32);

  const Model mistral = open_model(data_path("mistral-swa"));
  const ir::Graph windowed = mistral.graph();
  for (const ir::Node& node : windowed.nodes()) {
    const bool attends = std::string_view(node.op->name) == "Attention";
    EXPECT_EQ(node.int_or("sliding_window", 0), attends ? 16 : 0) << node.name;
  }
}

TEST(Rope, Llama3FactorsFitBackToTheirParameters) {
  for (const auto& [theta, dim, factor, low, high, context] :
       {std::tuple{500000.0, 128, 8.0, 1.0, 4.0, 8192}, {500000.0, 64, 32.0, 1.0, 4.0, 8192}, {500000.0, 32, 8.0, 1.0, 4.0, 32}, {10000.0, 128, 4.0, 1.0, 3.0, 5000}}) {
    ModelConfig config;
    config.head_dim = dim;
    config.rope_theta = theta;
    config.rope_scaling = RopeScaling::kLlama3;
    config.rope_factor = factor;
    config.rope_low_freq_factor = low;
    config.rope_high_freq_factor = high;
    config.rope_original_context = context;
    const std::vector<float> factors = rope_factors(config);
    EXPECT_EQ(factors.front(), 1.0f);
    EXPECT_EQ(factors.back(), static_cast<float>(factor));
    ModelConfig plain = config, fitted = config;
    plain.rope_scaling = fitted.rope_scaling = RopeScaling::kNone;
    ASSERT_TRUE(fit_llama3_scaling(factors, fitted)) << dim;
    EXPECT_EQ(fitted.rope_original_context, context);
    EXPECT_NEAR(fitted.rope_high_freq_factor, high, 1e-4);
    const auto direct = rope_frequencies(config, {}), divided = rope_frequencies(plain, factors);
    for (size_t i = 0; i < direct.size(); ++i) EXPECT_NEAR(direct[i], divided[i], 1e-7 * direct[i]);
  }
  ModelConfig config;
  config.head_dim = 8;
  EXPECT_FALSE(fit_llama3_scaling(std::vector<float>{1, 5, 2, 7}, config));
}

}  // namespace
}  // namespace hone::models
