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

void write_vocab(const Model& model, const text::Tokenizer& tokenizer, tensor::Metadata& meta) {
  text::VocabSpec spec = tokenizer.to_vocab_spec();
  const auto rows = static_cast<size_t>(model.config.vocab_size);
  if (spec.tokens.size() > rows)
    fail(ErrorKind::kUnsupported, "[models] {}: the tokenizer has {} tokens, the model {} rows",
         model.checkpoint->source_name(), spec.tokens.size(), rows);
  // llama.cpp wants a token for every row of the embedding.
  if (!spec.scores.empty()) spec.scores.resize(rows, -1000.0f);
  spec.types.resize(spec.tokens.size(), 1);
  spec.types.resize(rows, 5);
  for (size_t i = spec.tokens.size(); i < rows; ++i) spec.tokens.push_back(fmt::format("[PAD{}]", i));

  auto set = [&](const char* key, tensor::MetaValue value) { meta.set(std::string("tokenizer.ggml.") + key, std::move(value)); };
  set("model", spec.model);
  if (!spec.pre.empty()) set("pre", spec.pre);
  set("tokens", tensor::make_array(std::move(spec.tokens)));
  if (!spec.scores.empty()) set("scores", tensor::make_array(std::move(spec.scores)));
  set("token_type", tensor::make_array(std::move(spec.types)));
  if (!spec.merges.empty()) set("merges", tensor::make_array(std::move(spec.merges)));
  auto set_id = [&](const char* key, std::optional<text::TokenId> id) {
    if (id) set(key, static_cast<uint32_t>(*id));
  };
  set_id("bos_token_id", spec.bos);
  set_id("eos_token_id", spec.eos);
  set_id("eot_token_id", spec.eot);
  set_id("unknown_token_id", spec.unknown);
  set_id("padding_token_id", spec.padding);
  if (spec.add_bos) set("add_bos_token", *spec.add_bos);
  if (spec.add_eos) set("add_eos_token", *spec.add_eos);
  if (spec.add_space_prefix) set("add_space_prefix", *spec.add_space_prefix);
}

tensor::Metadata make_metadata(const Model& model) {
  tensor::Metadata meta;
  write_general(model, meta);
  model.family->write_gguf_metadata(model.config, meta);
  const auto& texts = model.checkpoint->texts;
  if (texts.count("tokenizer.json")) write_vocab(model, *load_tokenizer(*model.checkpoint), meta);
  else meta.set("tokenizer.ggml.model", std::string("none"));
  if (std::string source = chat_template_source(*model.checkpoint); !source.empty())
    meta.set("tokenizer.chat_template", std::move(source));
  return meta;
}

// What GGUF stores for a tensor: vectors as F32, types it cannot carry as F32 when that is exact.
FormatId stored_format(const Model& model, const TensorInfo& info) {
  const tensor::QuantFormat& format = tensor::format(model.source(info).view.format);
  if (info.keep_f32) return FormatId::kF32;
  if (format.gguf_type >= 0) return format.id;
  if (tensor::dtype_bits(format.dtype) > 32)
    fail(ErrorKind::kUnsupported, "[models] tensor '{}': {} is not carried to GGUF", model.source_name(info), format.name);
  return FormatId::kF32;
}

// The model is shared by all closures: a shared_ptr keeps its checkpoint mapped until the writer is done.
void produce_from_hf(const tensor::TensorView& view, const TensorInfo& info, FormatId format, std::span<std::byte> dst) {
  std::vector<float> decoded;
  std::vector<std::byte> stored;
  std::span<const std::byte> bytes = view.bytes;
  if (format != view.format || info.gguf_offset != 0) {
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
  for (auto& [name, factors] : wanted) {
    TensorInfo info{name, "", Role::kRopeFactors, -1, {static_cast<int64_t>(factors.size())}, false, 0, true};
    out.tensors.insert(out.tensors.begin() + at, {info.gguf_name, FormatId::kF32, info.shape, [factors](std::span<std::byte> dst) {
                                                    std::memcpy(dst.data(), factors.data(), dst.size());
                                                  }});
    out.infos.insert(out.infos.begin() + at++, std::move(info));
  }
}

}  // namespace

uint32_t gguf_file_type(FormatId format) {
  static constexpr std::pair<FormatId, uint32_t> kTypes[] = {
      {FormatId::kF32, 0},     {FormatId::kF16, 1},     {FormatId::kQ4_0, 2},  {FormatId::kQ4_1, 3},
      {FormatId::kQ8_0, 7},    {FormatId::kQ5_0, 8},    {FormatId::kQ5_1, 9},  {FormatId::kQ2_K, 10},
      {FormatId::kQ3_K, 12},   {FormatId::kQ4_K, 15},   {FormatId::kQ5_K, 17}, {FormatId::kQ6_K, 18},
      {FormatId::kIQ4_NL, 25}, {FormatId::kIQ4_XS, 30}, {FormatId::kBF16, 32}, {FormatId::kMXFP4, 38},
      {FormatId::kQ2_0, 41}};
  for (const auto& [id, type] : kTypes)
    if (id == format) return type;
  return 1024;
}

GgufExport export_gguf(const Model& model) {
  GgufExport out;
  const std::shared_ptr<tensor::Checkpoint> checkpoint = model.checkpoint;
  const bool from_gguf = checkpoint->kind == tensor::CheckpointKind::kGguf;
  for (const TensorInfo& info : model.tensor_infos) {
    const tensor::TensorView view = model.source(info).view;
    const FormatId format = from_gguf ? view.format : stored_format(model, info);
    out.infos.push_back(info);
    if (from_gguf)
      out.tensors.push_back({info.gguf_name, format, view.shape, [checkpoint, view](std::span<std::byte> dst) {
                               tensor::read_all(view, dst);
                             }});
    else
      out.tensors.push_back({info.gguf_name, format, view.shape, [checkpoint, view, info, format](std::span<std::byte> dst) {
                               produce_from_hf(view, info, format, dst);
                             }});
  }
  if (from_gguf) {
    out.metadata = checkpoint->metadata;
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) out.metadata.erase(key);
  } else {
    for (const std::string& caution : model.family->gguf_cautions(model.config))
      logger().warn("[models] {}: {}", model.checkpoint->source_name(), caution);
    out.metadata = make_metadata(model);
    add_rope_factors(model, out);
  }
  return out;
}

}  // namespace hone::models
