// Speculative decoding: a drafter guesses tokens ahead, one run of the model judges them all. Decoding is
// bound by memory, so a run of a few rows costs little more than one of a single row. The rule of acceptance
// (Sampler::sample_drafted) leaves the distribution of the answer as it is.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "generate/draft_controller.h"
#include "generate/sampler.h"

namespace hone::generate {

// Tokens guessed to follow a history.
struct Draft {
  std::vector<text::TokenId> ids;
  // Per id, the distribution it was drawn from; empty when ids are certain guesses (looked up, or greedy).
  std::vector<std::vector<Chance>> chances;

  void clear() { ids.clear(), chances.clear(); }
  std::span<const Chance> chances_of(size_t i) const {
    return chances.empty() ? std::span<const Chance>() : std::span<const Chance>(chances[i]);
  }
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Looks at all tokens so far; the kind of guess possible now, or -1 for none. Drafts of a kind are accepted
  // about equally often.
  virtual int look(std::span<const text::TokenId> history) = 0;
  // Up to `most` tokens behind the history of the last look(); maybe fewer.
  virtual void extend(int most, Draft& draft) = 0;
  // Chance of acceptance of a kind's first token, before anything was seen; one entry per kind.
  virtual std::vector<double> priors() const = 0;
  // extend() takes no time: guesses are made also where they are not used, to learn whether they would be
  // right.
  virtual bool costless() const = 0;
  // An answer with these settings begins behind `history` (drafters that sample, or have a prompt to read).
  // Error(kCancelled) as CausalModel::feed.
  virtual void begin_answer(const SamplingOptions& sampling, std::span<const text::TokenId> history) {
    (void)sampling, (void)history;
  }
  // Before extend(): what a drafter has missed while it was not asked, apart from its usual work.
  virtual void catch_up() {}
};

struct SpeculationOptions {
  int most = 7;          // tokens of a draft at most
  bool adaptive = true;  // draft as many as pay, maybe none; false: always as many as possible
};

struct SpeculationStats {
  int64_t runs = 0;      // of the model with a draft
  int64_t drafted = 0;   // tokens that the model judged
  int64_t accepted = 0;  // of those
};

// A drafter with the controller of its draft lengths; what it learns lasts over answers.
class Speculator {
 public:
  Speculator(std::unique_ptr<Drafter> drafter, const SpeculationOptions& options);

  void begin_answer(const SamplingOptions& sampling, std::span<const text::TokenId> history);
  // The draft to judge now, maybe empty; room: tokens that the run and the answer have place for.
  const Draft& draft(std::span<const text::TokenId> history, int64_t room);
  // What became of it: `accepted` of its tokens, then `next`; the run took `seconds`.
  void judged(size_t accepted, text::TokenId next, double seconds);

  const SpeculationStats& stats() const { return stats_; }  // since begin_answer()
  const SpeculationOptions& options() const { return options_; }

 private:
  std::unique_ptr<Drafter> drafter_;
  SpeculationOptions options_;
  DraftController controller_;
  SpeculationStats stats_;
  Draft draft_;
  int kind_ = -1;
  text::TokenId unused_ = -1;  // the guess behind the draft, judged without cost
};

}  // namespace hone::generate
