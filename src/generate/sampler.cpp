// Sampling over a vocabulary of tens of thousands of ids: a bounded heap for top-k, and sorted prefixes that
// grow only as far as top-p and typical sampling need them. Nothing sorts the whole vocabulary.
#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace hone::generate {
namespace {

using text::TokenId;
using Candidate = std::pair<float, TokenId>;

// Up to this k a heap beats a partition of all candidates: about k ln(n / k) replacements in one scan.
constexpr size_t kHeapLimit = 512;
constexpr size_t kFirstPrefix = 64;

bool ranks_before(const Candidate& a, const Candidate& b) { return a.first > b.first || (a.first == b.first && a.second < b.second); }

void check_finite(float largest) {
  if (!std::isfinite(largest)) {
    fail(ErrorKind::kBadInput, "[generate] the model's logits are not finite numbers; its weights are damaged or out of range");
  }
}

float largest_logit(const std::vector<Candidate>& candidates) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const Candidate& c : candidates) largest = std::max(largest, c.first);
  return largest;
}

// log(sum exp(logit)) over the candidates.
double log_sum(const std::vector<Candidate>& candidates, float largest) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += std::exp(c.first - largest);
  return largest + std::log(sum);
}

// Cuts the vector to its shortest prefix in the order `before` whose last element satisfies `enough`.
template <typename Before, typename Enough>
void keep_prefix(std::vector<Candidate>& candidates, Before before, Enough enough) {
  size_t done = 0, step = kFirstPrefix;
  const auto at = [&](size_t i) { return candidates.begin() + static_cast<std::ptrdiff_t>(i); };
  while (done < candidates.size()) {
    const size_t end = std::min(candidates.size(), done + step);
    if (end < candidates.size()) std::nth_element(at(done), at(end), candidates.end(), before);
    std::sort(at(done), at(end), before);
    for (; done < end; ++done) {
      if (enough(candidates[done])) {
        candidates.resize(done + 1);
        return;
      }
    }
    step *= 4;
  }
}

void require(bool good, const char* name, double value, const char* range) {
  if (!good) fail(ErrorKind::kUsage, "[generate] {} is {}; it must be {}", name, value, range);
}

}  // namespace

void validate(const SamplingOptions& o) {
  const auto within = [](float v, float low, float high) { return v >= low && v <= high; };
  require(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", o.temperature, "0 (greedy) or more");
  require(o.top_k >= 0, "top-k", o.top_k, "0 (off) or more");
  require(within(o.top_p, 0, 1), "top-p", o.top_p, "between 0 and 1 (off)");
  require(within(o.min_p, 0, 1), "min-p", o.min_p, "between 0 (off) and 1");
  require(within(o.typical_p, 0, 1) && o.typical_p > 0, "typical-p", o.typical_p, "above 0 and at most 1 (off)");
  require(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition penalty", o.repetition_penalty, "above 0 (1: off)");
  require(std::isfinite(o.presence_penalty), "presence penalty", o.presence_penalty, "a finite number");
  require(std::isfinite(o.frequency_penalty), "frequency penalty", o.frequency_penalty, "a finite number");
  require(o.penalty_window >= -1, "penalty window", o.penalty_window, "-1 (all tokens) or more");
}

TokenId argmax(std::span<const float> logits) {
  // The largest of each block in lanes that the compiler turns into vectors; only the winning block is searched.
  constexpr size_t kBlock = 1024, kLanes = 16;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float best = kNone;
  size_t winner = 0;
  for (size_t at = 0; at < logits.size(); at += kBlock) {
    const std::span<const float> block = logits.subspan(at, std::min(kBlock, logits.size() - at));
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, kNone);
    size_t i = 0;
    for (; i + kLanes <= block.size(); i += kLanes)
      for (size_t j = 0; j < kLanes; ++j) lanes[j] = block[i + j] > lanes[j] ? block[i + j] : lanes[j];
    for (; i < block.size(); ++i) lanes[0] = block[i] > lanes[0] ? block[i] : lanes[0];
    const float largest = *std::max_element(lanes, lanes + kLanes);
    if (largest > best) best = largest, winner = at;
  }
  check_finite(best);
  return static_cast<TokenId>(std::find(logits.begin() + static_cast<std::ptrdiff_t>(winner), logits.end(), best) - logits.begin());
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  filter(logits, history);
  return greedy() ? candidates_.front().second : draw();
}

std::span<const Chance> Sampler::distribution(std::span<const float> logits, std::span<const TokenId> history) {
  filter(logits, history);
  chances_.clear();
  if (greedy()) {
    chances_.push_back({candidates_.front().second, 1.0});
    return chances_;
  }
  const float largest = largest_logit(candidates_);
  const double inverse = 1.0 / options_.temperature;
  double total = 0;
  for (const Candidate& c : candidates_) {
    chances_.push_back({c.second, std::exp((c.first - largest) * inverse)});
    total += chances_.back().probability;
  }
  for (Chance& c : chances_) c.probability /= total;
  return chances_;
}

TokenId Sampler::pick(std::span<const Chance> chances) {
  HONE_CHECK(!chances.empty());
  double total = 0;
  for (const Chance& c : chances) total += c.probability;
  double left = random_.uniform() * total;
  for (const Chance& c : chances) {
    left -= c.probability;
    if (left < 0) return c.id;
  }
  return chances.back().id;  // rounding left a sliver past the last
}

TokenId Sampler::sample_drafted(std::span<const float> logits, std::span<const TokenId> history, TokenId drafted,
                                std::span<const Chance> q) {
  if (q.empty() || greedy()) return sample(logits, history);
  const auto chance_of = [&](std::span<const Chance> chances) {
    const auto found = std::find_if(chances.begin(), chances.end(), [&](const Chance& c) { return c.id == drafted; });
    return found == chances.end() ? 0.0 : found->probability;
  };
  const std::span<const Chance> p = distribution(logits, history);
  const double in_q = chance_of(q);
  HONE_CHECK(in_q > 0);
  if (random_.uniform() * in_q < chance_of(p)) return drafted;
  for (const Chance& c : q) {
    if (static_cast<size_t>(c.id) >= drafted_mass_.size()) drafted_mass_.resize(static_cast<size_t>(c.id) + 1);
    drafted_mass_[static_cast<size_t>(c.id)] = c.probability;
  }
  residual_.clear();
  for (const Chance& c : p) {
    const double mass = static_cast<size_t>(c.id) < drafted_mass_.size() ? drafted_mass_[static_cast<size_t>(c.id)] : 0;
    if (c.probability > mass) residual_.push_back({c.id, c.probability - mass});
  }
  for (const Chance& c : q) drafted_mass_[static_cast<size_t>(c.id)] = 0;
  // p = q up to rounding leaves nothing and is refused with a probability of rounding only.
  return residual_.empty() ? pick(p) : pick(residual_);
}

// Leaves what may be drawn in candidates_; greedy: the best alone.
void Sampler::filter(std::span<const float> logits, std::span<const TokenId> history) {
  const std::span<const float> values = penalize(logits, history);
  if (greedy()) {
    const TokenId best = argmax(values);
    candidates_.assign(1, {values[static_cast<size_t>(best)], best});
    return;
  }
  keep_top_k(values);
  if (options_.typical_p < 1) keep_typical();
  if (options_.top_p < 1) keep_top_p();
  if (options_.min_p > 0) keep_min_p();
}

std::span<const float> Sampler::penalize(std::span<const float> logits, std::span<const TokenId> history) {
  const bool off = options_.repetition_penalty == 1 && options_.presence_penalty == 0 && options_.frequency_penalty == 0;
  if (off || options_.penalty_window == 0 || history.empty()) return logits;
  if (options_.penalty_window > 0 && history.size() > static_cast<size_t>(options_.penalty_window)) {
    history = history.last(static_cast<size_t>(options_.penalty_window));
  }
  penalized_.assign(logits.begin(), logits.end());
  recent_.assign(history.begin(), history.end());
  std::sort(recent_.begin(), recent_.end());
  for (size_t i = 0; i < recent_.size();) {
    const TokenId id = recent_[i];
    size_t end = i;
    while (end < recent_.size() && recent_[end] == id) ++end;
    const auto count = static_cast<float>(end - i);
    i = end;
    if (id < 0 || static_cast<size_t>(id) >= penalized_.size()) continue;
    float& logit = penalized_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= count * options_.frequency_penalty + options_.presence_penalty;
  }
  return penalized_;
}

// Leaves the best k candidates in order, or all finite ones in the order of ids when top-k is off.
void Sampler::keep_top_k(std::span<const float> logits) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const size_t k = options_.top_k == 0 ? logits.size() : std::min(logits.size(), static_cast<size_t>(options_.top_k));
  candidates_.clear();
  if (k < logits.size() && k <= kHeapLimit) {
    float threshold = kLowest;  // the k-th best so far; equal logits of higher ids rank behind it
    for (size_t i = 0; i < logits.size(); ++i) {
      if (!(logits[i] > threshold)) continue;
      if (candidates_.size() == k) {
        std::pop_heap(candidates_.begin(), candidates_.end(), ranks_before);
        candidates_.pop_back();
      }
      candidates_.emplace_back(logits[i], static_cast<TokenId>(i));
      std::push_heap(candidates_.begin(), candidates_.end(), ranks_before);
      if (candidates_.size() == k) threshold = candidates_.front().first;
    }
    std::sort_heap(candidates_.begin(), candidates_.end(), ranks_before);
  } else {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > kLowest) candidates_.emplace_back(logits[i], static_cast<TokenId>(i));
    }
    if (k < candidates_.size()) {
      size_t kept = 0;
      keep_prefix(candidates_, ranks_before, [&](const Candidate&) { return ++kept == k; });
    }
  }
  check_finite(largest_logit(candidates_));
}

// Keeps the ids whose information is closest to the entropy, up to a mass of typical_p.
void Sampler::keep_typical() {
  const double normalizer = log_sum(candidates_, largest_logit(candidates_));
  double entropy = 0;
  for (const Candidate& c : candidates_) {
    const double log_p = c.first - normalizer;
    entropy -= std::exp(log_p) * log_p;
  }
  const auto distance = [&](const Candidate& c) { return std::abs(normalizer - c.first - entropy); };
  double mass = 0;
  keep_prefix(
      candidates_,
      [&](const Candidate& a, const Candidate& b) {
        const double da = distance(a), db = distance(b);
        return da < db || (da == db && a.second < b.second);
      },
      [&](const Candidate& c) { return (mass += std::exp(c.first - normalizer)) >= options_.typical_p; });
}

void Sampler::keep_top_p() {
  const double normalizer = log_sum(candidates_, largest_logit(candidates_));
  double mass = 0;
  keep_prefix(candidates_, ranks_before, [&](const Candidate& c) { return (mass += std::exp(c.first - normalizer)) >= options_.top_p; });
}

void Sampler::keep_min_p() {
  const float least = largest_logit(candidates_) + std::log(options_.min_p);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.first < least; });
}

TokenId Sampler::draw() {
  const float largest = largest_logit(candidates_);
  const double inverse = 1.0 / options_.temperature;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp((c.first - largest) * inverse);
  double left = random_.uniform() * total;
  for (const Candidate& c : candidates_) {
    left -= std::exp((c.first - largest) * inverse);
    if (left < 0) return c.second;
  }
  return candidates_.back().second;  // rounding left a sliver past the last
}

}  // namespace hone::generate
