// Gemma 2: norms before and after attention and feed-forward, caps on scores and logits, a window on every other
// layer beginning with the first.
#include "models/config_writer.h"
#include "models/families.h"
#include "models/gemma_common.h"

namespace hone::models {

namespace {

constexpr int64_t kWideLayers = 46;  // the 27B size

class Gemma2 : public Family {
 public:
  std::string id() const override { return "gemma2"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    return names_family(checkpoint, "gemma2", "Gemma2ForCausalLM", "gemma2");
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "gemma2";
    config.attention_softcap = 50;
    config.logit_softcap = 30;
    config.sliding_window = 4096;
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
      read_gguf_gemma(checkpoint, kWideLayers, config);
      read_gguf_windows(checkpoint, 2, config);
    } else {
      read_hf(checkpoint, config);
    }
    check_decoder_config(config, checkpoint.source_name());
    require_plain_rotation(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint&) const override {
    return gemma_tensors(config, false);
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override {
    write_gguf_gemma(config, kWideLayers, metadata);
  }

  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override {
    Json json = hf_decoder_json(config, tokenizer, "Gemma2ForCausalLM", "gemma2");
    write_hf_gemma(config, json);
    return dump_json(json, 2);
  }

  std::vector<std::string> gguf_cautions(const ModelConfig& config) const override {
    return gemma_cautions(config, kWideLayers);
  }

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    read_hf_gemma(json, what, checkpoint, config);
    // A key that is there and null means no cap.
    auto cap = [&](const char* key, double fallback) {
      return json_number_or(json, key, json.contains(key) ? 0 : fallback, what);
    };
    config.attention_softcap = cap("attn_logit_softcapping", config.attention_softcap);
    config.logit_softcap = cap("final_logit_softcapping", config.logit_softcap);
    read_hf_windows(json, what, [](int64_t layer) { return layer % 2 == 0; }, config);
  }
};

}  // namespace

const Family& gemma2_family() {
  static const Gemma2 family;
  return family;
}

}  // namespace hone::models
