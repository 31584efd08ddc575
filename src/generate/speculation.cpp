#include "generate/speculation.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace hone::generate {

Speculator::Speculator(std::unique_ptr<Drafter> drafter, const SpeculationOptions& options)
    : drafter_(std::move(drafter)),
      options_(options),
      controller_(std::max(1, options.most), drafter_->priors()) {
  if (options.most < 1) {
    fail(ErrorKind::kUsage, "[generate] drafts of {} tokens; ask for at least one", options.most);
  }
}

void Speculator::begin_answer(const SamplingOptions& sampling, std::span<const text::TokenId> history) {
  stats_ = {};
  drafter_->begin_answer(sampling, history);
}

const Draft& Speculator::draft(std::span<const text::TokenId> history, int64_t room) {
  draft_.clear();
  unused_ = -1;
  kind_ = room > 0 ? drafter_->look(history) : -1;
  if (kind_ < 0) return draft_;
  const int most = static_cast<int>(std::min<int64_t>(room, options_.most));
  if (drafter_->costless()) {
    drafter_->extend(most, draft_);
    const auto found = draft_.ids.size();
    const auto keep =
        options_.adaptive ? static_cast<size_t>(controller_.choose(kind_, static_cast<int>(found))) : found;
    if (keep < found) unused_ = draft_.ids[keep];
    draft_.ids.resize(keep);
    return draft_;
  }
  const int length = options_.adaptive ? controller_.choose(kind_, most) : most;
  if (length == 0) return draft_;
  drafter_->catch_up();
  const auto start = std::chrono::steady_clock::now();
  drafter_->extend(length, draft_);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  controller_.drafted(static_cast<int>(draft_.ids.size()), seconds.count());
  return draft_;
}

void Speculator::judged(size_t accepted, text::TokenId next, double seconds) {
  const size_t length = draft_.ids.size();
  controller_.ran(static_cast<int>(length) + 1, seconds);
  if (length > 0) {
    ++stats_.runs;
    stats_.drafted += static_cast<int64_t>(length);
    stats_.accepted += static_cast<int64_t>(accepted);
  }
  if (kind_ < 0) return;
  for (size_t i = 0; i < std::min(length, accepted + 1); ++i)
    controller_.judged(kind_, static_cast<int>(i), i < accepted);
  if (accepted == length && unused_ >= 0)
    controller_.judged(kind_, static_cast<int>(length), unused_ == next);
}

}  // namespace hone::generate
