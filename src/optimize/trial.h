// A model whose tensors can be swapped for quantized versions one at a time: the instrument with which
// the search measures what a format costs.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evaluate/divergence.h"
#include "exec/device.h"
#include "models/model.h"

namespace hone::optimize {

// A weight that may change format. Tensors with the same source (a tied head) are one slot.
struct Slot {
  models::TensorInfo info;
  std::string source;                       // name in the checkpoint
  tensor::TensorView view;                  // as stored in the input
  std::vector<ir::ValueId> constants;       // in the plan's graph
  std::vector<float> importance;            // per input feature; empty: plain
  std::vector<tensor::FormatId> formats;    // it may take; the input's own format is among them
  ir::NodeId first_use = 0;                 // the earliest node that reads it
  int resume_point = -1;                    // the last of TrialModel::resume_points() that is not after it, or -1
  uint64_t elements() const { return tensor::element_count(view.shape); }
  uint64_t bytes_in(tensor::FormatId format) const { return tensor::format_bytes(format, elements()); }
};

using EncodedBytes = std::shared_ptr<const std::vector<std::byte>>;

class TrialModel {
 public:
  // window: tokens per trial window.
  TrialModel(const models::Model& model, exec::Device& device, int64_t window);

  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }
  evaluate::Scorer& scorer() { return scorer_; }
  // Where trials of one tensor may start: before the first weight of each layer.
  const std::vector<ir::NodeId>& resume_points() const { return resume_points_; }
  ThreadPool& pool() { return device_.pool(); }

  // The slot encoded in a format; kept for reuse up to a memory limit, oldest dropped first. The format of
  // the input gives the input's own bytes.
  EncodedBytes encoded(size_t slot, tensor::FormatId format);
  // From now on these are the slot's bytes in that format.
  void fix(size_t slot, tensor::FormatId format, std::vector<std::byte> bytes);
  // importance-weighted relative error sum(w (x - x')^2) / sum(w x^2), on a sample of at most max_elements.
  double relative_error(size_t slot, tensor::FormatId format, uint64_t max_elements);

  void use(size_t slot, tensor::FormatId format);  // encode and bind
  void use_original(size_t slot);
  void use_all(const std::vector<tensor::FormatId>& formats);

 private:
  void find_resume_points();
  void bind(size_t slot, tensor::FormatId format, std::span<const std::byte> bytes);

  const models::Model& model_;
  exec::Device& device_;
  evaluate::Scorer scorer_;
  std::vector<Slot> slots_;
  std::vector<ir::NodeId> resume_points_;
  std::vector<tensor::FormatId> current_;
  std::vector<EncodedBytes> bound_;         // keeps what the plan reads alive
  struct CacheEntry { EncodedBytes bytes; uint64_t used = 0; };
  std::map<std::pair<size_t, tensor::FormatId>, CacheEntry> cache_;
  uint64_t cache_bytes_ = 0, clock_ = 0;
  std::map<std::pair<size_t, tensor::FormatId>, EncodedBytes> fixed_;
};

// Formats that a weight of this shape may take: those that GGUF carries, that can be encoded, whose block divides the
// row, none larger than the input's own.
std::vector<tensor::FormatId> candidate_formats(const tensor::TensorView& view);

}  // namespace hone::optimize
