#include "app/conversion.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"
#include "models/export.h"
#include "quant/compare.h"

namespace hone::app {
namespace {

namespace fs = std::filesystem;
using models::Role;
using tensor::Container;
using tensor::FormatId;

constexpr std::pair<Role, const char*> kClasses[] = {
    {Role::kEmbedding, "embedding"}, {Role::kQueryKeyValue, "attention qkv"},
    {Role::kQuery, "attention q"},   {Role::kKey, "attention k"},
    {Role::kValue, "attention v"},   {Role::kAttentionOutput, "attention output"},
    {Role::kGate, "ffn gate"},       {Role::kUp, "ffn up"},
    {Role::kDown, "ffn down"},       {Role::kHead, "head"},
    {Role::kNorm, "norms"},          {Role::kBias, "biases"},
    {Role::kOther, "other"}};

// "SmolLM2-mlx_4bit" holds the word "mlx".
bool has_word(const std::string& text, std::string_view word) {
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto inside = [&](size_t at) {
    return at < lower.size() && std::isalnum(static_cast<unsigned char>(lower[at]));
  };
  for (size_t at = lower.find(word); at != std::string::npos; at = lower.find(word, at + 1))
    if ((at == 0 || !inside(at - 1)) && !inside(at + word.size())) return true;
  return false;
}

// Rows of q and k lie in another order, or norms are stored less 1: those tensors are compared as GGUF has
// them.
quant::Difference tensor_difference(const models::Model& a, const models::Model& b,
                                    const models::TensorInfo& info, const models::TensorInfo& other,
                                    ThreadPool& pool) {
  const bool same_container = a.checkpoint->kind == b.checkpoint->kind;
  if (same_container || (info.permuted_heads == 0 && info.gguf_offset == 0))
    return quant::difference(a.source(info).view, b.source(other).view, &pool);
  const std::vector<float> x = models::gguf_order_f32(a, info), y = models::gguf_order_f32(b, other);
  return quant::difference({FormatId::kF32, info.shape, std::as_bytes(std::span(x))},
                           {FormatId::kF32, info.shape, std::as_bytes(std::span(y))}, &pool);
}

}  // namespace

const std::vector<OutputKind>& output_kinds() {
  static const std::vector<OutputKind> kinds = {
      {"gguf", Container::kGguf, false},
      {"hf", {}},
      {"mlx", Container::kMlx},
      {"gptq", Container::kGptq, true, 128, tensor::ZeroKind::kMiddle},
      {"compressed-tensors", Container::kCompressedTensors, true, 128, tensor::ZeroKind::kMiddle},
  };
  return kinds;
}

const OutputKind& output_kind(const std::string& to, const fs::path& output) {
  const auto named = [&](const std::string& name) -> const OutputKind& {
    const auto found =
        std::ranges::find(output_kinds(), name, [](const OutputKind& k) { return std::string(k.name); });
    if (found == output_kinds().end()) fail(ErrorKind::kUsage, "'{}' is no kind of output", name);
    return *found;
  };
  if (!to.empty()) return named(to);
  if (output.extension() == ".gguf") return named("gguf");
  const std::string name = output.filename().string();
  return named(has_word(name, "mlx") ? "mlx" : has_word(name, "gptq") ? "gptq" : "hf");
}

tensor::ScaleType scale_type(const models::Model& model, const OutputKind& kind) {
  for (const auto& info : model.tensor_infos) {
    if (info.shape.size() < 2) continue;
    const FormatId format = model.source(info).view.format;
    const auto* layout = tensor::grouped_layout(format);
    const bool grouped = layout && layout->code == tensor::CodeKind::kInt;
    if (format == FormatId::kBF16 || (grouped && layout->scale == tensor::ScaleType::kBF16))
      return tensor::ScaleType::kBF16;
    if (format == FormatId::kF32 && kind.layout != Container::kGptq) return tensor::ScaleType::kF32;
  }
  return tensor::ScaleType::kF16;
}

std::vector<ClassError> conversion_errors(const models::Model& source, const fs::path& written,
                                          ThreadPool& pool) {
  const models::Model after = models::open_model(written);
  std::map<std::string, const models::TensorInfo*> theirs;
  for (const auto& info : after.tensor_infos) theirs.emplace(info.gguf_name, &info);
  std::vector<ClassError> errors;
  for (const auto& [role, name] : kClasses) {
    ClassError row{name};
    quant::Difference total;
    for (const auto& info : source.tensor_infos) {
      const auto other = theirs.find(info.gguf_name);
      if (info.role != role || other == theirs.end()) continue;
      const quant::Difference part = tensor_difference(source, after, info, *other->second, pool);
      row.tensors += part.squared_error > 0;
      total += part;
    }
    row.relative = total.relative();
    if (row.tensors > 0) errors.push_back(row);
  }
  return errors;
}

}  // namespace hone::app
