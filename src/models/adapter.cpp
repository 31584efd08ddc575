// Fitting an adapter file to a model.
#include "models/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "formats/byte_reader.h"
#include "models/adapter_parts.h"
#include "models/export.h"

namespace hone::models {

using formats::printable;
using tensor::TensorView;

TensorInfo tied_head_info(const ModelConfig& config) {
  return {"output.weight", "lm_head.weight", Role::kHead, -1, {config.vocab_size, config.hidden_size}};
}

namespace {

constexpr size_t kMaxListed = 8;

bool is_gguf(const Model& model) {
  return model.checkpoint->kind == tensor::CheckpointKind::kGguf;
}

class Fitting {
 public:
  Fitting(formats::AdapterFile& file, const Model& model) : file_(file), model_(model) {
    for (const TensorInfo& info : model.tensor_infos)
      infos_.emplace(file.gguf_names() ? info.gguf_name : info.hf_name, info);
    if (model.config.tied_head) {
      const TensorInfo head = tied_head_info(model.config);
      infos_.emplace(file.gguf_names() ? head.gguf_name : head.hf_name, head);
    }
    out_.source = file.source;
    out_.splits_tied_embedding = file.splits_tied_embedding;
    out_.owners = file.owners;
  }

  Adapter run() {
    if (!file_.architecture.empty() && file_.architecture != model_.config.architecture)
      fail(ErrorKind::kBadInput, "[adapter] {}: is for architecture '{}', {} is '{}'", file_.source,
           printable(file_.architecture), model_.checkpoint->source_name(), model_.config.architecture);
    for (formats::AdapterTensor& t : file_.updates) add_update(t);
    for (const tensor::NamedTensor& t : file_.replaced) add_whole(t);
    if (!unknown_.empty() || !wrong_.empty())
      fail(ErrorKind::kBadInput, "[adapter] {}: does not fit {}: {}", file_.source,
           model_.checkpoint->source_name(), faults());
    return std::move(out_);
  }

 private:
  // PEFT names of a model without its head lack the first "model.".
  const TensorInfo* find(const std::string& name) const {
    auto found = infos_.find(name);
    if (found == infos_.end() && !file_.gguf_names()) found = infos_.find("model." + name);
    return found == infos_.end() ? nullptr : &found->second;
  }

  void add_update(formats::AdapterTensor& t) {
    const TensorInfo* info = find(t.base);
    if (!info) return unknown_.push_back(fmt::format("'{}'", printable(t.base)));
    tensor::LowRankUpdate& u = t.update;
    if (t.input_first) {
      std::swap(u.a, u.b);
      u.a = formats::transposed(u.a, out_.owners);
      u.b = formats::transposed(u.b, out_.owners);
    }
    const bool matrix = info->shape.size() == 2;
    if (!matrix || u.a.shape[1] != info->shape[1] || u.b.shape[0] != info->shape[0] ||
        u.a.shape[0] != u.b.shape[1])
      return wrong_.push_back(fmt::format("'{}' is {}, its A {} and B {}", printable(t.base),
                                          tensor::shape_text(info->shape), tensor::shape_text(u.a.shape),
                                          tensor::shape_text(u.b.shape)));
    if (!u.magnitude.empty() && (u.magnitude.size() != static_cast<size_t>(info->shape[0]) || t.input_first))
      return wrong_.push_back(fmt::format("'{}' is {}, with {} magnitudes", printable(t.base),
                                          tensor::shape_text(info->shape), u.magnitude.size()));
    for (const TensorView* half : {&u.a, &u.b}) check_finite(t.base, *half);
    if (reorders(*info)) {
      u.b = reordered(u.b, *info);
      if (!u.magnitude.empty()) u.magnitude = reordered_values(u.magnitude, *info);
    }
    if (!out_.updates.emplace(info->gguf_name, std::move(u)).second)
      wrong_.push_back(fmt::format("'{}' occurs twice", t.base));
  }

  void add_whole(const tensor::NamedTensor& t) {
    const TensorInfo* info = find(t.name);
    if (!info) return unknown_.push_back(fmt::format("'{}'", printable(t.name)));
    if (t.view.shape != info->shape)
      return wrong_.push_back(fmt::format("'{}' is {}, must be {}", printable(t.name),
                                          tensor::shape_text(t.view.shape), tensor::shape_text(info->shape)));
    TensorView view = t.view;
    if (file_.gguf_names() != is_gguf(model_)) {
      if (info->gguf_offset != 0)
        view = shifted(view, is_gguf(model_) ? info->gguf_offset : -info->gguf_offset);
      if (info->permuted_heads > 0) view = reordered(view, *info);
    }
    if (!out_.replaced.emplace(info->gguf_name, view).second)
      wrong_.push_back(fmt::format("'{}' occurs twice", t.name));
  }

  void check_finite(const std::string& name, const TensorView& view) {
    for (const float v : tensor::decode(view))
      if (!std::isfinite(v))
        return wrong_.push_back(fmt::format("'{}' holds a value that is not finite", printable(name)));
  }

  bool reorders(const TensorInfo& info) const {
    return info.permuted_heads > 0 && file_.gguf_names() != is_gguf(model_);
  }

  TensorView reordered(const TensorView& view, const TensorInfo& info) {
    auto moved = std::make_shared<tensor::Tensor>(view.format, view.shape);
    std::vector<std::byte> bytes(tensor::view_bytes(view));
    tensor::read_all(view, bytes);
    permute_rows(bytes, moved->bytes(), info.shape[0], info.permuted_heads, is_gguf(model_));
    out_.owners.push_back(moved);
    return moved->view();
  }
  std::vector<float> reordered_values(const std::vector<float>& values, const TensorInfo& info) const {
    std::vector<float> moved(values.size());
    permute_rows(std::as_bytes(std::span(values)), std::as_writable_bytes(std::span(moved)), info.shape[0],
                 info.permuted_heads, is_gguf(model_));
    return moved;
  }
  TensorView shifted(const TensorView& view, float by) {
    const std::vector<float> values = tensor::decode(view);
    auto moved = std::make_shared<tensor::Tensor>(tensor::FormatId::kF32, view.shape);
    std::transform(values.begin(), values.end(), moved->f32(), [&](float v) { return v + by; });
    out_.owners.push_back(moved);
    return moved->view();
  }

  std::string faults() const {
    std::string text;
    const auto list = [&](const char* what, const std::vector<std::string>& items) {
      if (items.empty()) return;
      text += fmt::format("{}{}: ", text.empty() ? "" : "; ", what);
      for (size_t i = 0; i < std::min(items.size(), kMaxListed); ++i) text += (i ? ", " : "") + items[i];
      if (items.size() > kMaxListed) text += fmt::format(" and {} more", items.size() - kMaxListed);
    };
    list("the model has no", unknown_);
    list("wrong", wrong_);
    return text;
  }

  formats::AdapterFile& file_;
  const Model& model_;
  std::unordered_map<std::string, TensorInfo> infos_;
  Adapter out_;
  std::vector<std::string> unknown_, wrong_;
};

}  // namespace

int64_t Adapter::largest_rank() const {
  int64_t rank = 0;
  for (const auto& [name, update] : updates) rank = std::max(rank, update.rank());
  return rank;
}

bool Adapter::has_magnitudes() const {
  return std::any_of(updates.begin(), updates.end(),
                     [](const auto& entry) { return !entry.second.magnitude.empty(); });
}

Adapter fit_adapter(formats::AdapterFile file, const Model& model) {
  return Fitting(file, model).run();
}

Adapter read_adapter(const std::filesystem::path& path, const Model& model) {
  return fit_adapter(formats::read_adapter(path), model);
}

}  // namespace hone::models
