// Qwen 3, dense: the pre-norm decoder with an RMSNorm on each head of q and k before the rotation, and heads whose
// size is stated, not derived.
#include "base/error.h"
#include "models/config_source.h"
#include "models/config_writer.h"
#include "models/decoder_blocks.h"
#include "models/families.h"

namespace hone::models {

namespace {

class Qwen3 : public Family {
 public:
  std::string id() const override { return "qwen3"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    return names_family(checkpoint, "qwen3", "Qwen3ForCausalLM", "qwen3");
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "qwen3";
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
      read_gguf_decoder(checkpoint, config);
      read_gguf_windows(checkpoint, 0, config);
      config.attention_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
      config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
    } else {
      read_hf(checkpoint, config);
    }
    check_decoder_config(config, checkpoint.source_name());
    require_plain_rotation(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint&) const override {
    return decoder_tensors(config, {.head_norms = true});
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override {
    write_gguf_decoder(config, metadata);
  }

  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override {
    if (config.attention_bias != config.output_bias)
      fail(ErrorKind::kUnsupported, "[models] config.json of this family cannot say which biases the model has");
    Json json = hf_decoder_json(config, tokenizer, "Qwen3ForCausalLM", "qwen3");
    json["hidden_act"] = "silu";
    json["attention_bias"] = config.attention_bias;
    write_hf_late_windows(config, json);
    return dump_json(json, 2);
  }

  std::vector<std::string> gguf_cautions(const ModelConfig& config) const override {
    std::vector<std::string> cautions = ignored_window_caution(config);
    if (config.attention_bias) cautions.push_back("llama.cpp knows no attention biases for this architecture");
    return cautions;
  }

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    config.head_dim = 128;  // Qwen3Config's default where the key is left out
    read_hf_decoder(json, what, config);
    require_activation(json, "hidden_act", {"silu", "swish"}, what);
    config.attention_bias = config.output_bias = json_bool_or(json, "attention_bias", false, what);
    read_hf_late_windows(json, what, config);
  }
};

}  // namespace

const Family& qwen3_family() {
  static const Qwen3 family;
  return family;
}

}  // namespace hone::models
