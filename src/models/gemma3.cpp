// Gemma 3, text: Gemma 2's layers without the score cap, with a norm on each head of q and k, five layers with a window
// for each full one, and a rotary base of their own for those.
#include "models/config_writer.h"
#include "models/families.h"
#include "models/gemma_common.h"

namespace hone::models {

namespace {

constexpr int64_t kWideLayers = 62;  // the 27B size
constexpr int64_t kPeriod = 6;

class Gemma3 : public Family {
 public:
  std::string id() const override { return "gemma3"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    return names_family(checkpoint, "gemma3", "Gemma3ForCausalLM", "gemma3_text");
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "gemma3";
    config.sliding_window = 4096;
    config.rope_theta = 1e6;
    config.rope_local_theta = 1e4;
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) {
      read_gguf_gemma(checkpoint, kWideLayers, config);
      read_gguf_windows(checkpoint, kPeriod, config);
      config.rope_local_theta = checkpoint.metadata.get_number_or("gemma3.rope.freq_base_swa", config.rope_local_theta);
    } else {
      read_hf(checkpoint, config);
    }
    check_decoder_config(config, checkpoint.source_name());
    require_plain_rotation(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint&) const override {
    return gemma_tensors(config, true);
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override {
    write_gguf_gemma(config, kWideLayers, metadata);
  }

  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override {
    Json json = hf_decoder_json(config, tokenizer, "Gemma3ForCausalLM", "gemma3_text");
    write_hf_gemma(config, json);
    json["rope_local_base_freq"] = shortest_decimal(config.rope_local_theta);
    if (const int64_t period = window_period(config); period > 0) json["sliding_window_pattern"] = period;
    return dump_json(json, 2);
  }

  std::vector<std::string> gguf_cautions(const ModelConfig& config) const override {
    return gemma_cautions(config, kWideLayers);
  }

 private:
  static void read_hf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    const Json json = hf_config(checkpoint);
    const std::string what = checkpoint.source_name() + "/config.json";
    config.rope_local_theta = json_number_or(json, "rope_local_base_freq", config.rope_local_theta, what);
    read_hf_gemma(json, what, checkpoint, config);
    config.context_length = json_int_or(json, "max_position_embeddings", 131072, what);
    config.attention_softcap = json_number_or(json, "attn_logit_softcapping", 0, what);
    config.logit_softcap = json_number_or(json, "final_logit_softcapping", 0, what);
    const int64_t period =
        json_int_or(json, "sliding_window_pattern", json_int_or(json, "_sliding_window_pattern", kPeriod, what), what);
    read_hf_windows(json, what, [&](int64_t layer) { return period <= 0 || (layer + 1) % period != 0; }, config);
  }
};

}  // namespace

const Family& gemma3_family() {
  static const Gemma3 family;
  return family;
}

}  // namespace hone::models
