// Decoder configuration into both containers.
#include "models/config_writer.h"

#include <cmath>
#include <functional>

#include "base/error.h"
#include "models/config_source.h"
#include "models/rope.h"

namespace hone::models {

namespace {

void write_gguf_rope(const ModelConfig& config, const std::function<void(const char*, tensor::MetaValue)>& set) {
  set("rope.dimension_count", static_cast<uint32_t>(config.rotary_width()));
  set("rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.rope_local_theta > 0) set("rope.freq_base_swa", static_cast<float>(config.rope_local_theta));
  const bool linear = config.rope_scaling == RopeScaling::kLinear, yarn = config.rope_scaling == RopeScaling::kYarn,
             longrope = config.rope_scaling == RopeScaling::kLongRope;
  if (linear || yarn) {
    set("rope.scaling.type", std::string(linear ? "linear" : "yarn"));
    set("rope.scaling.factor", static_cast<float>(config.rope_factor));
  }
  if (yarn || longrope) set("rope.scaling.original_context_length", static_cast<uint32_t>(config.rope_original_context));
  if (yarn && config.rope_beta_fast != 32) set("rope.scaling.yarn_beta_fast", static_cast<float>(config.rope_beta_fast));
  if (yarn && config.rope_beta_slow != 1) set("rope.scaling.yarn_beta_slow", static_cast<float>(config.rope_beta_slow));
  // For yarn GGUF keeps what comes on top of the usual factor, for longrope the factor itself.
  const double usual = yarn ? default_attention_factor(config) : 1;
  if (longrope || (yarn && config.rope_attention_factor != usual))
    set("rope.scaling.attn_factor", static_cast<float>(config.rope_attention_factor / usual));
}

void write_gguf_windows(const ModelConfig& config, const std::function<void(const char*, tensor::MetaValue)>& set) {
  if (config.sliding_window <= 0) return;
  set("attention.sliding_window", static_cast<uint32_t>(config.sliding_window));
  if (config.sliding_layers.empty()) return;
  if (const int64_t period = window_period(config); period > 0)
    set("attention.sliding_window_pattern", static_cast<uint32_t>(period));
  else
    set("attention.sliding_window_pattern", tensor::make_array(config.sliding_layers));
}

Json hf_rope_scaling(const ModelConfig& config) {
  Json json;
  switch (config.rope_scaling) {
    case RopeScaling::kNone: return nullptr;
    case RopeScaling::kLinear: return {{"type", "linear"}, {"rope_type", "linear"}, {"factor", shortest_decimal(config.rope_factor)}};
    case RopeScaling::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", config.rope_factor},
              {"low_freq_factor", config.rope_low_freq_factor},
              {"high_freq_factor", config.rope_high_freq_factor},
              {"original_max_position_embeddings", config.rope_original_context}};
    case RopeScaling::kYarn:
      json = {{"type", "yarn"},
              {"rope_type", "yarn"},
              {"factor", shortest_decimal(config.rope_factor)},
              {"original_max_position_embeddings", config.rope_original_context}};
      if (config.rope_beta_fast != 32) json["beta_fast"] = shortest_decimal(config.rope_beta_fast);
      if (config.rope_beta_slow != 1) json["beta_slow"] = shortest_decimal(config.rope_beta_slow);
      break;
    case RopeScaling::kLongRope:
      json = {{"type", "longrope"}};  // transformers 4 refuses more than the three keys; the context stands at the top
      for (const auto& [key, factors] : {std::pair{"short_factor", &config.rope_short_factors}, {"long_factor", &config.rope_long_factors}}) {
        json[key] = Json::array();
        for (const float factor : *factors) json[key].push_back(shortest_decimal(static_cast<double>(factor)));
      }
      break;
  }
  const double usual = default_attention_factor(config);
  if (std::abs(config.rope_attention_factor - usual) > 1e-6 * usual)  // what F32 of GGUF loses is no difference
    json["attention_factor"] = shortest_decimal(config.rope_attention_factor);
  return json;
}

}  // namespace

int64_t window_period(const ModelConfig& config) {
  for (int64_t period = 2; period <= config.layers; ++period) {
    bool follows = true;
    for (int64_t layer = 0; layer < config.layers && follows; ++layer)
      follows = config.slides(layer) == (layer % period < period - 1);
    if (follows) return period;
  }
  return 0;
}

void write_gguf_decoder(const ModelConfig& config, tensor::Metadata& metadata) {
  auto set = [&](const char* key, tensor::MetaValue value) {
    metadata.set(fmt::format("{}.{}", config.architecture, key), std::move(value));
  };
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
  if (config.attention_softcap > 0) set("attn_logit_softcapping", static_cast<float>(config.attention_softcap));
  if (config.logit_softcap > 0) set("final_logit_softcapping", static_cast<float>(config.logit_softcap));
  write_gguf_windows(config, set);
  write_gguf_rope(config, set);
  set("vocab_size", size(config.vocab_size));
}

Json layer_types_json(const ModelConfig& config) {
  Json types = Json::array();
  for (int64_t layer = 0; layer < config.layers; ++layer)
    types.push_back(config.slides(layer) ? "sliding_attention" : "full_attention");
  return types;
}

void write_hf_late_windows(const ModelConfig& config, Json& json) {
  json["use_sliding_window"] = config.sliding_window > 0;
  json["sliding_window"] = config.sliding_window > 0 ? Json(config.sliding_window) : Json(nullptr);
  int64_t first = config.sliding_window > 0 ? 0 : config.layers;
  while (first < config.layers && !config.slides(first)) ++first;
  json["max_window_layers"] = first;
  for (int64_t layer = first; layer < config.layers; ++layer)
    if (!config.slides(layer)) json["layer_types"] = layer_types_json(config);
}

std::vector<std::string> ignored_window_caution(const ModelConfig& config) {
  if (config.sliding_window <= 0 || config.sliding_window >= config.context_length) return {};
  return {fmt::format("llama.cpp ignores the sliding window of this architecture; past {} tokens it attends over more than "
                      "the model was made for", config.sliding_window)};
}

Json hf_decoder_json(const ModelConfig& config, const text::Tokenizer* tokenizer, const char* architecture,
                     const char* model_type) {
  Json json;
  json["architectures"] = Json::array({architecture});
  json["model_type"] = model_type;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.ffn_size;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["max_position_embeddings"] = config.context_length;
  json["rms_norm_eps"] = shortest_decimal(config.norm_epsilon);
  json["rope_theta"] = shortest_decimal(config.rope_theta);
  json["rope_scaling"] = hf_rope_scaling(config);
  if (config.rotary_width() != config.head_dim)
    json["partial_rotary_factor"] = static_cast<double>(config.rotary_width()) / static_cast<double>(config.head_dim);
  json["tie_word_embeddings"] = config.tied_head;
  json["vocab_size"] = config.vocab_size;
  if (tokenizer && tokenizer->bos) json["bos_token_id"] = *tokenizer->bos;
  if (tokenizer && tokenizer->eos) json["eos_token_id"] = *tokenizer->eos;
  json["use_cache"] = true;
  return json;
}

}  // namespace hone::models
