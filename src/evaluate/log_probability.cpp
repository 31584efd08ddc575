// Loops over fixed groups of lanes, so that the compiler vectorises the sums without reordering them: the
// result does not depend on the thread count or the instruction set.
#include "evaluate/log_probability.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace hone::evaluate {
namespace {

constexpr size_t kLanes = 16;

// exp(x) for x <= 0: x = n ln 2 + r, a polynomial of degree 7 in r (Cephes' coefficients), and 2^n put in place
// as exponent bits. Below -87 it stays at exp(-87) = 1.6e-38.
inline float exp_nonpositive(float x) {
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  x = x > -87.f ? x : -87.f;
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127;
  return p * std::bit_cast<float>(exponent << 23);
}

// Adds term(i) for i in [0, n): lane i % kLanes of the whole groups, then the rest in order.
template <typename Term>
inline double lane_sum(size_t n, Term term) {
  double lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  }
  double total = 0;
  for (size_t j = 0; j < kLanes; ++j) total += lanes[j];
  for (; i < n; ++i) total += term(i);
  return total;
}

// The largest value. x - x is 0 for finite values only, so one NaN or infinity spoils the second sum.
float largest_of(std::span<const float> row) {
  float lanes[kLanes], spoiled[kLanes] = {};
  std::fill(std::begin(lanes), std::end(lanes), row[0]);
  size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float x = row[i + j];
      lanes[j] = x > lanes[j] ? x : lanes[j];
      spoiled[j] += x - x;
    }
  }
  float largest = *std::max_element(std::begin(lanes), std::end(lanes));
  float spoil = 0;
  for (const float s : spoiled) spoil += s;
  for (; i < row.size(); ++i) largest = std::max(largest, row[i]), spoil += row[i] - row[i];
  if (!(spoil == 0)) {
    fail(ErrorKind::kBadInput, "[evaluate] the model's logits are not finite numbers; its weights are damaged or out of range");
  }
  return largest;
}

}  // namespace

RowSummary summarize(std::span<const float> logits) {
  HONE_CHECK(!logits.empty());
  RowSummary s;
  s.largest = largest_of(logits);
  const float largest = s.largest;
  const float* x = logits.data();
  const double total = lane_sum(logits.size(), [=](size_t i) { return static_cast<double>(exp_nonpositive(x[i] - largest)); });
  s.top1 = std::find(logits.begin(), logits.end(), largest) - logits.begin();
  s.log_sum = largest + std::log(total);
  return s;
}

double row_divergence(std::span<const float> p_logits, const RowSummary& p, std::span<const float> q_logits, const RowSummary& q) {
  HONE_CHECK(p_logits.size() == q_logits.size());
  const float *a = p_logits.data(), *b = q_logits.data();
  const float largest = p.largest;
  const double weighted = lane_sum(p_logits.size(), [=](size_t i) {
    return static_cast<double>(exp_nonpositive(a[i] - largest)) * (static_cast<double>(a[i]) - static_cast<double>(b[i]));
  });
  const double difference = weighted * std::exp(largest - p.log_sum);
  return std::max(0.0, difference - p.log_sum + q.log_sum);
}

double softmax_row(std::span<const float> logits, std::span<float> probabilities) {
  HONE_CHECK(logits.size() == probabilities.size());
  const RowSummary s = summarize(logits);
  const float largest = s.largest, scale = static_cast<float>(std::exp(largest - s.log_sum));
  const float* x = logits.data();
  float* p = probabilities.data();
  for (size_t i = 0; i < logits.size(); ++i) p[i] = exp_nonpositive(x[i] - largest) * scale;
  // log p is x - log_sum up to the rounding of p, whose effect on the sum is of second order.
  return lane_sum(logits.size(), [=](size_t i) { return static_cast<double>(p[i]) * (static_cast<double>(x[i]) - s.log_sum); });
}

double dot(std::span<const float> a, std::span<const float> b) {
  HONE_CHECK(a.size() == b.size());
  const float *x = a.data(), *y = b.data();
  return lane_sum(a.size(), [=](size_t i) { return static_cast<double>(x[i]) * static_cast<double>(y[i]); });
}

double sum(std::span<const float> a) {
  const float* x = a.data();
  return lane_sum(a.size(), [=](size_t i) { return static_cast<double>(x[i]); });
}

}  // namespace hone::evaluate
