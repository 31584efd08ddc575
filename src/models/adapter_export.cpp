// Adapters on their way into files: GGUF as llama.cpp loads it, PEFT as Python does.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "models/adapter.h"
#include "models/adapter_parts.h"
#include "models/export.h"

namespace hone::models {

using tensor::FormatId;
using tensor::LowRankUpdate;
using tensor::OutputTensor;
using tensor::TensorView;

namespace {

bool is_gguf(const Model& model) {
  return model.checkpoint->kind == tensor::CheckpointKind::kGguf;
}

// What a written matrix is made of; shared by nothing, kept by its closure.
struct Matrix {
  TensorView view;
  std::vector<std::shared_ptr<const void>> owners;
  int64_t heads = 0;     // rows to reorder, 0: none
  bool to_gguf = false;  // direction of the reordering
  bool turned = false;   // written transposed
  double factor = 1;     // multiplies every value (F32 arithmetic)
};

void produce(const Matrix& m, FormatId format, std::span<std::byte> dst) {
  std::vector<std::byte> bytes;
  if (m.view.format == format && !m.turned && m.factor == 1) {
    bytes.resize(tensor::view_bytes(m.view));
    tensor::read_all(m.view, bytes);
  } else {
    std::vector<float> values = tensor::decode(m.view);
    if (m.turned) {
      std::vector<std::shared_ptr<const void>> owner;
      values = tensor::decode(formats::transposed(m.view, owner));
    }
    for (float& v : values) v = static_cast<float>(v * m.factor);
    bytes.resize(tensor::format_bytes(format, values.size()));
    tensor::format(format).encode(values.data(), bytes.data(), values.size());
  }
  HONE_CHECK(bytes.size() == dst.size());
  if (m.heads > 0)
    permute_rows(bytes, dst, m.view.shape[0], m.heads, m.to_gguf);
  else
    std::memcpy(dst.data(), bytes.data(), bytes.size());
}

OutputTensor output(std::string name, Matrix m, std::optional<FormatId> wanted) {
  const FormatId format = wanted.value_or(m.turned || m.factor != 1 ? FormatId::kF32 : m.view.format);
  tensor::Shape shape = m.view.shape;
  if (m.turned) std::swap(shape[0], shape[1]);
  return {std::move(name), format, std::move(shape),
          [m = std::move(m), format](std::span<std::byte> dst) { produce(m, format, dst); }};
}

std::vector<TensorInfo> all_infos(const Model& model) {
  std::vector<TensorInfo> infos = model.tensor_infos;
  if (model.config.tied_head) infos.push_back(tied_head_info(model.config));
  return infos;
}

// scale * rank where it is the same for every tensor (what files call alpha), else nothing.
std::optional<double> common_alpha(const Adapter& adapter) {
  std::optional<double> alpha;
  for (const auto& [name, u] : adapter.updates) {
    const double own = u.scale * static_cast<double>(u.rank());
    if (alpha && std::abs(*alpha - own) > 1e-12 * std::abs(own)) return {};
    alpha = own;
  }
  return alpha;
}

std::string module_of(const std::string& weight) {
  return weight.substr(0, weight.size() - std::string_view(".weight").size());
}
std::string leaf_of(const std::string& module) {
  return module.substr(module.rfind('.') + 1);
}

Json number(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? Json(static_cast<int64_t>(value))
                                                              : Json(value);
}

// Ranks and alphas of an adapter as peft writes them: the most frequent as the rule, others by module.
void write_scales(const Model& model, const Adapter& adapter, Json& config) {
  std::map<std::pair<int64_t, double>, int> counts;
  const auto key_of = [](const LowRankUpdate& u) {
    return std::pair(u.rank(), u.scale * static_cast<double>(u.rank()));
  };
  for (const auto& [name, u] : adapter.updates) ++counts[key_of(u)];
  std::pair<int64_t, double> rule{8, 8.0};
  int most = 0;
  for (const auto& [key, count] : counts)
    if (count > most) most = count, rule = key;
  config["r"] = rule.first;
  config["lora_alpha"] = number(rule.second);
  config["rank_pattern"] = Json::object();
  config["alpha_pattern"] = Json::object();
  for (const TensorInfo& info : all_infos(model)) {
    const auto found = adapter.updates.find(info.gguf_name);
    if (found == adapter.updates.end()) continue;
    const auto [rank, alpha] = key_of(found->second);
    if (rank != rule.first) config["rank_pattern"][module_of(info.hf_name)] = rank;
    if (alpha != rule.second) config["alpha_pattern"][module_of(info.hf_name)] = number(alpha);
  }
}

}  // namespace

AdapterGguf export_adapter_gguf(const Model& model, const Adapter& adapter, std::optional<FormatId> format) {
  std::string refused;
  for (const auto& [name, u] : adapter.updates)
    if (!u.magnitude.empty())
      refused += (refused.empty() ? "" : ", ") + fmt::format("magnitudes of '{}'", name);
  for (const auto& [name, view] : adapter.replaced)
    refused += (refused.empty() ? "" : ", ") + fmt::format("the whole '{}'", name);
  if (refused.size() > 400) refused = refused.substr(0, 400) + " ...";
  if (!refused.empty())
    fail(ErrorKind::kUnsupported,
         "[adapter] {}: a GGUF adapter cannot hold {}; merge it into the model instead", adapter.source,
         refused);
  AdapterGguf out;
  const std::optional<double> alpha = common_alpha(adapter);
  out.metadata.set("general.architecture", model.config.architecture);
  out.metadata.set("general.type", std::string("adapter"));
  out.metadata.set("general.name", adapter.source);
  out.metadata.set("adapter.type", std::string("lora"));
  // Where the scales differ they go into B, and an alpha of 0 says that no other factor is meant.
  out.metadata.set("adapter.lora.alpha", static_cast<float>(alpha.value_or(0)));
  for (const TensorInfo& info : all_infos(model)) {
    const auto found = adapter.updates.find(info.gguf_name);
    if (found == adapter.updates.end()) continue;
    const LowRankUpdate& u = found->second;
    Matrix a{u.a, adapter.owners}, b{u.b, adapter.owners};
    if (!alpha) b.factor = u.scale;
    if (info.permuted_heads > 0 && !is_gguf(model)) b.heads = info.permuted_heads, b.to_gguf = true;
    if (info.role == Role::kEmbedding) {  // a is [tokens, rank] and b [hidden, rank]
      a.turned = true;
      out.tensors.push_back(output(info.gguf_name + ".lora_a", std::move(b), format));
      out.tensors.push_back(output(info.gguf_name + ".lora_b", std::move(a), format));
    } else {
      out.tensors.push_back(output(info.gguf_name + ".lora_a", std::move(a), format));
      out.tensors.push_back(output(info.gguf_name + ".lora_b", std::move(b), format));
    }
  }
  return out;
}

AdapterPeft export_adapter_peft(const Model& model, const Adapter& adapter, std::optional<FormatId> format) {
  Json config;
  config["peft_type"] = "LORA";
  config["task_type"] = "CAUSAL_LM";
  const bool dora = adapter.has_magnitudes();
  AdapterPeft out;
  std::set<std::string> targets, saved;
  std::string refused;
  for (const TensorInfo& info : all_infos(model)) {
    if (const auto whole = adapter.replaced.find(info.gguf_name); whole != adapter.replaced.end()) {
      if (!info.hf_name.ends_with(".weight") || info.role == Role::kNorm) {
        refused += (refused.empty() ? "" : ", ") + fmt::format("the whole '{}'", info.hf_name);
        continue;
      }
      saved.insert(leaf_of(module_of(info.hf_name)));
      Matrix m{whole->second, adapter.owners};
      if (is_gguf(model)) m.heads = info.permuted_heads;
      out.tensors.push_back(output("base_model.model." + info.hf_name, std::move(m), format));
    }
    const auto found = adapter.updates.find(info.gguf_name);
    if (found == adapter.updates.end()) continue;
    const LowRankUpdate& u = found->second;
    if (dora && u.magnitude.empty())
      refused += (refused.empty() ? "" : ", ") + fmt::format("'{}' without magnitudes", info.hf_name);
    const std::string module = "base_model.model." + module_of(info.hf_name);
    targets.insert(leaf_of(module));
    Matrix a{u.a, adapter.owners}, b{u.b, adapter.owners};
    if (is_gguf(model)) b.heads = info.permuted_heads;
    if (info.role == Role::kEmbedding) {
      a.turned = b.turned = true;
      out.tensors.push_back(output(module + ".lora_embedding_A", std::move(b), format));
      out.tensors.push_back(output(module + ".lora_embedding_B", std::move(a), format));
      continue;
    }
    out.tensors.push_back(output(module + ".lora_A.weight", std::move(a), format));
    out.tensors.push_back(output(module + ".lora_B.weight", std::move(b), format));
    if (u.magnitude.empty()) continue;
    std::vector<float> lengths = u.magnitude;
    if (is_gguf(model) && info.permuted_heads > 0)
      permute_rows(std::as_bytes(std::span(u.magnitude)), std::as_writable_bytes(std::span(lengths)),
                   info.shape[0], info.permuted_heads, false);
    out.tensors.push_back(
        {module + ".lora_magnitude_vector",
         FormatId::kF32,
         {info.shape[0]},
         [lengths](std::span<std::byte> dst) { std::memcpy(dst.data(), lengths.data(), dst.size()); }});
  }
  if (!refused.empty())
    fail(ErrorKind::kUnsupported,
         "[adapter] {}: a PEFT adapter cannot hold {}; merge it into the model instead", adapter.source,
         refused);
  write_scales(model, adapter, config);
  config["target_modules"] = targets;
  config["modules_to_save"] = saved.empty() ? Json(nullptr) : Json(saved);
  config["bias"] = "none";
  config["lora_dropout"] = 0.0;
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  config["use_rslora"] = false;
  config["use_dora"] = dora;
  if (saved.contains("embed_tokens") && model.config.tied_head)
    config["ensure_weight_tying"] = !adapter.splits_tied_embedding;
  out.config = dump_json(config, 2) + "\n";
  return out;
}

}  // namespace hone::models
