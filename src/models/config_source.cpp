// Decoder configuration from both containers, and the sanity checks before anything is allocated by it.
#include "models/config_source.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "models/rope.h"

namespace hone::models {

namespace {

constexpr int64_t kMaxLayers = 4096;

// No window anywhere is no window; one everywhere needs no list.
void normalize_windows(ModelConfig& config) {
  const auto sliding = std::count(config.sliding_layers.begin(), config.sliding_layers.end(), true);
  if (sliding == 0) config.sliding_window = 0;
  if (sliding == 0 || sliding == config.layers) config.sliding_layers.clear();
}

bool is_hf(const tensor::Checkpoint& checkpoint) { return checkpoint.kind == tensor::CheckpointKind::kHuggingFace; }

void set_scaling(ModelConfig& config, const std::string& type, const std::string& what) {
  static constexpr std::pair<const char*, RopeScaling> kTypes[] = {
      {"", RopeScaling::kNone},         {"default", RopeScaling::kNone},      {"none", RopeScaling::kNone},
      {"linear", RopeScaling::kLinear}, {"llama3", RopeScaling::kLlama3},     {"yarn", RopeScaling::kYarn},
      {"su", RopeScaling::kLongRope},   {"longrope", RopeScaling::kLongRope},
  };
  for (const auto& [name, scaling] : kTypes)
    if (type == name) {
      config.rope_scaling = scaling;
      return;
    }
  fail(ErrorKind::kUnsupported, "[models] {}: rotary scaling '{}' is not supported for this family", what, type);
}

std::vector<float> factor_list(const Json& rope, const char* key, const std::string& what) {
  const Json* list = json_find(rope, key);
  std::vector<float> factors;
  if (list && list->is_array())
    for (const Json& item : *list)
      if (item.is_number()) factors.push_back(item.get<float>());
  if (!list || !list->is_array() || factors.size() != list->size())
    fail(ErrorKind::kBadInput, "[models] {}: '{}' of the rotary scaling must be a list of numbers", what, key);
  return factors;
}

// `rope_parameters` of transformers 5 may be one object per kind of layer.
const Json* find_hf_rope(const Json& json, const std::string& what, ModelConfig& config) {
  const Json* rope = json_find(json, "rope_parameters");
  if (!rope) rope = json_find(json, "rope_scaling");
  if (!rope) return nullptr;
  if (!rope->is_object()) fail(ErrorKind::kBadInput, "[models] {}: 'rope_scaling' must be an object", what);
  if (const Json* sliding = json_find(*rope, "sliding_attention"); sliding && sliding->is_object())
    config.rope_local_theta = json_number_or(*sliding, "rope_theta", config.rope_local_theta, what);
  const Json* full = json_find(*rope, "full_attention");
  return full && full->is_object() ? full : rope;
}

// `rope_scaling` (older) or `rope_parameters` (transformers 5) as one object.
void read_hf_rope(const Json& json, const std::string& what, ModelConfig& config) {
  config.rope_theta = json_number_or(json, "rope_theta", config.rope_theta, what);
  const Json* found = find_hf_rope(json, what, config);
  const Json none = Json::object();
  const Json& rope = found ? *found : none;
  config.rope_theta = json_number_or(rope, "rope_theta", config.rope_theta, what);
  set_scaling(config, json_string_or(rope, "rope_type", json_string_or(rope, "type", "", what), what), what);
  config.rope_low_freq_factor = json_number_or(rope, "low_freq_factor", 1, what);
  config.rope_high_freq_factor = json_number_or(rope, "high_freq_factor", 4, what);
  config.rope_beta_fast = json_number_or(rope, "beta_fast", 32, what);
  config.rope_beta_slow = json_number_or(rope, "beta_slow", 1, what);
  config.rope_original_context = json_int_or(rope, "original_max_position_embeddings", 0, what);
  config.rope_original_context =
      json_int_or(json, "original_max_position_embeddings", config.rope_original_context, what);
  if (config.rope_scaling == RopeScaling::kNone) config.rope_original_context = 0;
  const bool stretched = config.rope_scaling == RopeScaling::kYarn || config.rope_scaling == RopeScaling::kLongRope;
  if (stretched && config.rope_original_context <= 0) config.rope_original_context = config.context_length;
  const double ratio = stretched && config.rope_original_context > 0
                           ? static_cast<double>(config.context_length) / static_cast<double>(config.rope_original_context)
                           : 1;
  config.rope_factor = json_number_or(rope, "factor", ratio, what);
  if (config.rope_scaling == RopeScaling::kLongRope) {
    config.rope_short_factors = factor_list(rope, "short_factor", what);
    config.rope_long_factors = factor_list(rope, "long_factor", what);
  }
  config.rope_attention_factor = json_number_or(rope, "attention_factor", default_attention_factor(config), what);
  const double partial =
      json_number_or(rope, "partial_rotary_factor", json_number_or(json, "partial_rotary_factor", 1, what), what);
  if (!(partial > 0 && partial <= 1))
    fail(ErrorKind::kBadInput, "[models] {}: partial_rotary_factor {} must be above 0 and at most 1", what, partial);
  if (partial != 1) config.rotary_dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * partial);
}

// MLX tags the numbers that JSON lacks: {"__float__": "Infinity"}, "-Infinity", "NaN".
void untag_numbers(Json& json) {
  if (json.is_object() && json.size() == 1 && json.contains("__float__") && json.front().is_string()) {
    const std::string text = json.front().get<std::string>();
    if (text == "NaN") json = std::numeric_limits<double>::quiet_NaN();
    else if (text == "Infinity") json = std::numeric_limits<double>::infinity();
    else if (text == "-Infinity") json = -std::numeric_limits<double>::infinity();
    return;
  }
  if (json.is_structured())
    for (Json& item : json) untag_numbers(item);
}

}  // namespace

Json hf_config(const tensor::Checkpoint& checkpoint) {
  const auto found = checkpoint.texts.find("config.json");
  if (found == checkpoint.texts.end())
    fail(ErrorKind::kBadInput, "[models] {}: no config.json beside the weights", checkpoint.source_name());
  Json json = parse_json(found->second, checkpoint.source_name() + "/config.json");
  if (!json.is_object())
    fail(ErrorKind::kBadInput, "[models] {}/config.json: must be a JSON object", checkpoint.source_name());
  untag_numbers(json);
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

bool names_family(const tensor::Checkpoint& checkpoint, std::string_view gguf, std::string_view hf_architecture,
                  std::string_view model_type) {
  if (!is_hf(checkpoint)) return gguf_architecture(checkpoint) == gguf;
  const std::vector<std::string> names = hf_architectures(checkpoint);
  return names.empty() ? hf_model_type(checkpoint) == model_type : names[0] == hf_architecture;
}

void read_hf_decoder(const Json& json, const std::string& what, ModelConfig& config) {
  config.vocab_size = json_int(json, "vocab_size", what);
  config.hidden_size = json_int(json, "hidden_size", what);
  config.layers = json_int(json, "num_hidden_layers", what);
  config.heads = json_int(json, "num_attention_heads", what);
  config.kv_heads = json_int_or(json, "num_key_value_heads", config.heads, what);
  const int64_t even_share = config.heads > 0 ? config.hidden_size / config.heads : 0;
  config.head_dim = json_int_or(json, "head_dim", config.head_dim > 0 ? config.head_dim : even_share, what);
  config.ffn_size = json_int(json, "intermediate_size", what);
  config.context_length = json_int_or(json, "max_position_embeddings", 2048, what);
  config.norm_epsilon = json_number_or(json, "rms_norm_eps", 1e-6, what);
  config.tied_head = json_bool_or(json, "tie_word_embeddings", config.tied_head, what);
  read_hf_rope(json, what, config);
  config.rope_interleaved = false;
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
  config.rotary_dim = meta.get_int_or(key("rope.dimension_count"), config.head_dim);
  if (config.rotary_dim == config.head_dim) config.rotary_dim = 0;
  config.ffn_size = meta.get_int(key("feed_forward_length"));
  config.context_length = meta.get_int(key("context_length"));
  config.norm_epsilon = meta.get_number_or(key("attention.layer_norm_rms_epsilon"), 1e-5);
  config.rope_theta = meta.get_number_or(key("rope.freq_base"), 10000);
  set_scaling(config, meta.get_string_or(key("rope.scaling.type"), ""), what);
  const double older_factor = meta.get_number_or(key("rope.scale_linear"), 1);
  config.rope_factor = meta.get_number_or(key("rope.scaling.factor"), older_factor);
  if (older_factor != 1) config.rope_scaling = RopeScaling::kLinear;
  config.rope_original_context = meta.get_int_or(key("rope.scaling.original_context_length"), 0);
  if (config.rope_scaling == RopeScaling::kYarn && config.rope_original_context <= 0)
    config.rope_original_context = config.context_length;
  config.rope_beta_fast = meta.get_number_or(key("rope.scaling.yarn_beta_fast"), 32);
  config.rope_beta_slow = meta.get_number_or(key("rope.scaling.yarn_beta_slow"), 1);
  // For yarn GGUF keeps what comes on top of the usual factor, for longrope the factor itself.
  if (config.rope_scaling == RopeScaling::kYarn)
    config.rope_attention_factor =
        default_attention_factor(config) * meta.get_number_or(key("rope.scaling.attn_factor"), 1);
  config.tied_head = checkpoint.find("output.weight") == nullptr;

  const std::vector<std::string>* tokens = meta.find_strings("tokenizer.ggml.tokens");
  const tensor::NamedTensor* embedding = checkpoint.find("token_embd.weight");
  const int64_t rows = embedding && embedding->view.shape.size() == 2 ? embedding->view.shape[0] : 0;
  config.vocab_size = meta.get_int_or(key("vocab_size"), tokens ? static_cast<int64_t>(tokens->size()) : rows);
}

void read_hf_windows(const Json& json, const std::string& what, const std::function<bool(int64_t)>& sliding,
                     ModelConfig& config) {
  config.sliding_window = json_int_or(json, "sliding_window", json.contains("sliding_window") ? 0 : config.sliding_window, what);
  if (config.sliding_window <= 0) return;
  if (config.layers < 0 || config.layers > kMaxLayers) return;  // check_decoder_config refuses it
  const Json* types = json_find(json, "layer_types");
  if (types && (!types->is_array() || types->size() != static_cast<size_t>(config.layers)))
    fail(ErrorKind::kBadInput, "[models] {}: 'layer_types' must list one kind for each of {} layers", what, config.layers);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (!types) {
      config.sliding_layers.push_back(sliding(layer));
      continue;
    }
    const Json& type = (*types)[static_cast<size_t>(layer)];
    const std::string name = type.is_string() ? type.get<std::string>() : "";
    if (name != "sliding_attention" && name != "full_attention")
      fail(ErrorKind::kUnsupported, "[models] {}: layer type '{}' is not supported for this family", what, name);
    config.sliding_layers.push_back(name == "sliding_attention");
  }
  normalize_windows(config);
}

void read_hf_late_windows(const Json& json, const std::string& what, ModelConfig& config) {
  if (!json_bool_or(json, "use_sliding_window", false, what)) return;
  const int64_t first = json_int_or(json, "max_window_layers", 28, what);
  config.sliding_window = 4096;  // where the key is left out
  read_hf_windows(json, what, [&](int64_t layer) { return layer >= first; }, config);
}

void read_gguf_windows(const tensor::Checkpoint& checkpoint, int64_t fallback_period, ModelConfig& config) {
  const std::string key = config.architecture + ".attention.sliding_window", what = checkpoint.source_name();
  config.sliding_window = checkpoint.metadata.get_int_or(key, config.sliding_window);
  if (config.sliding_window <= 0 || config.layers < 0 || config.layers > kMaxLayers) return;
  int64_t period = fallback_period;
  const tensor::MetaValue* pattern = checkpoint.metadata.find(key + "_pattern");
  const auto* array = pattern ? std::get_if<std::shared_ptr<const tensor::MetaArray>>(pattern) : nullptr;
  if (array) {
    const auto* flags = std::get_if<std::vector<bool>>(&(*array)->values);
    std::vector<int64_t> numbers;
    if (!flags) numbers = checkpoint.metadata.get_ints(key + "_pattern");
    const size_t count = flags ? flags->size() : numbers.size();
    if (count != static_cast<size_t>(config.layers))
      fail(ErrorKind::kBadInput, "[models] {}: '{}_pattern' has {} entries for {} layers", what, key, count, config.layers);
    for (size_t i = 0; i < count; ++i) config.sliding_layers.push_back(flags ? (*flags)[i] : numbers[i] != 0);
  } else {
    if (pattern) period = checkpoint.metadata.get_int(key + "_pattern");
    for (int64_t layer = 0; layer < config.layers; ++layer)
      config.sliding_layers.push_back(period <= 0 || layer % period < period - 1);
  }
  normalize_windows(config);
}

void require_plain_rotation(const ModelConfig& config, const std::string& what) {
  if (config.rotary_width() != config.head_dim)
    fail(ErrorKind::kUnsupported, "[models] {}: rotation of a part of each head ({} of {}) is not supported for this family",
         what, config.rotary_width(), config.head_dim);
  if (config.rope_scaling == RopeScaling::kLongRope)
    fail(ErrorKind::kUnsupported, "[models] {}: rotary scaling 'longrope' is not supported for this family", what);
}

void require_activation(const Json& json, const char* key, std::initializer_list<const char*> names,
                        const std::string& what) {
  const std::string given = json_string_or(json, key, *names.begin(), what);
  if (std::none_of(names.begin(), names.end(), [&](const char* name) { return given == name; }))
    fail(ErrorKind::kUnsupported, "[models] {}: activation '{}' is not supported for this family", what, given);
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
  within("the number of layers", c.layers, 1, kMaxLayers);
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
  within("the rotating part of a head", c.rotary_width(), 2, c.head_dim);
  require(c.rotary_width() % 2 == 0, fmt::format("the rotating part of a head, {}, is odd", c.rotary_width()));
  for (const auto& [name, value] : {std::pair{"the local rotary base", c.rope_local_theta}, {"the attention scale", c.attention_scale},
                                    {"the cap of the scores", c.attention_softcap}, {"the cap of the logits", c.logit_softcap}})
    require(std::isfinite(value) && value >= 0, fmt::format("{} is {}", name, value));
  require(std::isfinite(c.embedding_scale) && c.embedding_scale != 0, fmt::format("the embedding's scale is {}", c.embedding_scale));
  require(std::isfinite(c.rope_attention_factor) && c.rope_attention_factor > 0,
          fmt::format("the rotary attention factor is {}", c.rope_attention_factor));
  if (c.rope_scaling == RopeScaling::kYarn || c.rope_scaling == RopeScaling::kLongRope)
    within("the original context of the rotary scaling", c.rope_original_context, 1, int64_t{1} << 30);
  if (c.rope_scaling == RopeScaling::kYarn)
    require(c.rope_beta_fast > 0 && c.rope_beta_slow > 0 && c.rope_theta > 1, "the yarn parameters are not positive");
  if (c.rope_scaling == RopeScaling::kLongRope) {
    for (const auto* factors : {&c.rope_short_factors, &c.rope_long_factors}) {
      require(factors->size() == static_cast<size_t>(c.rotary_width() / 2),
              fmt::format("{} rotary factors for {} frequencies", factors->size(), c.rotary_width() / 2));
      require(std::all_of(factors->begin(), factors->end(), [](float f) { return std::isfinite(f) && f > 0; }),
              "a rotary factor is not positive");
    }
  }
  if (c.rope_scaling == RopeScaling::kLlama3) {
    within("the original context of the rotary scaling", c.rope_original_context, 1, int64_t{1} << 30);
    require(c.rope_high_freq_factor > c.rope_low_freq_factor && c.rope_low_freq_factor > 0,
            "the frequency factors of the rotary scaling are not in order");
  }
  if (!faults.empty()) fail(ErrorKind::kBadInput, "[models] {}: {}; the configuration is damaged", what, faults);
}

}  // namespace hone::models
