// Phi-3, 3.5, 4 and 4-mini: the pre-norm decoder with q, k, v in one matrix and gate, up in another, in both containers;
// longrope, and heads of which only a part rotates.
#include "base/error.h"
#include "models/config_source.h"
#include "models/config_writer.h"
#include "models/decoder_blocks.h"
#include "models/families.h"
#include "models/rope.h"

namespace hone::models {

namespace {

class Phi3 : public Family {
 public:
  std::string id() const override { return "phi3"; }

  bool matches(const tensor::Checkpoint& checkpoint) const override {
    return names_family(checkpoint, "phi3", "Phi3ForCausalLM", "phi3");
  }

  ModelConfig read_config(const tensor::Checkpoint& checkpoint) const override {
    ModelConfig config;
    config.family = config.architecture = "phi3";
    if (checkpoint.kind == tensor::CheckpointKind::kGguf) read_gguf(checkpoint, config);
    else read_hf(checkpoint, config);
    check_decoder_config(config, checkpoint.source_name());
    return config;
  }

  std::vector<TensorInfo> tensors(const ModelConfig& config, const tensor::Checkpoint& checkpoint) const override {
    std::vector<TensorInfo> list = decoder_tensors(config, {.fused = true});
    if (checkpoint.kind == tensor::CheckpointKind::kGguf && config.rope_scaling == RopeScaling::kLongRope)
      for (const char* name : {kLongFactors, kShortFactors})
        list.push_back({name, "", Role::kRopeFactors, -1, {config.rotary_width() / 2}, true, 0, true});
    return list;
  }

  ir::Graph build(const ModelConfig& config, const tensor::Checkpoint& checkpoint,
                  const GraphOptions& options) const override {
    return sequential_decoder(config, checkpoint, tensors(config, checkpoint), options);
  }

  // A window of 0 is how converters tell a model without one from files older than the key.
  void write_gguf_metadata(const ModelConfig& config, tensor::Metadata& metadata) const override {
    write_gguf_decoder(config, metadata);
    metadata.set("phi3.attention.sliding_window", static_cast<uint32_t>(config.sliding_window));
  }

  std::string write_hf_config(const ModelConfig& config, const text::Tokenizer* tokenizer) const override {
    Json json = hf_decoder_json(config, tokenizer, "Phi3ForCausalLM", "phi3");
    json.erase("head_dim");  // no key of this family: always an even share
    json["hidden_act"] = "silu";
    json["sliding_window"] = config.sliding_window > 0 ? Json(config.sliding_window) : Json(nullptr);
    json["original_max_position_embeddings"] =
        config.rope_original_context > 0 ? config.rope_original_context : config.context_length;
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
    config.sliding_window = json_int_or(json, "sliding_window", 0, what);
  }

  // Whether positions are stretched shows in the tensors, not in a key.
  static void read_gguf(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
    read_gguf_decoder(checkpoint, config);
    read_gguf_windows(checkpoint, 0, config);
    const tensor::NamedTensor *longs = checkpoint.find(kLongFactors), *shorts = checkpoint.find(kShortFactors);
    if (!longs && !shorts) return;
    if (!longs || !shorts)
      fail(ErrorKind::kBadInput, "[models] {}: '{}' and '{}' come together", checkpoint.source_name(), kLongFactors, kShortFactors);
    for (const auto* factors : {longs, shorts})
      if (factors->view.shape != tensor::Shape{config.rotary_width() / 2})
        fail(ErrorKind::kBadInput, "[models] {}: '{}' is {}, must be [{}]", checkpoint.source_name(), factors->name,
             tensor::shape_text(factors->view.shape), config.rotary_width() / 2);
    config.rope_scaling = RopeScaling::kLongRope;
    config.rope_long_factors = tensor::decode(longs->view);
    config.rope_short_factors = tensor::decode(shorts->view);
    if (config.rope_original_context <= 0) config.rope_original_context = config.context_length;
    config.rope_factor = static_cast<double>(config.context_length) / static_cast<double>(config.rope_original_context);
    config.rope_attention_factor =
        checkpoint.metadata.get_number_or("phi3.rope.scaling.attn_factor", default_attention_factor(config));
  }
};

}  // namespace

const Family& phi3_family() {
  static const Phi3 family;
  return family;
}

}  // namespace hone::models
