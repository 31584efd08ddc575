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

// Order: penalties, top-k, typical, top-p, min-p, temperature, draw; each step works on the distribution
// that the one before left, renormalised. Equal logits rank by lower id, so a seed gives one sequence.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) { validate(options); }
  // history: the tokens before, oldest first (penalties). Ids of minus infinity and NaN are never drawn.
  // Error(kBadInput) when no logit is finite or one is plus infinity: the weights are damaged.
  text::TokenId sample(std::span<const float> logits, std::span<const text::TokenId> history);

 private:
  using Candidate = std::pair<float, text::TokenId>;  // logit, id

  std::span<const float> penalize(std::span<const float> logits, std::span<const text::TokenId> history);
  void keep_top_k(std::span<const float> logits);
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  text::TokenId draw();

  SamplingOptions options_;
  Random random_;
  std::vector<Candidate> candidates_;
  std::vector<float> penalized_;
  std::vector<text::TokenId> recent_;
};

// The id of the largest logit, the lowest among equals. Errors as Sampler::sample.
text::TokenId argmax(std::span<const float> logits);

}  // namespace hone::generate
