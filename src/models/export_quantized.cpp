// Any opened model as a directory in the quantized layout of MLX, compressed-tensors or GPTQ: numbers kept
// exactly where the layout can hold them, encoded anew only where the caller names a format.
#include <algorithm>

#include "base/error.h"
#include "formats/quantized_write.h"
#include "models/export.h"
#include "models/export_common.h"
#include "quant/encode.h"

namespace hone::models {

namespace {

using tensor::Container;
using tensor::FormatId;
using tensor::OutputTensor;

constexpr std::string_view kWeight = ".weight";

struct Plan {
  FormatId format;  // plain, or a grouped format of the layout
  bool exact = true;
  bool untouched = false;  // plain in the source: as export_hf has it
};

using Formats = std::map<std::string, FormatId>;

// Formats that the tensors had before they became GGUF, as export_gguf noted them: the way back finds the
// same bytes.
Formats earlier_formats(const tensor::Checkpoint& checkpoint) {
  Formats formats;
  const auto* noted = checkpoint.metadata.find(kSourceFormatsKey)
                          ? checkpoint.metadata.find_strings(kSourceFormatsKey)
                          : nullptr;
  if (!noted) return formats;
  for (const std::string& entry : *noted) {
    const size_t at = entry.rfind('=');
    const tensor::QuantFormat* format =
        at == std::string::npos ? nullptr : tensor::find_format(entry.substr(at + 1));
    if (format) formats[entry.substr(0, at)] = format->id;
  }
  return formats;
}

// The type of most scales, which is that of the model's other floats: 16 bits, or F32.
FormatId float_type(const std::vector<Plan>& plans) {
  size_t f16 = 0, bf16 = 0, matrices = 0;
  for (const Plan& plan : plans) {
    const tensor::GroupedLayout* l = tensor::grouped_layout(plan.format);
    if (!l) continue;
    ++matrices;
    f16 += l->scale == tensor::ScaleType::kF16;
    bf16 += l->scale == tensor::ScaleType::kBF16;
  }
  if (2 * f16 > matrices) return FormatId::kF16;
  return 2 * bf16 > matrices ? FormatId::kBF16 : FormatId::kF32;
}

bool floats_only(Container layout, Role role) {
  return layout != Container::kMlx && (role == Role::kEmbedding || role == Role::kHead);
}

Plan plan_tensor(const Model& model, const TensorInfo& info, const HfTarget& target, const Formats& earlier) {
  const tensor::TensorView& view = model.source(info).view;
  const bool quantized = tensor::format(view.format).quantized();
  if (const auto wanted = target.formats.find(info.gguf_name); wanted != target.formats.end()) {
    const FormatId id = wanted->second;
    const tensor::QuantFormat& f = tensor::format(id);
    if (f.quantized() &&
        (!tensor::carries(target.layout, id) || floats_only(target.layout, info.role) || info.keep_f32))
      fail(ErrorKind::kUnsupported,
           "[models] tensor '{}' cannot be {} in the layout of {}; choose another format", info.hf_name,
           f.name, tensor::container_name(target.layout));
    if (id == view.format) return {id};
    if (quantized && f.quantized() && tensor::transcode(view, id, {})) return {id};
    if (!quant::can_encode(id))
      fail(ErrorKind::kUnsupported, "[models] tensor '{}': {} has no encoder", info.hf_name, f.name);
    if (!tensor::divides(id, static_cast<uint64_t>(view.row_length())))
      fail(ErrorKind::kUnsupported, "[models] tensor '{}': rows of {} do not divide into groups of {}",
           info.hf_name, view.row_length(), f.block);
    return {id, false};
  }
  if (!quantized) return {view.format, true, true};
  if (floats_only(target.layout, info.role)) return {FormatId::kF32};
  if (const auto was = earlier.find(info.gguf_name); was != earlier.end())
    if (tensor::carries(target.layout, was->second) && tensor::transcode(view, was->second, {}))
      return {was->second};
  std::string reason;
  if (const auto exact = tensor::exact_target(view, target.layout, &reason)) return {*exact};
  fail(ErrorKind::kUnsupported,
       "[models] tensor '{}' is {}, which {} cannot hold exactly: {}; name a format to encode it in",
       info.hf_name, tensor::format(view.format).name, tensor::container_name(target.layout), reason);
}

// The whole matrix in its target format and in Hugging Face row order.
std::function<void(std::span<std::byte>)> producer(const Model& model, const TensorInfo& info,
                                                   const Plan& plan, const HfTarget& target) {
  const bool permuted = info.permuted_heads > 0 && model.checkpoint->kind == tensor::CheckpointKind::kGguf;
  std::vector<float> importance;
  if (const auto found = target.importances.find(info.gguf_name);
      !plan.exact && found != target.importances.end())
    importance = found->second;
  return [checkpoint = model.checkpoint, view = model.source(info).view, info, plan, permuted, importance,
          pool = target.pool](std::span<std::byte> dst) {
    std::vector<std::byte> ordered(permuted ? dst.size() : 0);
    const auto out = permuted ? std::span(ordered) : dst;
    std::string reason;
    if (!plan.exact)
      quant::encode_tensor(view, plan.format, importance, out, pool);
    else if (!tensor::transcode(view, plan.format, out, &reason))
      fail(ErrorKind::kBadInput, "[models] tensor '{}' changed while it was written: {}", info.hf_name,
           reason);
    if (permuted) permute_rows(ordered, dst, info.shape[0], info.permuted_heads, false);
  };
}

std::string module_of(const TensorInfo& info) {
  if (!info.hf_name.ends_with(kWeight))
    fail(ErrorKind::kUnsupported, "[models] tensor '{}' is no weight of a module; it stays a plain tensor",
         info.hf_name);
  return info.hf_name.substr(0, info.hf_name.size() - kWeight.size());
}

void write_config(const HfTarget& target, const std::vector<formats::WholeMatrix>& matrices,
                  const std::vector<std::string>& plain, HfExport& out) {
  Json config = parse_json(out.texts.at("config.json"), "config.json");
  const Json quantization = formats::quantization_json(target.layout, matrices, plain);
  if (!quantization.is_null()) {
    if (target.layout == Container::kMlx) config["quantization"] = quantization;
    config["quantization_config"] = quantization;
    const tensor::ScaleType scale = tensor::grouped_layout(matrices[0].format)->scale;
    if (scale == tensor::ScaleType::kF16) config["torch_dtype"] = "float16";
    if (scale == tensor::ScaleType::kBF16) config["torch_dtype"] = "bfloat16";
    if (target.layout == Container::kGptq)
      out.texts["quantize_config.json"] = dump_json(quantization, 2) + "\n";
  }
  out.texts["config.json"] = dump_json(config, 2) + "\n";
}

}  // namespace

HfExport export_quantized_hf(const Model& model, const HfTarget& target) {
  if (target.layout == Container::kGguf)
    fail(ErrorKind::kUsage, "[models] GGUF is no layout of a Hugging Face directory");
  const Formats earlier = earlier_formats(*model.checkpoint);
  std::vector<Plan> plans;
  for (const TensorInfo& info : model.tensor_infos)
    if (info.role != Role::kRopeFactors) plans.push_back(plan_tensor(model, info, target, earlier));
  // Texts, and every tensor as floats: those that stay plain are done.
  HfExport out = export_hf(model, float_type(plans));
  std::vector<OutputTensor> floats = std::move(out.tensors), parts;
  out.tensors.clear();
  std::vector<formats::WholeMatrix> matrices;
  std::vector<std::string> plain;
  bool per_row = target.layout != Container::kMlx;  // no matrix has a second scale in a row
  size_t at = 0;
  for (const TensorInfo& info : model.tensor_infos) {
    if (info.role == Role::kRopeFactors) continue;
    const Plan& plan = plans[at];
    OutputTensor& as_floats = floats.at(at++);
    if (!plan.exact) out.changed.push_back(info.gguf_name);
    if (!tensor::format(plan.format).quantized()) {
      if (info.shape.size() == 2 && info.role != Role::kEmbedding && info.hf_name.ends_with(kWeight))
        plain.push_back(module_of(info));
      if (!plan.untouched && plan.format != as_floats.format)
        as_floats = {info.hf_name, plan.format, info.shape,
                     producer(model, info, {plan.format, false}, target)};
      out.tensors.push_back(std::move(as_floats));
      continue;
    }
    formats::WholeMatrix matrix{module_of(info), plan.format, info.shape,
                                producer(model, info, plan, target)};
    per_row = per_row && plan.exact && formats::has_one_scale_per_row(model.source(info).view);
    matrices.push_back(std::move(matrix));
  }
  for (formats::WholeMatrix& matrix : matrices) {
    matrix.one_scale_per_row = per_row;
    for (OutputTensor& part : formats::split_matrix(target.layout, matrix)) parts.push_back(std::move(part));
  }
  write_config(target, matrices, plain, out);
  // Floats by falling size of their elements, then module by module: all aligned, and one matrix in memory at
  // a time.
  std::ranges::stable_sort(out.tensors, std::greater<>{},
                           [](const OutputTensor& t) { return tensor::format(t.format).block_bytes; });
  const auto is_shape = [](const OutputTensor& t) { return t.format == FormatId::kI64; };
  out.tensors.insert(out.tensors.end(), parts.begin(), parts.end());
  std::stable_partition(out.tensors.begin(), out.tensors.end(), is_shape);
  out.options.keep_order = true;
  if (target.layout == Container::kMlx) {
    out.options.framework = "mlx";
    out.options.always_index = true;
  }
  return out;
}

}  // namespace hone::models
