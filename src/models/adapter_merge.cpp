// Adapters put into the weights: rows are computed when a writer or an executor reads them, so that a model
// larger than memory is merged in the memory of a few rows.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "models/adapter.h"
#include "models/adapter_parts.h"

namespace hone::models {

using tensor::FormatId;
using tensor::LowRankUpdate;
using tensor::NamedTensor;
using tensor::TensorView;

namespace {

constexpr uint64_t kChunkFloats = uint64_t{1} << 18;  // 1 MB of F32 rows at a time

struct Term {
  LowRankUpdate update;
  double scale = 1;  // the adapter's and the user's
};

// base + the terms in order, encoded as `format`, a plain one.
class MergedRows : public tensor::RowSource {
 public:
  MergedRows(TensorView base, FormatId format, std::vector<Term> terms)
      : base_(std::move(base)), format_(format), terms_(std::move(terms)) {}

  void read(uint64_t begin, uint64_t count, std::span<std::byte> dst) const override {
    const auto columns = static_cast<uint64_t>(base_.row_length());
    const uint64_t row_bytes = tensor::format_bytes(format_, columns),
                   chunk = std::max<uint64_t>(1, kChunkFloats / columns);
    HONE_CHECK(dst.size() == count * row_bytes);
    std::vector<std::vector<float>> a;
    for (const Term& term : terms_) a.push_back(tensor::decode(term.update.a));
    std::vector<float> rows(std::min(count, chunk) * columns);
    for (uint64_t at = 0; at < count; at += chunk) {
      const uint64_t n = std::min(chunk, count - at);
      tensor::decode_rows(base_, begin + at, n, rows.data());
      for (size_t t = 0; t < terms_.size(); ++t) add(terms_[t], a[t], begin + at, n, rows.data());
      tensor::format(format_).encode(rows.data(), dst.data() + at * row_bytes, n * columns);
    }
  }

 private:
  void add(const Term& term, const std::vector<float>& a, uint64_t first, uint64_t count, float* rows) const {
    const auto columns = static_cast<size_t>(base_.row_length()),
               rank = static_cast<size_t>(term.update.rank());
    std::vector<float> b(count * rank), delta(columns);
    tensor::decode_rows(term.update.b, first, count, b.data());
    const auto scale = static_cast<float>(term.scale);
    for (uint64_t r = 0; r < count; ++r) {
      float* row = rows + r * columns;
      std::fill(delta.begin(), delta.end(), 0.0f);
      for (size_t k = 0; k < rank; ++k) {
        const float factor = b[r * rank + k];
        const float* source = a.data() + k * columns;
        for (size_t c = 0; c < columns; ++c) delta[c] += factor * source[c];
      }
      for (size_t c = 0; c < columns; ++c) row[c] += scale * delta[c];
      if (!term.update.magnitude.empty()) set_length(row, columns, term.update.magnitude[first + r]);
    }
  }
  static void set_length(float* row, size_t columns, float length) {
    double squares = 0;
    for (size_t c = 0; c < columns; ++c) squares += double{row[c]} * double{row[c]};
    const auto factor = squares > 0 ? static_cast<float>(double{length} / std::sqrt(squares)) : 0.0f;
    for (size_t c = 0; c < columns; ++c) row[c] *= factor;
  }

  TensorView base_;
  FormatId format_;
  std::vector<Term> terms_;
};

// A checkpoint of the model's own, edited and put in place at the end.
class Editor {
 public:
  explicit Editor(Model& model)
      : model_(model), copy_(std::make_shared<tensor::Checkpoint>(*model.checkpoint)) {
    tensors_ = copy_->tensors();
    for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
    copy_->keep_alive(model.checkpoint);  // maps and row sources that the views show
  }
  const TensorInfo* info(const std::string& gguf_name) const {
    for (const TensorInfo& info : model_.tensor_infos)
      if (info.gguf_name == gguf_name) return &info;
    return nullptr;
  }
  TensorView& view(const TensorInfo& info) { return tensors_[index_.at(model_.source_name(info))].view; }
  void keep(std::shared_ptr<const void> owner) { copy_->keep_alive(std::move(owner)); }

  // The head gets a tensor of its own, for now the embedding's bytes.
  void untie() {
    if (!model_.config.tied_head) return;
    const TensorInfo head = tied_head_info(model_.config);
    const std::string& name = model_.source_name(head);
    const TensorView embedding = view(*info("token_embd.weight"));
    if (const auto found = index_.find(name); found != index_.end()) {
      tensors_[found->second].view = embedding;
    } else {
      index_.emplace(name, tensors_.size());
      tensors_.push_back({name, embedding});
    }
    model_.tensor_infos.push_back(head);
    model_.config.tied_head = false;
    if (const auto config = copy_->texts.find("config.json"); config != copy_->texts.end()) {
      Json json = parse_json(config->second, "config.json");
      json["tie_word_embeddings"] = false;
      config->second = dump_json(json, 2) + "\n";
    }
  }
  void commit() {
    copy_->replace_all(std::move(tensors_));
    model_.checkpoint = std::move(copy_);
  }

 private:
  Model& model_;
  std::shared_ptr<tensor::Checkpoint> copy_;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, size_t> index_;
};

FormatId merged_format(FormatId base) {
  return base == FormatId::kF16 || base == FormatId::kBF16 ? base : FormatId::kF32;
}

void put_whole(Editor& editor, const Adapter& adapter) {
  const bool head = adapter.replaced.contains("output.weight");
  const bool embedding = adapter.replaced.contains("token_embd.weight");
  if (head || (embedding && adapter.splits_tied_embedding)) editor.untie();
  for (const auto& [name, view] : adapter.replaced) {
    const TensorInfo* info = editor.info(name);
    HONE_CHECK(info != nullptr && info->shape == view.shape);
    editor.view(*info) = view;
  }
  for (const auto& owner : adapter.owners) editor.keep(owner);
}

}  // namespace

MergeReport merge_adapters(Model& model, std::span<const ScaledAdapter> adapters) {
  Editor editor(model);
  std::map<std::string, std::vector<Term>> terms;
  std::map<std::string, FormatId> whole;
  for (const auto& [adapter, scale] : adapters) {
    HONE_CHECK(adapter != nullptr);
    if (!std::isfinite(scale))
      fail(ErrorKind::kUsage, "[adapter] {}: the scale {} is not a number", adapter->source, scale);
    put_whole(editor, *adapter);
    for (const auto& [name, view] : adapter->replaced) whole.emplace(name, view.format);
    for (const auto& [name, update] : adapter->updates) {
      terms[name].push_back({update, update.scale * scale});
      if (name == "output.weight" || name == "token_embd.weight") editor.untie();
    }
  }
  MergeReport report;
  for (auto& [name, list] : terms) {
    const TensorInfo* info = editor.info(name);
    HONE_CHECK(info != nullptr);
    TensorView& view = editor.view(*info);
    HONE_CHECK(view.shape == info->shape);
    const FormatId before = view.format, after = merged_format(before);
    if (tensor::format(before).quantized()) report.from_quantized.emplace(name, before);
    auto rows = std::make_shared<const MergedRows>(view, after, std::move(list));
    view = {after, view.shape, {}, rows.get()};
    editor.keep(std::move(rows));
  }
  for (const TensorInfo& info : model.tensor_infos)
    if (terms.contains(info.gguf_name) || whole.contains(info.gguf_name))
      report.changed.push_back(info.gguf_name);
  editor.commit();
  return report;
}

MergeReport merge_adapter(Model& model, const Adapter& adapter, double scale) {
  const ScaledAdapter one{&adapter, scale};
  return merge_adapters(model, {&one, 1});
}

void replace_tensors(Model& model, const Adapter& adapter) {
  if (adapter.replaced.empty()) return;
  Editor editor(model);
  put_whole(editor, adapter);
  editor.commit();
}

}  // namespace hone::models
