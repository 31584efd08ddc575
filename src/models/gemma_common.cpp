// Shared parts of the Gemma families.
#include "models/gemma_common.h"

#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "models/config_writer.h"

namespace hone::models {

namespace {

double plain_scale(const ModelConfig& config) { return static_cast<double>(std::sqrt(static_cast<float>(config.hidden_size))); }

// sqrt(hidden) in the type the table is published in; quantized tables were made from what "dtype" says.
double rounded_scale(const Json& json, const std::string& what, const tensor::Checkpoint& checkpoint,
                     const ModelConfig& config) {
  const tensor::NamedTensor* table = checkpoint.find("model.embed_tokens.weight");
  tensor::FormatId format = table ? table->view.format : tensor::FormatId::kF32;
  if (tensor::format(format).quantized()) {
    const std::string dtype = json_string_or(json, "dtype", json_string_or(json, "torch_dtype", "", what), what);
    format = dtype == "bfloat16" ? tensor::FormatId::kBF16 : dtype == "float16" ? tensor::FormatId::kF16 : tensor::FormatId::kF32;
  }
  const auto scale = static_cast<float>(plain_scale(config));
  if (format == tensor::FormatId::kBF16) return static_cast<double>(bf16_to_f32(f32_to_bf16(scale)));
  if (format == tensor::FormatId::kF16) return static_cast<double>(f16_to_f32(f32_to_f16(scale)));
  return static_cast<double>(scale);
}

double inverse_root(int64_t width) { return 1 / std::sqrt(static_cast<double>(width)); }

// What llama.cpp takes.
double usual_attention_scale(const ModelConfig& config, int64_t wide_layers) {
  return inverse_root(config.layers == wide_layers && config.heads > 0 ? config.hidden_size / config.heads : config.head_dim);
}

}  // namespace

std::vector<TensorInfo> gemma_tensors(const ModelConfig& config, bool head_norms) {
  std::vector<TensorInfo> list = decoder_tensors(config, {.head_norms = head_norms, .post_norms = true});
  for (TensorInfo& info : list)
    if (info.role == Role::kNorm) info.gguf_offset = 1;
  return list;
}

void read_hf_gemma(const Json& json, const std::string& what, const tensor::Checkpoint& checkpoint, ModelConfig& config) {
  config.activation = Activation::kGeluTanh;
  config.tied_head = true;
  config.head_dim = 256;
  read_hf_decoder(json, what, config);
  // "gelu" of the first configs also meant the tanh form.
  require_activation(json, "hidden_activation", {"gelu_pytorch_tanh", "gelu"}, what);
  config.attention_bias = config.output_bias = json_bool_or(json, "attention_bias", false, what);
  config.embedding_scale = rounded_scale(json, what, checkpoint, config);
  const double scalar = json_number_or(json, "query_pre_attn_scalar", 256, what);
  if (!(scalar > 0)) fail(ErrorKind::kBadInput, "[models] {}: query_pre_attn_scalar {} must be positive", what, scalar);
  config.attention_scale = 1 / std::sqrt(scalar);
  if (json_bool_or(json, "use_bidirectional_attention", false, what))
    fail(ErrorKind::kUnsupported, "[models] {}: bidirectional attention is not supported for this family", what);
}

void read_gguf_gemma(const tensor::Checkpoint& checkpoint, int64_t wide_layers, ModelConfig& config) {
  read_gguf_decoder(checkpoint, config);
  const tensor::Metadata& meta = checkpoint.metadata;
  const std::string prefix = config.architecture + ".";
  config.activation = Activation::kGeluTanh;
  config.embedding_scale = meta.get_number_or(prefix + "embedding_scale", plain_scale(config));
  config.attention_scale = meta.get_number_or(prefix + "attention.scale", 0);
  if (config.attention_scale == 0 && config.head_dim > 0) config.attention_scale = usual_attention_scale(config, wide_layers);
  config.attention_softcap = meta.get_number_or(prefix + "attn_logit_softcapping", config.attention_softcap);
  config.logit_softcap = meta.get_number_or(prefix + "final_logit_softcapping", config.logit_softcap);
  config.attention_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
  config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
}

void write_gguf_gemma(const ModelConfig& config, int64_t wide_layers, tensor::Metadata& metadata) {
  write_gguf_decoder(config, metadata);
  const std::string prefix = config.architecture + ".";
  if (config.embedding_scale != plain_scale(config))
    metadata.set(prefix + "embedding_scale", static_cast<float>(config.embedding_scale));
  if (std::abs(config.attention_scale / usual_attention_scale(config, wide_layers) - 1) > 1e-6)
    metadata.set(prefix + "attention.scale", static_cast<float>(config.attention_scale));
  if (!config.sliding_layers.empty()) return;
  // Every layer or none, not the family's usual pattern: a period of 0 or 1.
  metadata.set(prefix + "attention.sliding_window_pattern", uint32_t{config.sliding_window > 0 ? 0u : 1u});
  if (config.sliding_window == 0)
    metadata.set(prefix + "attention.sliding_window", static_cast<uint32_t>(config.context_length));
}

void write_hf_gemma(const ModelConfig& config, Json& json) {
  if (config.attention_bias != config.output_bias)
    fail(ErrorKind::kUnsupported, "[models] config.json of this family cannot say which biases the model has");
  auto cap = [](double value) { return value > 0 ? Json(shortest_decimal(value)) : Json(nullptr); };
  json["hidden_activation"] = "gelu_pytorch_tanh";
  json["attention_bias"] = config.attention_bias;
  json["attn_logit_softcapping"] = cap(config.attention_softcap);
  json["final_logit_softcapping"] = cap(config.logit_softcap);
  const double scalar = 1 / (config.attention_scale * config.attention_scale);
  const double whole = std::round(scalar);
  if (std::abs(scalar - whole) < 1e-5 * scalar) json["query_pre_attn_scalar"] = static_cast<int64_t>(whole);
  else json["query_pre_attn_scalar"] = shortest_decimal(static_cast<double>(static_cast<float>(scalar)));
  json["sliding_window"] = config.sliding_window > 0 ? config.sliding_window : config.context_length;
  json["layer_types"] = layer_types_json(config);
}

std::vector<std::string> gemma_cautions(const ModelConfig& config, int64_t wide_layers) {
  std::vector<std::string> cautions;
  if (std::abs(config.attention_scale / usual_attention_scale(config, wide_layers) - 1) > 1e-6)
    cautions.push_back("llama.cpp takes the usual attention scale of this architecture, not query_pre_attn_scalar");
  if (config.attention_bias) cautions.push_back("llama.cpp knows no attention biases for this architecture");
  return cautions;
}

}  // namespace hone::models
