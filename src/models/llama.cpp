// The Llama family: pre-norm decoder with RMSNorm, rotary positions, grouped query heads and SwiGLU. Mistral is
// the same with a sliding window. GGUF stores rows of q and k with rotary pairs adjacent.
#include "base/error.h"
#include "base/json.h"
#include "models/config_source.h"
#include "models/config_writer.h"
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
    require_plain_rotation(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint& checkpoint) const override {
    std::vector<TensorInfo> list = decoder_tensors(config, {.qk_permuted = true});
    if (checkpoint.kind == tensor::CheckpointKind::kGguf)
      list.push_back({"rope_freqs.weight", "", Role::kRopeFactors, -1, {config.head_dim / 2}, false, 0, true});
    return list;
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override;
  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override;
  std::vector<std::string> gguf_cautions(const ModelConfig& config) const override {
    return ignored_window_caution(config);
  }

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    read_hf_decoder(json, what, config);
    require_activation(json, "hidden_act", {"silu", "swish"}, what);
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
    read_gguf_windows(checkpoint, 0, config);
    config.rope_interleaved = true;
    config.attention_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
    config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
    config.mlp_bias = checkpoint.find("blk.0.ffn_gate.bias") != nullptr;
  }
};

void Llama::write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const {
  write_gguf_decoder(config, metadata);
}

std::string Llama::write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const {
  const bool mistral = config.sliding_window > 0;
  Json json = mistral ? hf_decoder_json(config, tokenizer, "MistralForCausalLM", "mistral")
                      : hf_decoder_json(config, tokenizer, "LlamaForCausalLM", "llama");
  json["hidden_act"] = "silu";
  if (mistral) json["sliding_window"] = config.sliding_window;
  if (!mistral) {
    json["attention_bias"] = config.attention_bias;
    json["mlp_bias"] = config.mlp_bias;
  }
  if (mistral ? config.attention_bias || config.output_bias || config.mlp_bias : config.attention_bias != config.output_bias)
    fail(ErrorKind::kUnsupported, "[models] config.json of this family cannot say which biases the model has");
  return dump_json(json, 2);
}

}  // namespace

const Family& llama_family() {
  static const Llama family;
  return family;
}

}  // namespace hone::models
