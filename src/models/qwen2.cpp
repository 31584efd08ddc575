// Qwen 2 and 2.5: the pre-norm decoder with biases on q, k and v. The rotation pairs halves in both containers.
#include "base/error.h"
#include "models/config_source.h"
#include "models/config_writer.h"
#include "models/decoder_blocks.h"
#include "models/families.h"

namespace hone::models {

namespace {

class Qwen2 : public Family {
 public:
  std::string id() const override { return "qwen2"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    return names_family(checkpoint, "qwen2", "Qwen2ForCausalLM", "qwen2");
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "qwen2";
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
      read_gguf_decoder(checkpoint, config);
      read_gguf_windows(checkpoint, 0, config);
    } else {
      read_hf(checkpoint, config);
    }
    config.attention_bias = true;
    check_decoder_config(config, checkpoint.source_name());
    require_plain_rotation(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint&) const override {
    return decoder_tensors(config, {});
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override {
    write_gguf_decoder(config, metadata);
  }

  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override {
    Json json = hf_decoder_json(config, tokenizer, "Qwen2ForCausalLM", "qwen2");
    json.erase("head_dim");  // no key of this family: always an even share
    json["hidden_act"] = "silu";
    write_hf_late_windows(config, json);
    return dump_json(json, 2);
  }

  std::vector<std::string> gguf_cautions(const ModelConfig& config) const override {
    return ignored_window_caution(config);
  }

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    read_hf_decoder(json, what, config);
    require_activation(json, "hidden_act", {"silu", "swish"}, what);
    read_hf_late_windows(json, what, config);
  }
};

}  // namespace

const Family& qwen2_family() {
  static const Qwen2 family;
  return family;
}

}  // namespace hone::models
