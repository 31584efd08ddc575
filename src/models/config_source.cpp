// Decoder configuration from both containers, and the sanity checks before anything is allocated by it.
#include "models/config_source.h"

#include <cmath>

#include "base/error.h"

namespace hone::models {

namespace {

bool is_hf(const tensor::Checkpoint& checkpoint) { return checkpoint.kind == tensor::CheckpointKind::kHuggingFace; }

void set_scaling(ModelConfig& config, const std::string& type, const std::string& what) {
  if (type.empty() || type == "default" || type == "none") config.rope_scaling = RopeScaling::kNone;
  else if (type == "linear") config.rope_scaling = RopeScaling::kLinear;
  else if (type == "llama3") config.rope_scaling = RopeScaling::kLlama3;
  else fail(ErrorKind::kUnsupported, "[models] {}: rotary scaling '{}' is not supported for this family", what, type);
}

// `rope_scaling` (older) or `rope_parameters` (transformers 5) as one object.
void read_hf_rope(const Json& json, const std::string& what, ModelConfig& config) {
  config.rope_theta = json_number_or(json, "rope_theta", 10000, what);
  const Json* rope = json_find(json, "rope_parameters");
  if (!rope) rope = json_find(json, "rope_scaling");
  if (!rope) return;
  if (!rope->is_object()) fail(ErrorKind::kBadInput, "[models] {}: 'rope_scaling' must be an object", what);
  config.rope_theta = json_number_or(*rope, "rope_theta", config.rope_theta, what);
  set_scaling(config, json_string_or(*rope, "rope_type", json_string_or(*rope, "type", "", what), what), what);
  config.rope_factor = json_number_or(*rope, "factor", 1, what);
  config.rope_low_freq_factor = json_number_or(*rope, "low_freq_factor", 1, what);
  config.rope_high_freq_factor = json_number_or(*rope, "high_freq_factor", 4, what);
  config.rope_original_context = json_int_or(*rope, "original_max_position_embeddings", 0, what);
  config.rope_original_context =
      json_int_or(json, "original_max_position_embeddings", config.rope_original_context, what);
  const double partial = json_number_or(*rope, "partial_rotary_factor", 1, what);
  if (partial != 1) fail(ErrorKind::kUnsupported, "[models] {}: partial rotation ({}) is not supported", what, partial);
}

}  // namespace

Json hf_config(const tensor::Checkpoint& checkpoint) {
  const auto found = checkpoint.texts.find("config.json");
  if (found == checkpoint.texts.end())
    fail(ErrorKind::kBadInput, "[models] {}: no config.json beside the weights", checkpoint.source_name());
  Json json = parse_json(found->second, checkpoint.source_name() + "/config.json");
  if (!json.is_object())
    fail(ErrorKind::kBadInput, "[models] {}/config.json: must be a JSON object", checkpoint.source_name());
  return json;
}

std::vector<std::string> hf_architectures(const tensor::Checkpoint& checkpoint) {
  std::vector<std::string> names;
  if (!is_hf(checkpoint)) return names;
  const Json json = hf_config(checkpoint);
  const Json* list = json_find(json, "architectures");
  if (list && list->is_array())
    for (const Json& name : *list)
      if (name.is_string()) names.push_back(name.get<std::string>());
  return names;
}

std::string hf_model_type(const tensor::Checkpoint& checkpoint) {
  if (!is_hf(checkpoint)) return "";
  return json_string_or(hf_config(checkpoint), "model_type", "", checkpoint.source_name());
}

std::string gguf_architecture(const tensor::Checkpoint& checkpoint) {
  return is_hf(checkpoint) ? "" : checkpoint.metadata.get_string_or("general.architecture", "");
}

void read_hf_decoder(const Json& json, const std::string& what, ModelConfig& config) {
  config.vocab_size = json_int(json, "vocab_size", what);
  config.hidden_size = json_int(json, "hidden_size", what);
  config.layers = json_int(json, "num_hidden_layers", what);
  config.heads = json_int(json, "num_attention_heads", what);
  config.kv_heads = json_int_or(json, "num_key_value_heads", config.heads, what);
  config.head_dim = json_int_or(json, "head_dim", config.heads > 0 ? config.hidden_size / config.heads : 0, what);
  config.ffn_size = json_int(json, "intermediate_size", what);
  config.context_length = json_int_or(json, "max_position_embeddings", 2048, what);
  config.norm_epsilon = json_number_or(json, "rms_norm_eps", 1e-6, what);
  config.tied_head = json_bool_or(json, "tie_word_embeddings", false, what);
  read_hf_rope(json, what, config);
  config.rope_interleaved = false;
  if (json_find(json, "quantization_config"))
    fail(ErrorKind::kUnsupported, "[models] {}: weights quantized by another tool ('quantization_config') are not supported",
         what);
}

void read_gguf_decoder(const tensor::Checkpoint& checkpoint, ModelConfig& config) {
  const tensor::Metadata& meta = checkpoint.metadata;
  const std::string prefix = config.architecture + ".", what = checkpoint.source_name();
  auto key = [&](const char* name) { return prefix + name; };
  config.hidden_size = meta.get_int(key("embedding_length"));
  config.layers = meta.get_int(key("block_count"));
  config.heads = meta.get_int(key("attention.head_count"));
  config.kv_heads = meta.get_int_or(key("attention.head_count_kv"), config.heads);
  const int64_t even_share = config.heads > 0 ? config.hidden_size / config.heads : 0;
  config.head_dim = meta.get_int_or(key("attention.key_length"), even_share);
  if (meta.get_int_or(key("attention.value_length"), config.head_dim) != config.head_dim)
    fail(ErrorKind::kUnsupported, "[models] {}: keys and values of different length are not supported", what);
  if (meta.get_int_or(key("rope.dimension_count"), config.head_dim) != config.head_dim)
    fail(ErrorKind::kUnsupported, "[models] {}: rotation of a part of each head is not supported", what);
  config.ffn_size = meta.get_int(key("feed_forward_length"));
  config.context_length = meta.get_int(key("context_length"));
  config.norm_epsilon = meta.get_number_or(key("attention.layer_norm_rms_epsilon"), 1e-5);
  config.sliding_window = meta.get_int_or(key("attention.sliding_window"), 0);
  config.rope_theta = meta.get_number_or(key("rope.freq_base"), 10000);
  set_scaling(config, meta.get_string_or(key("rope.scaling.type"), ""), what);
  const double older_factor = meta.get_number_or(key("rope.scale_linear"), 1);
  config.rope_factor = meta.get_number_or(key("rope.scaling.factor"), older_factor);
  if (older_factor != 1) config.rope_scaling = RopeScaling::kLinear;
  config.tied_head = checkpoint.find("output.weight") == nullptr;

  const std::vector<std::string>* tokens = meta.find_strings("tokenizer.ggml.tokens");
  const tensor::NamedTensor* embedding = checkpoint.find("token_embd.weight");
  const int64_t rows = embedding && embedding->view.shape.size() == 2 ? embedding->view.shape[0] : 0;
  config.vocab_size = meta.get_int_or(key("vocab_size"), tokens ? static_cast<int64_t>(tokens->size()) : rows);
}

double shortest_decimal(double value) {
  const auto single = static_cast<float>(value);
  return static_cast<double>(single) == value ? std::stod(fmt::format("{}", single)) : value;
}

void check_decoder_config(const ModelConfig& c, const std::string& what) {
  std::string faults;
  auto within = [&](const char* name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      faults += fmt::format("{}{} is {}, must be {} to {}", faults.empty() ? "" : "; ", name, value, least, most);
  };
  within("the vocabulary", c.vocab_size, 1, int64_t{1} << 24);
  within("the hidden size", c.hidden_size, 1, int64_t{1} << 20);
  within("the number of layers", c.layers, 1, 4096);
  within("the number of heads", c.heads, 1, 1 << 16);
  within("the number of key-value heads", c.kv_heads, 1, 1 << 16);
  within("the head size", c.head_dim, 2, 1 << 14);
  within("the feed-forward size", c.ffn_size, 1, int64_t{1} << 24);
  within("the context length", c.context_length, 1, int64_t{1} << 30);
  within("the sliding window", c.sliding_window, 0, int64_t{1} << 40);
  auto require = [&](bool holds, const std::string& message) {
    if (!holds) faults += (faults.empty() ? "" : "; ") + message;
  };
  require(c.kv_heads <= 0 || c.heads % c.kv_heads == 0,
          fmt::format("{} heads cannot share {} key-value heads evenly", c.heads, c.kv_heads));
  require(c.head_dim % 2 == 0, fmt::format("the head size {} is odd", c.head_dim));
  require(std::isfinite(c.norm_epsilon) && c.norm_epsilon >= 0, fmt::format("the norm epsilon is {}", c.norm_epsilon));
  require(std::isfinite(c.rope_theta) && c.rope_theta > 0, fmt::format("the rotary base is {}", c.rope_theta));
  require(std::isfinite(c.rope_factor) && c.rope_factor > 0, fmt::format("the rotary factor is {}", c.rope_factor));
  if (c.rope_scaling == RopeScaling::kLlama3) {
    within("the original context of the rotary scaling", c.rope_original_context, 1, int64_t{1} << 30);
    require(c.rope_high_freq_factor > c.rope_low_freq_factor && c.rope_low_freq_factor > 0,
            "the frequency factors of the rotary scaling are not in order");
  }
  if (!faults.empty()) fail(ErrorKind::kBadInput, "[models] {}: {}; the configuration is damaged", what, faults);
}

}  // namespace hone::models
