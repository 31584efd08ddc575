// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
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

// Order: penalties, top-k, typical, top-p, min-p, temperature, draw.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) { validate(options); }
  text::TokenId sample(std::span<const float> logits, std::span<const text::TokenId> history);

 private:
  SamplingOptions options_;
  Random random_;
  std::vector<std::pair<float, text::TokenId>> candidates_;
};

}  // namespace hone::generate
