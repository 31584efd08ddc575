#include "optimize/trial.h"

#include <algorithm>

#include "base/error.h"
#include "quant/encode.h"

namespace hone::optimize {
namespace {

using tensor::FormatId;

constexpr uint64_t kCacheLimit = uint64_t{1} << 30;

// Left out of the search: made for weights trained to be ternary or binary, or in need of a scale per tensor.
// At their size a format of the search always leaves less, and every candidate costs a trial encoding.
constexpr FormatId kNotSearched[] = {FormatId::kTQ1_0, FormatId::kTQ2_0, FormatId::kQ1_0, FormatId::kNVFP4};

bool may_change(models::Role role) {
  using models::Role;
  return role != Role::kNorm && role != Role::kBias && role != Role::kRopeFactors;
}

}  // namespace

std::vector<FormatId> candidate_formats(const tensor::TensorView& view) {
  const auto row = static_cast<uint64_t>(view.row_length());
  const auto& own = tensor::format(view.format);
  std::vector<FormatId> result;
  for (const auto& f : tensor::all_formats()) {
    if (f.id == view.format) {
      if (f.gguf_type >= 0) result.push_back(f.id);
      continue;
    }
    // F16 is what is left for an F32 tensor whose rows no block divides.
    const bool target = (f.quantized() || f.id == FormatId::kF16) && !f.activation_only && f.gguf_type >= 0;
    if (std::find(std::begin(kNotSearched), std::end(kNotSearched), f.id) != std::end(kNotSearched)) continue;
    if (target && quant::can_encode(f.id) && tensor::divides(f.id, row) && f.bits_per_weight() < own.bits_per_weight())
      result.push_back(f.id);
  }
  std::sort(result.begin(), result.end(), [](FormatId a, FormatId b) {
    return tensor::format(a).bits_per_weight() < tensor::format(b).bits_per_weight();
  });
  return result;
}

TrialModel::TrialModel(const models::Model& model, exec::Device& device, int64_t window)
    : model_(model), device_(device), scorer_(model, device, window) {
  std::map<std::string, std::vector<ir::ValueId>> constants;
  const auto& graph = scorer_.plan().graph();
  for (size_t v = 0; v < graph.values().size(); ++v)
    if (const auto* c = graph.constant_of(static_cast<ir::ValueId>(v)); c && !c->source.empty())
      constants[c->source].push_back(static_cast<ir::ValueId>(v));
  for (const auto& info : model.tensor_infos) {
    if (!may_change(info.role) || info.shape.size() < 2) continue;
    Slot slot;
    slot.info = info;
    slot.source = model.source_name(info);
    slot.view = model.source(info).view;
    slot.formats = candidate_formats(slot.view);
    slot.constants = constants[slot.source];
    if (slot.formats.empty() || slot.constants.empty()) continue;
    slots_.push_back(std::move(slot));
  }
  for (const auto& slot : slots_) current_.push_back(slot.view.format);
  bound_.resize(slots_.size());
  find_resume_points();
}

void TrialModel::find_resume_points() {
  const auto& nodes = scorer_.plan().graph().nodes();
  std::map<int64_t, ir::NodeId> first_of_layer;
  for (auto& slot : slots_) {
    const auto reads = [&](const ir::Node& node) {
      return std::any_of(slot.constants.begin(), slot.constants.end(),
                         [&](ir::ValueId c) { return std::find(node.inputs.begin(), node.inputs.end(), c) != node.inputs.end(); });
    };
    slot.first_use = static_cast<ir::NodeId>(std::find_if(nodes.begin(), nodes.end(), reads) - nodes.begin());
    if (slot.info.layer < 0) continue;
    const auto [it, added] = first_of_layer.try_emplace(slot.info.layer, slot.first_use);
    if (!added) it->second = std::min(it->second, slot.first_use);
  }
  for (const auto& [layer, node] : first_of_layer) resume_points_.push_back(node);
  std::sort(resume_points_.begin(), resume_points_.end());
  for (auto& slot : slots_) {
    const auto after = std::upper_bound(resume_points_.begin(), resume_points_.end(), slot.first_use);
    slot.resume_point = static_cast<int>(after - resume_points_.begin()) - 1;
  }
}

void TrialModel::fix(size_t s, FormatId format, std::vector<std::byte> bytes) {
  HONE_CHECK(bytes.size() == slots_[s].bytes_in(format) && format != slots_[s].view.format);
  fixed_[{s, format}] = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  if (current_[s] != format) return;
  bind(s, format, *fixed_[{s, format}]);
  bound_[s] = fixed_[{s, format}];
}

EncodedBytes TrialModel::encoded(size_t s, FormatId format) {
  if (const auto it = fixed_.find({s, format}); it != fixed_.end()) return it->second;
  auto& entry = cache_[{s, format}];
  entry.used = ++clock_;
  if (entry.bytes) return entry.bytes;
  const Slot& slot = slots_[s];
  std::vector<std::byte> bytes(slot.bytes_in(format));
  if (format == slot.view.format) tensor::read_all(slot.view, bytes);
  else quant::encode_tensor(slot.view, format, slot.importance, bytes, &device_.pool(), quant::Effort::kThorough);
  entry.bytes = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  EncodedBytes result = entry.bytes;
  cache_bytes_ += result->size();
  while (cache_bytes_ > kCacheLimit && cache_.size() > 1) {
    auto oldest = std::min_element(cache_.begin(), cache_.end(),
                                   [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    cache_bytes_ -= oldest->second.bytes->size();
    cache_.erase(oldest);
  }
  return result;
}

double TrialModel::relative_error(size_t s, FormatId format, uint64_t max_elements) {
  const Slot& slot = slots_[s];
  if (format == slot.view.format) return 0;
  const auto cols = static_cast<uint64_t>(slot.view.row_length());
  const uint64_t rows = slot.view.rows(), row_bytes = tensor::format_bytes(format, cols);
  const uint64_t wanted = std::clamp<uint64_t>(max_elements / cols, 1, rows);
  const uint64_t runs = std::min<uint64_t>(wanted, 16);  // groups of neighbouring rows, spread evenly
  const uint64_t each = std::max<uint64_t>(1, wanted / runs);
  std::vector<float> x(runs * each * cols);
  for (uint64_t r = 0; r < runs; ++r) {
    const uint64_t begin = runs == 1 ? 0 : (rows - each) * r / (runs - 1);
    tensor::decode_rows(slot.view, begin, each, x.data() + r * each * cols);
  }
  std::vector<std::byte> bytes(runs * each * row_bytes);
  quant::encode_rows(format, x.data(), runs * each, cols, slot.importance, bytes.data(), &device_.pool(),
                     quant::Effort::kThorough);
  const double error =
      quant::weighted_error(format, x.data(), bytes.data(), runs * each, cols, slot.importance, &device_.pool());
  double norm = 0;
  for (uint64_t r = 0; r < runs * each; ++r)
    for (uint64_t j = 0; j < cols; ++j) {
      const double v = x[r * cols + j];
      norm += (slot.importance.empty() ? 1.0 : slot.importance[j]) * v * v;
    }
  return norm > 0 ? error / norm : 0;
}

void TrialModel::bind(size_t s, FormatId format, std::span<const std::byte> bytes) {
  for (const ir::ValueId id : slots_[s].constants) scorer_.plan().rebind(id, format, bytes);
  current_[s] = format;
}

void TrialModel::use(size_t s, FormatId format) {
  if (format == slots_[s].view.format && !slots_[s].view.source) return use_original(s);
  if (current_[s] == format) return;
  EncodedBytes bytes = encoded(s, format);
  bind(s, format, *bytes);
  bound_[s] = std::move(bytes);
}

void TrialModel::use_original(size_t s) {
  if (slots_[s].view.source) return use(s, slots_[s].view.format);
  bind(s, slots_[s].view.format, slots_[s].view.bytes);
  bound_[s].reset();
}

void TrialModel::use_all(const std::vector<FormatId>& formats) {
  HONE_CHECK(formats.size() == slots_.size());
  for (size_t s = 0; s < slots_.size(); ++s) use(s, formats[s]);
}

}  // namespace hone::optimize
