// Several sequences of one model at once: they join and leave, each with a length of its own, and are fed
// together so that the weights stream once for all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "generate/session.h"

namespace hone::generate {

class BatchSession {
 public:
  using Id = int64_t;  // of a sequence; never given twice

  // The model's batch is the capacity. Nobody else may feed it; it must outlive this.
  explicit BatchSession(LanguageModel& model);

  int64_t capacity() const { return model_.batch(); }
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int64_t context() const { return model_.context(); }  // of each sequence
  Id join();                                            // empty; Error(kResource) when all places are taken
  void leave(Id sequence);
  const std::vector<text::TokenId>& tokens(Id sequence) const { return model_.tokens(row_of(sequence)); }
  int64_t position(Id sequence) const { return model_.position(row_of(sequence)); }
  void truncate(Id sequence, int64_t length) { model_.truncate(length, row_of(sequence)); }

  struct Feed {
    Id sequence = 0;
    std::span<const text::TokenId> ids;  // not empty
  };
  // Appends ids to sequences, each named at most once, and returns the logits [vocab] after the last id of
  // each feed (valid until the next call). No padding: runs are rectangles over neighbouring rows, so
  // sequences of falling length that joined one after the other make a staircase. Error(kBadInput) as
  // LanguageModel::feed, before anything is fed. A cancel between two runs throws Error(kCancelled); what was
  // fed until then is kept.
  std::span<const std::span<const float>> feed(std::span<const Feed> feeds);

 private:
  int64_t row_of(Id sequence) const;
  void check(std::span<const Feed> feeds) const;
  int64_t run_rows(int64_t first, int64_t last);

  LanguageModel& model_;
  std::vector<Id> ids_;  // per row in use: rows are 0 to size() - 1
  Id next_ = 0;

  // Of a feed() under way, per row.
  struct Pending {
    std::span<const text::TokenId> left;
    size_t feed = 0;
  };
  std::vector<Pending> pending_;
  std::vector<text::TokenId> rectangle_;
  std::vector<std::vector<float>> kept_;  // logits per feed that a later run of the same call would overwrite
  std::vector<std::span<const float>> logits_;
};

}  // namespace hone::generate
