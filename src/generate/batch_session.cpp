#include "generate/batch_session.h"

#include <algorithm>
#include <utility>

#include "base/cancel.h"
#include "base/error.h"

namespace hone::generate {

using text::TokenId;

BatchSession::BatchSession(LanguageModel& model) : model_(model) {
  model.reset();
}

int64_t BatchSession::row_of(Id sequence) const {
  const auto found = std::find(ids_.begin(), ids_.end(), sequence);
  if (found == ids_.end()) {
    fail(ErrorKind::kUsage, "[generate] sequence {} is not in the batch; it has left or never joined",
         sequence);
  }
  return found - ids_.begin();
}

BatchSession::Id BatchSession::join() {
  if (size() >= capacity()) {
    fail(ErrorKind::kResource,
         "[generate] all {} places of the batch are taken; wait until a sequence leaves", capacity());
  }
  ids_.push_back(next_++);
  return ids_.back();
}

// The last row takes the free place, so that the rows in use stay side by side.
void BatchSession::leave(Id sequence) {
  const int64_t row = row_of(sequence), last = size() - 1;
  model_.truncate(0, row);
  model_.move_row(last, row);
  ids_[static_cast<size_t>(row)] = ids_.back();
  ids_.pop_back();
}

void BatchSession::check(std::span<const Feed> feeds) const {
  std::vector<bool> named(ids_.size(), false);
  for (const Feed& f : feeds) {
    const int64_t row = row_of(f.sequence);
    HONE_CHECK(!f.ids.empty() && !named[static_cast<size_t>(row)]);
    named[static_cast<size_t>(row)] = true;
    model_.check(row, f.ids);
  }
}

std::span<const std::span<const float>> BatchSession::feed(std::span<const Feed> feeds) {
  check(feeds);
  pending_.assign(ids_.size(), {});
  kept_.resize(feeds.size());
  logits_.assign(feeds.size(), {});
  for (size_t i = 0; i < feeds.size(); ++i)
    pending_[static_cast<size_t>(row_of(feeds[i].sequence))] = {feeds[i].ids, i};
  const auto waits = [&](int64_t row) { return !pending_[static_cast<size_t>(row)].left.empty(); };
  auto left = static_cast<int64_t>(feeds.size());
  for (bool first_run = true; left > 0;) {
    for (int64_t row = 0; row < size();) {
      if (!waits(row)) {
        ++row;
        continue;
      }
      int64_t end = row + 1;
      while (end < size() && waits(end)) ++end;
      if (!std::exchange(first_run, false)) throw_if_cancelled();
      const int64_t done = run_rows(row, end);
      left -= done;
      row = end;
    }
  }
  return logits_;
}

// One run over rows [first, last), as many tokens as all of them have; returns how many feeds it completed.
int64_t BatchSession::run_rows(int64_t first, int64_t last) {
  auto length = model_.chunk();
  for (int64_t row = first; row < last; ++row)
    length = std::min(length, static_cast<int64_t>(pending_[static_cast<size_t>(row)].left.size()));
  const auto step = static_cast<size_t>(length);
  rectangle_.clear();
  for (int64_t row = first; row < last; ++row) {
    const auto& ids = pending_[static_cast<size_t>(row)].left;
    rectangle_.insert(rectangle_.end(), ids.begin(), ids.begin() + length);
  }
  const std::span<const float> out = model_.feed_rows(first, last - first, rectangle_);
  const auto vocab = static_cast<size_t>(model_.vocab_size());
  bool all_done = true;
  for (Pending& p : pending_) {
    const auto row = static_cast<int64_t>(&p - pending_.data());
    if (row >= first && row < last) p.left = p.left.subspan(step);
    all_done = all_done && p.left.empty();
  }
  int64_t done = 0;
  for (int64_t row = first; row < last; ++row) {
    const Pending& p = pending_[static_cast<size_t>(row)];
    if (!p.left.empty()) continue;
    ++done;
    const auto logits = out.subspan(static_cast<size_t>(row - first) * vocab, vocab);
    if (all_done) {  // nothing will overwrite them in this call
      logits_[p.feed] = logits;
    } else {
      kept_[p.feed].assign(logits.begin(), logits.end());
      logits_[p.feed] = kept_[p.feed];
    }
  }
  return done;
}

}  // namespace hone::generate
