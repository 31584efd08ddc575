// Any opened model as GGUF: names and row order of GGUF, metadata made from config, tokenizer and template.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "models/decoder_blocks.h"
#include "models/export.h"
#include "models/export_common.h"
#include "models/export_tokenizer.h"
#include "models/rope.h"

namespace hone::models {

namespace {

using tensor::FormatId;

// "135M", "1.2B": as published models are labelled.
std::string size_label(uint64_t parameters) {
  if (parameters >= 1'000'000'000) return fmt::format("{:.1f}B", static_cast<double>(parameters) * 1e-9);
  if (parameters >= 1'000'000) return fmt::format("{:.0f}M", static_cast<double>(parameters) * 1e-6);
  return fmt::format("{:.0f}K", static_cast<double>(parameters) * 1e-3);
}

void write_general(const Model& model, tensor::Metadata& meta) {
  meta.set("general.architecture", model.config.architecture);
  meta.set("general.type", std::string("model"));
  const Json json = parse_json(model.checkpoint->texts.at("config.json"), "config.json");
  const Json* kept = json_find(json, kGeneralKey);
  std::string name = json_string_or(json, "_name_or_path", "", "config.json");
  if (name.empty()) name = std::filesystem::absolute(model.checkpoint->path).lexically_normal().filename().string();
  if (name.empty()) name = std::filesystem::absolute(model.checkpoint->path).parent_path().filename().string();
  meta.set("general.name", name);
  meta.set("general.size_label", size_label(model.parameters()));
  if (kept && kept->is_object()) restore_general(*kept, meta);
  meta.set("general.file_type", gguf_file_type(dominant_format(model)));
}

tensor::Metadata make_metadata(const Model& model) {
  tensor::Metadata meta;
  write_general(model, meta);
  model.family->write_gguf_metadata(model.config, meta);
  const auto& texts = model.checkpoint->texts;
  if (texts.count("tokenizer.json") || texts.count("tokenizer.model"))
    write_gguf_vocab(*load_tokenizer(*model.checkpoint), static_cast<size_t>(model.config.vocab_size),
                     model.checkpoint->source_name(), meta);
  else meta.set("tokenizer.ggml.model", std::string("none"));
  if (std::string source = chat_template_source(*model.checkpoint); !source.empty())
    meta.set("tokenizer.chat_template", std::move(source));
  return meta;
}

// What GGUF stores for a tensor: vectors as F32, types it cannot carry as F32 when that is exact, groups of other tools
// in the smallest format with the same numbers (their own, and the reason, where there is none).
FormatId stored_format(const Model& model, const TensorInfo& info, std::string& reason) {
  const tensor::QuantFormat& format = tensor::format(model.source(info).view.format);
  if (info.keep_f32) return FormatId::kF32;
  if (format.gguf_type >= 0) return format.id;
  if (format.quantized()) {
    const auto exact = tensor::exact_target(model.source(info).view, tensor::Container::kGguf, &reason);
    return exact.value_or(format.id);
  }
  if (tensor::dtype_bits(format.dtype) > 32)
    fail(ErrorKind::kUnsupported, "[models] tensor '{}': {} is not carried to GGUF", model.source_name(info), format.name);
  return FormatId::kF32;
}

// The model is shared by all closures: a shared_ptr keeps its checkpoint mapped until the writer is done.
void produce_from_hf(const tensor::TensorView& view, const TensorInfo& info, FormatId format, std::span<std::byte> dst) {
  std::vector<float> decoded;
  std::vector<std::byte> stored;
  std::span<const std::byte> bytes = view.bytes;
  if (format != view.format && tensor::format(format).quantized()) {
    stored.resize(dst.size());
    std::string reason;
    if (!tensor::transcode(view, format, stored, &reason))
      fail(ErrorKind::kBadInput, "[models] tensor '{}' changed while it was written: {}", info.gguf_name, reason);
    bytes = stored;
  } else if (format != view.format || info.gguf_offset != 0) {
    decoded = tensor::decode(view);
    if (info.gguf_offset != 0)
      for (float& value : decoded) value += info.gguf_offset;
    bytes = std::as_bytes(std::span<const float>(decoded));
  } else if (view.source) {
    if (info.permuted_heads == 0) return tensor::read_all(view, dst);
    stored.resize(dst.size());
    tensor::read_all(view, stored);
    bytes = stored;
  }
  HONE_CHECK(bytes.size() == dst.size());
  if (info.permuted_heads > 0) permute_rows(bytes, dst, info.shape[0], info.permuted_heads, true);
  else if (!bytes.empty()) std::memcpy(dst.data(), bytes.data(), bytes.size());
}

// Divisors of the rotary frequencies that GGUF keeps as tensors and config.json as parameters.
void add_rope_factors(const Model& model, GgufExport& out) {
  std::vector<std::pair<const char*, std::vector<float>>> wanted;
  if (model.config.rope_scaling == RopeScaling::kLlama3) wanted = {{"rope_freqs.weight", rope_factors(model.config)}};
  if (model.config.rope_scaling == RopeScaling::kLongRope)
    wanted = {{kLongFactors, model.config.rope_long_factors}, {kShortFactors, model.config.rope_short_factors}};
  std::ptrdiff_t at = 1;  // after the embedding, before the blocks, where converters put them
  for (const auto& entry : wanted) {
    const std::vector<float>& factors = entry.second;
    TensorInfo info{entry.first, "", Role::kRopeFactors, -1, {static_cast<int64_t>(factors.size())}, false, 0, true};
    out.tensors.insert(out.tensors.begin() + at, {info.gguf_name, FormatId::kF32, info.shape, [factors](std::span<std::byte> dst) {
                                                    std::memcpy(dst.data(), factors.data(), dst.size());
                                                  }});
    out.infos.insert(out.infos.begin() + at++, std::move(info));
  }
}

// The format with the most elements among what is written.
FormatId dominant_format(const GgufExport& out) {
  std::map<FormatId, uint64_t> elements;
  for (size_t i = 0; i < out.tensors.size(); ++i)
    if (!out.infos[i].keep_f32) elements[out.tensors[i].format] += tensor::element_count(out.tensors[i].shape);
  const auto most = std::ranges::max_element(elements, {}, [](const auto& entry) { return entry.second; });
  return most == elements.end() ? FormatId::kF32 : most->first;
}

}  // namespace

uint32_t gguf_file_type(FormatId format) {
  static constexpr std::pair<FormatId, uint32_t> kTypes[] = {
      {FormatId::kF32, 0},     {FormatId::kF16, 1},     {FormatId::kQ4_0, 2},  {FormatId::kQ4_1, 3},
      {FormatId::kQ8_0, 7},    {FormatId::kQ5_0, 8},    {FormatId::kQ5_1, 9},  {FormatId::kQ2_K, 10},
      {FormatId::kQ3_K, 12},   {FormatId::kQ4_K, 15},   {FormatId::kQ5_K, 17}, {FormatId::kQ6_K, 18},
      {FormatId::kIQ4_NL, 25}, {FormatId::kIQ4_XS, 30}, {FormatId::kBF16, 32}, {FormatId::kMXFP4, 38},
      {FormatId::kQ2_0, 41},   {FormatId::kIQ2_XXS, 19}, {FormatId::kIQ2_XS, 20}, {FormatId::kIQ3_XXS, 23},
      {FormatId::kIQ1_S, 24},  {FormatId::kIQ3_S, 26},  {FormatId::kIQ2_S, 28}, {FormatId::kIQ1_M, 31},
      {FormatId::kTQ1_0, 36},  {FormatId::kTQ2_0, 37},  {FormatId::kNVFP4, 39}, {FormatId::kQ1_0, 40}};
  for (const auto& [id, type] : kTypes)
    if (id == format) return type;
  return 1024;
}

GgufExport export_gguf(const Model& model) {
  GgufExport out;
  const std::shared_ptr<tensor::Checkpoint> checkpoint = model.checkpoint;
  const bool from_gguf = checkpoint->kind == tensor::CheckpointKind::kGguf;
  std::vector<std::string> source_formats;
  for (const TensorInfo& info : model.tensor_infos) {
    const tensor::TensorView view = model.source(info).view;
    std::string reason;
    const FormatId format = from_gguf ? view.format : stored_format(model, info, reason);
    if (tensor::format(format).gguf_type < 0) out.not_exact[info.gguf_name] = reason;
    if (format != view.format && tensor::format(format).quantized())
      source_formats.push_back(fmt::format("{}={}", info.gguf_name, tensor::format(view.format).name));
    out.infos.push_back(info);
    if (from_gguf)
      out.tensors.push_back({info.gguf_name, format, view.shape, [checkpoint, view](std::span<std::byte> dst) {
                               tensor::read_all(view, dst);
                             }, view});
    else
      out.tensors.push_back({info.gguf_name, format, view.shape, [checkpoint, view, info, format](std::span<std::byte> dst) {
                               produce_from_hf(view, info, format, dst);
                             }});
    const bool as_it_lies = format == view.format && info.permuted_heads == 0 && info.gguf_offset == 0;
    if (!from_gguf && as_it_lies) out.tensors.back().view = view;
  }
  if (from_gguf) {
    out.metadata = checkpoint->metadata;
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) out.metadata.erase(key);
  } else {
    for (const std::string& caution : model.family->gguf_cautions(model.config))
      logger().warn("[models] {}: {}", model.checkpoint->source_name(), caution);
    out.metadata = make_metadata(model);
    if (!source_formats.empty()) {
      out.metadata.set("general.file_type", gguf_file_type(dominant_format(out)));
      out.metadata.set(kSourceFormatsKey, tensor::make_array(std::move(source_formats)));
    }
    add_rope_factors(model, out);
  }
  return out;
}

}  // namespace hone::models
