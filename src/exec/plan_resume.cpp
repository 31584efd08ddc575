// Keeping what is alive in the arena before a node, and starting there again.
#include <cstring>

#include "base/error.h"
#include "exec/plan_impl.h"

namespace hone::exec {

uint64_t Recording::bytes() const {
  uint64_t total = 0;
  for (const auto& pieces : saved_)
    for (const Piece& piece : pieces) total += piece.bytes.size();
  return total;
}

// Some of a group's nodes before the point and some behind it: neither can be skipped.
void Plan::Impl::check_points(const Recording& recording) const {
  for (const ir::NodeId point : recording.points())
    for (const Step& step : steps)
      if (step.nodes.front() < point && step.node >= point)
        fail(ErrorKind::kUsage,
             "[exec] graph '{}': node '{}' runs inside a step of {} nodes; a run can start only between "
             "steps (use an "
             "exact device)",
             graph.name(), graph.nodes().at(static_cast<size_t>(point)).name, step.nodes.size());
}

// Arena values written before the node and read by it or later. A view and its root name the same bytes;
// keeping both is harmless.
std::vector<Plan::Impl::Span> Plan::Impl::alive_before(ir::NodeId node) const {
  std::vector<Span> spans;
  for (size_t v = 0; v < places.size(); ++v) {
    const ir::Value& value = graph.values()[v];
    if (places[v].kind != Place::Kind::kArena || value.producer < 0 || value.producer >= node) continue;
    bool read = false;
    for (const ir::NodeId user : grouping->users(static_cast<ir::ValueId>(v))) read |= user >= node;
    for (const ir::ValueId output : graph.outputs()) read |= output == static_cast<ir::ValueId>(v);
    if (read) spans.push_back({places[v].index, describe(static_cast<ir::ValueId>(v), bound).bytes});
  }
  return spans;
}

void Plan::save(Recording& recording, size_t point) const {
  auto& pieces = recording.saved_[point];
  pieces.clear();
  for (const auto& span : impl_->alive_before(recording.points_[point])) {
    const std::byte* from = impl_->arena.data() + span.offset;
    pieces.push_back({span.offset, {from, from + span.bytes}});
  }
}

ir::NodeId Plan::restore(const Recording& recording, size_t point) {
  HONE_CHECK(point < recording.points_.size() && !recording.saved_[point].empty());
  for (const auto& piece : recording.saved_[point]) {
    HONE_CHECK(piece.offset + piece.bytes.size() <= impl_->arena.size());
    std::memcpy(impl_->arena.data() + piece.offset, piece.bytes.data(), piece.bytes.size());
  }
  return recording.points_[point];
}

}  // namespace hone::exec
