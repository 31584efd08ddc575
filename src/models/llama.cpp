// The Llama family: pre-norm decoder with RMSNorm, rotary positions, grouped query heads and SwiGLU. Mistral is
// the same with a sliding window. GGUF stores rows of q and k with rotary pairs adjacent.
#include "base/error.h"
#include "base/json.h"
#include "models/config_source.h"
#include "models/decoder_blocks.h"
#include "models/families.h"

namespace hone::models {

namespace {

bool is_mistral(const tensor::Checkpoint& checkpoint) {
  const std::vector<std::string> names = hf_architectures(checkpoint);
  return names.empty() ? hf_model_type(checkpoint) == "mistral" : names[0] == "MistralForCausalLM";
}

class Llama : public Family {
 public:
  std::string id() const override { return "llama"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) return gguf_architecture(checkpoint) == "llama";
    const std::vector<std::string> names = hf_architectures(checkpoint);
    if (!names.empty()) return names[0] == "LlamaForCausalLM" || names[0] == "MistralForCausalLM";
    const std::string type = hf_model_type(checkpoint);
    return type == "llama" || type == "mistral";
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "llama";
    const bool gguf = checkpoint.kind == tensor::CheckpointKind::kGguf;
    if (gguf) read_gguf(checkpoint, config);
    else read_hf(checkpoint, config);
    check_decoder_config(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint& checkpoint) const override {
    std::vector<TensorInfo> list = decoder_tensors(config, true);
    if (checkpoint.kind == tensor::CheckpointKind::kGguf)
      list.push_back({"rope_freqs.weight", "", Role::kRopeFactors, -1, {config.head_dim / 2}, false, 0, true});
    return list;
  }

  // x += attention(norm x); x += mlp(norm x), layer by layer.
  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    DecoderBuilder b(config, checkpoint, tensors(config, checkpoint), options);
    ValueId x = b.embed();
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const std::string blk = fmt::format("blk.{}.", layer);
      x = b.add(x, b.self_attention(b.norm(x, blk + "attn_norm"), layer), blk + "attn_residual");
      x = b.add(x, b.gated_mlp(b.norm(x, blk + "ffn_norm"), layer, "Swish"), blk + "ffn_residual");
    }
    b.finish(x);
    return b.take();
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override;
  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override;

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    read_hf_decoder(json, what, config);
    const std::string activation = json_string_or(json, "hidden_act", "silu", what);
    if (activation != "silu" && activation != "swish")
      fail(ErrorKind::kUnsupported, "[models] {}: activation '{}' is not supported for this family", what, activation);
    config.attention_bias = config.output_bias = json_bool_or(json, "attention_bias", false, what);
    config.mlp_bias = json_bool_or(json, "mlp_bias", false, what);
    if (!is_mistral(checkpoint)) return;
    // Defaults of MistralConfig where a file leaves the keys out; null means no window.
    config.kv_heads = json_int_or(json, "num_key_value_heads", 8, what);
    config.context_length = json_int_or(json, "max_position_embeddings", 131072, what);
    config.sliding_window = json.contains("sliding_window") ? json_int_or(json, "sliding_window", 0, what) : 4096;
  }

  static void read_gguf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    if (checkpoint.metadata.get_int_or("llama.expert_count", 0) > 0)
      fail(ErrorKind::kUnsupported, "[models] {}: mixtures of experts are not supported", checkpoint.source_name());
    read_gguf_decoder(checkpoint, config);
    config.rope_interleaved = true;
    config.attention_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
    config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
    config.mlp_bias = checkpoint.find("blk.0.ffn_gate.bias") != nullptr;
  }
};

void Llama::write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const {
  auto set = [&](const char* key, auto value) { metadata.set(std::string("llama.") + key, value); };
  auto size = [](int64_t value) { return static_cast<uint32_t>(value); };
  set("block_count", size(config.layers));
  set("context_length", size(config.context_length));
  set("embedding_length", size(config.hidden_size));
  set("feed_forward_length", size(config.ffn_size));
  set("attention.head_count", size(config.heads));
  set("attention.head_count_kv", size(config.kv_heads));
  set("attention.key_length", size(config.head_dim));
  set("attention.value_length", size(config.head_dim));
  set("attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_epsilon));
  if (config.sliding_window > 0) set("attention.sliding_window", size(config.sliding_window));
  set("rope.dimension_count", size(config.head_dim));
  set("rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.rope_scaling == RopeScaling::kLinear) {
    set("rope.scaling.type", std::string("linear"));
    set("rope.scaling.factor", static_cast<float>(config.rope_factor));
  }
  set("vocab_size", size(config.vocab_size));
}

// The older keys (rope_theta, rope_scaling, torch_dtype), which old and new tools read.
std::string Llama::write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const {
  const bool mistral = config.sliding_window > 0;
  Json json;
  json["architectures"] = Json::array({mistral ? "MistralForCausalLM" : "LlamaForCausalLM"});
  json["model_type"] = mistral ? "mistral" : "llama";
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.ffn_size;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["max_position_embeddings"] = config.context_length;
  json["rms_norm_eps"] = shortest_decimal(config.norm_epsilon);
  json["rope_theta"] = shortest_decimal(config.rope_theta);
  json["rope_scaling"] = nullptr;
  if (config.rope_scaling == RopeScaling::kLinear)
    json["rope_scaling"] = {{"type", "linear"}, {"rope_type", "linear"}, {"factor", config.rope_factor}};
  if (config.rope_scaling == RopeScaling::kLlama3)
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", config.rope_factor},
                            {"low_freq_factor", config.rope_low_freq_factor},
                            {"high_freq_factor", config.rope_high_freq_factor},
                            {"original_max_position_embeddings", config.rope_original_context}};
  if (mistral) json["sliding_window"] = config.sliding_window;
  if (!mistral) {
    json["attention_bias"] = config.attention_bias;
    json["mlp_bias"] = config.mlp_bias;
  }
  if (mistral ? config.attention_bias || config.output_bias || config.mlp_bias : config.attention_bias != config.output_bias)
    fail(ErrorKind::kUnsupported, "[models] config.json of this family cannot say which biases the model has");
  json["tie_word_embeddings"] = config.tied_head;
  json["vocab_size"] = config.vocab_size;
  if (tokenizer && tokenizer->bos) json["bos_token_id"] = *tokenizer->bos;
  if (tokenizer && tokenizer->eos) json["eos_token_id"] = *tokenizer->eos;
  json["use_cache"] = true;
  return dump_json(json, 2);
}

}  // namespace

const Family& llama_family() {
  static const Llama family;
  return family;
}

}  // namespace hone::models
