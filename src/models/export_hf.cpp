// Any opened model as a Hugging Face directory: config.json in the older key form that most tools read, tokenizer and
// template files, tensors under their Hugging Face names and row order.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "models/export.h"
#include "models/export_common.h"
#include "models/export_tokenizer.h"
#include "models/rope.h"

namespace hone::models {

namespace {

using tensor::FormatId;

const char* torch_dtype(FormatId format) {
  return format == FormatId::kBF16 ? "bfloat16" : format == FormatId::kF16 ? "float16" : "float32";
}

// The plain type that the written model is in.
FormatId target_format(const Model& model, std::optional<FormatId> dequantize_to) {
  if (dequantize_to) return *dequantize_to;
  const FormatId format = dominant_format(model);
  return tensor::format(format).quantized() ? FormatId::kF32 : format;
}

// Vectors that GGUF widened to F32 go back to the model's type when that loses nothing: the same F32 comes of them
// again. With an offset several numbers give the same sum; any of them will do.
bool fits_exactly(const tensor::TensorView& view, float offset, FormatId target) {
  if (target != FormatId::kBF16 && target != FormatId::kF16) return false;
  for (const float value : tensor::decode(view)) {
    const float plain = value - offset;
    const float again = target == FormatId::kBF16 ? bf16_to_f32(f32_to_bf16(plain)) : f16_to_f32(f32_to_f16(plain));
    if (std::bit_cast<uint32_t>(again + offset) != std::bit_cast<uint32_t>(value)) return false;
  }
  return true;
}

FormatId written_format(const Model& model, const TensorInfo& info, FormatId target, bool dequantize) {
  const tensor::TensorView& view = model.source(info).view;
  const tensor::QuantFormat& format = tensor::format(view.format);
  if (format.quantized()) {
    if (!dequantize)
      fail(ErrorKind::kUnsupported,
           "[models] tensor '{}' is stored as {}, which safetensors cannot carry; name a plain type to decode to (BF16, F16, F32)",
           model.source_name(info), format.name);
    return target;
  }
  if (info.keep_f32 && view.format == FormatId::kF32 && fits_exactly(view, info.gguf_offset, target)) return target;
  return view.format;
}

void produce_for_hf(const tensor::TensorView& view, const TensorInfo& info, FormatId format, std::span<std::byte> dst) {
  std::vector<std::byte> converted;
  std::span<const std::byte> bytes = view.bytes;
  if (format != view.format || info.gguf_offset != 0) {
    converted.resize(dst.size());
    const uint64_t row_bytes = tensor::format_bytes(format, static_cast<uint64_t>(view.row_length()));
    std::vector<float> row(static_cast<size_t>(view.row_length()));
    for (uint64_t r = 0; r < view.rows(); ++r) {
      tensor::decode_rows(view, r, 1, row.data());
      if (info.gguf_offset != 0)
        for (float& value : row) value -= info.gguf_offset;
      tensor::format(format).encode(row.data(), converted.data() + r * row_bytes, row.size());
    }
    bytes = converted;
  } else if (view.source) {
    converted.resize(dst.size());
    tensor::read_all(view, converted);
    bytes = converted;
  }
  HONE_CHECK(bytes.size() == dst.size());
  if (info.permuted_heads > 0) permute_rows(bytes, dst, info.shape[0], info.permuted_heads, false);
  else if (!bytes.empty()) std::memcpy(dst.data(), bytes.data(), bytes.size());
}

// GGUF states llama3 scaling as divisors; config.json wants the parameters.
ModelConfig hf_config_of(const Model& model) {
  ModelConfig config = model.config;
  for (const TensorInfo& info : model.tensor_infos) {
    if (info.role != Role::kRopeFactors || config.rope_scaling == RopeScaling::kLongRope) continue;
    const std::vector<float> factors = tensor::decode(model.source(info).view);
    const bool neutral = std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1.0f; });
    if (!neutral && !fit_llama3_scaling(factors, config))
      fail(ErrorKind::kUnsupported, "[models] {}: the rotary factors of '{}' follow no scaling that config.json can state",
           model.checkpoint->source_name(), model.source_name(info));
  }
  return config;
}

void write_texts(const Model& model, FormatId target, HfExport& out) {
  std::unique_ptr<text::Tokenizer> tokenizer;
  if (model.checkpoint->metadata.find_strings("tokenizer.ggml.tokens")) tokenizer = load_tokenizer(*model.checkpoint);
  Json config = parse_json(model.family->write_hf_config(hf_config_of(model), tokenizer.get()), "config.json");
  config["torch_dtype"] = torch_dtype(target);
  if (Json kept = kept_general(model.checkpoint->metadata); !kept.empty()) {
    if (kept.contains("general.name")) config["_name_or_path"] = kept["general.name"];
    config[kGeneralKey] = std::move(kept);
  }
  out.texts["config.json"] = dump_json(config, 2) + "\n";
  if (!tokenizer) return;
  out.texts.merge(hf_tokenizer_texts(*model.checkpoint, *tokenizer, model.config.context_length));
}

}  // namespace

HfExport export_hf(const Model& model, std::optional<FormatId> dequantize_to) {
  if (dequantize_to && (tensor::format(*dequantize_to).quantized() || !tensor::format(*dequantize_to).encode))
    fail(ErrorKind::kUsage, "[models] {} is no plain type to decode to", tensor::format(*dequantize_to).name);
  HfExport out;
  const std::shared_ptr<tensor::Checkpoint> checkpoint = model.checkpoint;
  const bool from_hf = checkpoint->kind == tensor::CheckpointKind::kHuggingFace;
  const FormatId target = target_format(model, dequantize_to);
  for (const TensorInfo& info : model.tensor_infos) {
    if (info.role == Role::kRopeFactors) continue;  // config.json carries the scaling
    const tensor::TensorView view = model.source(info).view;
    TensorInfo placed = info;
    if (from_hf) placed.permuted_heads = 0, placed.gguf_offset = 0;
    const bool as_it_is = from_hf && !tensor::format(view.format).quantized();
    const FormatId format = as_it_is ? view.format : written_format(model, info, target, dequantize_to.has_value());
    out.tensors.push_back({info.hf_name, format, view.shape, [checkpoint, view, placed, format](std::span<std::byte> dst) {
                             produce_for_hf(view, placed, format, dst);
                           }});
  }
  if (from_hf) out.texts = plain_texts(*checkpoint);
  else write_texts(model, target, out);
  return out;
}

}  // namespace hone::models
