// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "text/tokenizer.h"

namespace hone::generate {

struct SamplingOptions {
  float temperature = 0.8f;        // 0: greedy
  int top_k = 40;                  // 0: off
  float top_p = 0.95f;             // 1: off
  float min_p = 0.05f;             // 0: off
  float typical_p = 1.0f;          // 1: off; locally typical sampling, Meister et al. 2022
  float repetition_penalty = 1.0f; // 1: off; Keskar et al. 2019
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int penalty_window = 64;         // last tokens that penalties look at; -1: all
  uint64_t seed = 0;
};
void validate(const SamplingOptions& options);  // Error(kUsage) names the value out of range

// One id of a distribution.
struct Chance {
  text::TokenId id = 0;
  double probability = 0;
};

// Order: penalties, top-k, typical, top-p, min-p, temperature, draw; each step works on the distribution
// that the one before left, renormalised. Equal logits rank by lower id, so a seed gives one sequence.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) { validate(options); }
  // history: the tokens before, oldest first (penalties). Ids of minus infinity and NaN are never drawn.
  // Error(kBadInput) when no logit is finite or one is plus infinity: the weights are damaged.
  text::TokenId sample(std::span<const float> logits, std::span<const text::TokenId> history);
  // What sample() draws from: the ids left after the whole chain with their probabilities, in no order, a sum of 1;
  // greedy: one id. Draws nothing. Valid until the next call.
  std::span<const Chance> distribution(std::span<const float> logits, std::span<const text::TokenId> history);
  // Draws an id of `chances` (not empty).
  text::TokenId pick(std::span<const Chance> chances);
  // The next token when `drafted` was drawn from q, by speculative sampling (Leviathan et al. 2023; Chen et al. 2023):
  // `drafted` with probability min(1, p / q), else a draw from max(0, p - q) normalised, where p is distribution(). The
  // outcome is distributed as sample()'s. An empty q is a point mass, as of a draft that was looked up: the rule then
  // is a draw from p that is compared with `drafted`, so the same seed gives the same tokens as sample().
  text::TokenId sample_drafted(std::span<const float> logits, std::span<const text::TokenId> history, text::TokenId drafted,
                               std::span<const Chance> q);
  bool greedy() const { return options_.temperature == 0; }

 private:
  using Candidate = std::pair<float, text::TokenId>;  // logit, id

  void filter(std::span<const float> logits, std::span<const text::TokenId> history);
  std::span<const float> penalize(std::span<const float> logits, std::span<const text::TokenId> history);
  void keep_top_k(std::span<const float> logits);
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  text::TokenId draw();

  SamplingOptions options_;
  Random random_;
  std::vector<Candidate> candidates_;
  std::vector<Chance> chances_, residual_;
  std::vector<double> drafted_mass_;  // per id, zeros between calls
  std::vector<float> penalized_;
  std::vector<text::TokenId> recent_;
};

// The id of the largest logit, the lowest among equals. Errors as Sampler::sample.
text::TokenId argmax(std::span<const float> logits);

}  // namespace hone::generate
