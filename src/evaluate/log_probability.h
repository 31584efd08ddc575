// Reductions over one row of logits: the inner loops of perplexity and KL divergence. Exponentials in F32
// (relative error below 3e-7), sums in F64.
#pragma once

#include <cstdint>
#include <span>

namespace hone::evaluate {

struct RowSummary {
  float largest = 0;
  int64_t top1 = 0;      // first index of the largest
  double log_sum = 0;    // log(sum(exp(logit)))
};
// Error(kBadInput) when the row holds a value that is not finite.
RowSummary summarize(std::span<const float> logits);

// sum p_i (p_logits_i - q_logits_i) under p = softmax(p_logits), with the normalisers given:
// KL(p || q) = that - p.log_sum + q.log_sum, in nats, at least 0.
double row_divergence(std::span<const float> p_logits, const RowSummary& p, std::span<const float> q_logits, const RowSummary& q);

// Fills probabilities = softmax(logits) and returns sum(p log p) of the rounded values.
double softmax_row(std::span<const float> logits, std::span<float> probabilities);

// sum(a_i * b_i) in F64.
double dot(std::span<const float> a, std::span<const float> b);
double sum(std::span<const float> a);

}  // namespace hone::evaluate
