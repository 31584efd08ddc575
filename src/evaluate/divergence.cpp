// Streams windows through one or two models and reduces their logits to a handful of statistics.
#include "evaluate/divergence.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/cancel.h"
#include "base/error.h"
#include "evaluate/log_probability.h"

namespace hone::evaluate {
namespace {

using text::TokenId;
constexpr size_t kRowGrain = 4;

// What is kept of each scored position.
struct Scores {
  std::vector<double> nll, reference_nll, kl, same;   // nats; same: 1 where both choose one token
};

std::span<const float> row_of(std::span<const float> logits, size_t row, int64_t stride, int64_t vocab) {
  return logits.subspan(row * static_cast<size_t>(stride), static_cast<size_t>(vocab));
}

// Scores `rows` positions from `first` on; each predicts the token after it.
void score_rows(Scorer& model, Scorer* reference, std::span<const TokenId> window, int64_t first, int64_t rows, int64_t vocab, ThreadPool& pool,
                Scores& scores) {
  const size_t base = scores.nll.size(), count = static_cast<size_t>(rows);
  scores.nll.resize(base + count);
  std::span<const float> p_logits;
  if (reference) {
    scores.reference_nll.resize(base + count);
    scores.kl.resize(base + count);
    scores.same.resize(base + count);
    p_logits = reference->logits(window, first, rows);
  }
  const std::span<const float> q_logits = model.logits(window, first, rows);
  pool.for_range(count, kRowGrain, [&](size_t begin, size_t end, int) {
    for (size_t r = begin; r < end; ++r) {
      const auto next = static_cast<size_t>(window[static_cast<size_t>(first) + r + 1]);
      const auto q = row_of(q_logits, r, model.vocab_size(), vocab);
      if (next >= q.size()) fail(ErrorKind::kBadInput, "[evaluate] token id {} is outside the {} ids that take part", next, vocab);
      const RowSummary qs = summarize(q);
      scores.nll[base + r] = qs.log_sum - q[next];
      if (!reference) continue;
      const auto p = row_of(p_logits, r, reference->vocab_size(), vocab);
      const RowSummary ps = summarize(p);
      scores.reference_nll[base + r] = ps.log_sum - p[next];
      scores.kl[base + r] = row_divergence(p, ps, q, qs);
      scores.same[base + r] = ps.top1 == qs.top1 ? 1 : 0;
    }
  });
}

Statistic perplexity_of(std::span<const double> nll) {
  const Statistic mean = mean_statistic(nll);
  const double perplexity = std::exp(mean.value);
  return {perplexity, perplexity * mean.error};
}

DivergenceResult reduce(Scores& scores, bool has_reference) {
  DivergenceResult result;
  result.tokens = static_cast<int64_t>(scores.nll.size());
  result.perplexity = perplexity_of(scores.nll);
  result.has_reference = has_reference;
  if (!has_reference) return result;
  result.reference_perplexity = perplexity_of(scores.reference_nll);
  result.kl_mean = mean_statistic(scores.kl);
  result.same_top1 = mean_statistic(scores.same);
  std::sort(scores.kl.begin(), scores.kl.end());
  result.kl_median = quantile_statistic(scores.kl, 0.5);
  result.kl_99 = quantile_statistic(scores.kl, 0.99);
  result.kl_999 = quantile_statistic(scores.kl, 0.999);
  result.kl_max = {scores.kl.back(), 0};
  return result;
}

Json statistic_json(const Statistic& s) { return Json{{"value", s.value}, {"error", s.error}}; }

}  // namespace

Statistic mean_statistic(std::span<const double> values) {
  if (values.empty()) return {};
  double sum = 0;
  for (const double v : values) sum += v;
  const auto n = static_cast<double>(values.size());
  const double mean = sum / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / n / (n - 1)) : 0};
}

Statistic quantile_statistic(std::span<const double> sorted, double fraction) {
  HONE_CHECK(!sorted.empty());
  const auto at = [&](double f) {
    const double position = std::clamp(f, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<size_t>(position);
    const size_t high = std::min(low + 1, sorted.size() - 1);
    const double t = position - static_cast<double>(low);
    return (1 - t) * sorted[low] + t * sorted[high];
  };
  // The rank of a quantile is binomial: its deviation is sqrt(f (1 - f) / n) of the sample.
  const double deviation = std::sqrt(fraction * (1 - fraction) / static_cast<double>(sorted.size()));
  return {at(fraction), (at(fraction + deviation) - at(fraction - deviation)) / 2};
}

DivergenceResult evaluate(Scorer& model, Scorer* reference, const std::vector<std::vector<TokenId>>& windows, int64_t vocab, ThreadPool& pool,
                          ProgressSink* progress) {
  if (reference && reference->vocab_size() != model.vocab_size()) {
    fail(ErrorKind::kBadInput, "[evaluate] the vocabularies differ: {} ids against {} of the reference; compare versions of one model",
         model.vocab_size(), reference->vocab_size());
  }
  if (vocab == 0) vocab = model.vocab_size();
  HONE_CHECK(vocab > 0 && vocab <= model.vocab_size());
  const auto start = std::chrono::steady_clock::now();
  const int64_t most = reference ? std::min(model.max_rows(), reference->max_rows()) : model.max_rows();
  Scores scores;
  {
    Progress stage(progress, reference ? "comparing with the reference" : "measuring perplexity", windows.size());
    for (const std::vector<TokenId>& window : windows) {
      const auto length = static_cast<int64_t>(window.size());
      for (int64_t first = length / 2; first < length - 1; first += most) {
        throw_if_cancelled();
        score_rows(model, reference, window, first, std::min(most, length - 1 - first), vocab, pool, scores);
      }
      stage.advance();
    }
  }
  if (scores.nll.empty()) fail(ErrorKind::kBadInput, "[evaluate] there is nothing to score; give at least one window of 2 tokens");
  DivergenceResult result = reduce(scores, reference != nullptr);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  return row_divergence(p_logits, summarize(p_logits), q_logits, summarize(q_logits));
}

ReferenceLogits::ReferenceLogits(Scorer& reference, std::vector<std::vector<TokenId>> windows, int64_t score_from,
                                 const std::vector<ir::NodeId>& resume_points)
    : score_from_(score_from), vocab_(reference.vocab_size()) {
  HONE_CHECK(score_from >= 0);
  for (std::vector<TokenId>& ids : windows) {
    throw_if_cancelled();
    const auto length = static_cast<int64_t>(ids.size());
    HONE_CHECK(score_from < length);
    Window window;
    const auto rows = static_cast<size_t>(length - score_from), vocab = static_cast<size_t>(vocab_);
    window.probabilities.resize(rows * vocab);
    window.recording = exec::Recording(resume_points);
    for (int64_t first = score_from; first < length; first += reference.max_rows()) {
      const auto count = static_cast<size_t>(std::min(reference.max_rows(), length - first));
      const std::span<const float> logits = reference.logits(ids, first, static_cast<int64_t>(count), {.record = &window.recording});
      for (size_t r = 0; r < count; ++r) {
        const size_t at = static_cast<size_t>(first - score_from) + r;
        const std::span<float> stored = std::span(window.probabilities).subspan(at * vocab, vocab);
        window.negative_entropy.push_back(softmax_row(logits.subspan(r * vocab, vocab), stored));
        window.mass.push_back(sum(stored));
      }
    }
    window.ids = std::move(ids);
    windows_.push_back(std::move(window));
  }
}

double ReferenceLogits::mean_kl(Scorer& model, ThreadPool& pool, int resume_point) const {
  HONE_CHECK(model.vocab_size() == vocab_);
  const auto vocab = static_cast<size_t>(vocab_);
  double total = 0;
  std::vector<double> kl;
  for (const Window& window : windows_) {
    throw_if_cancelled();
    const auto length = static_cast<int64_t>(window.ids.size());
    exec::RunOptions options;
    if (resume_point >= 0) options = {.resume = &window.recording, .point = static_cast<size_t>(resume_point)};
    for (int64_t first = score_from_; first < length; first += model.max_rows()) {
      const auto count = static_cast<size_t>(std::min(model.max_rows(), length - first));
      const std::span<const float> logits = model.logits(window.ids, first, static_cast<int64_t>(count), options);
      kl.assign(count, 0);
      pool.for_range(count, kRowGrain, [&](size_t begin, size_t end, int) {
        for (size_t r = begin; r < end; ++r) {
          const size_t at = static_cast<size_t>(first - score_from_) + r;
          const std::span<const float> q = logits.subspan(r * vocab, vocab);
          const double expected = dot(std::span(window.probabilities).subspan(at * vocab, vocab), q);
          kl[r] = window.negative_entropy[at] - expected + window.mass[at] * summarize(q).log_sum;
        }
      });
      for (const double v : kl) total += v;
    }
  }
  return total / static_cast<double>(positions());
}

int64_t ReferenceLogits::positions() const {
  size_t count = 0;
  for (const Window& window : windows_) count += window.mass.size();
  return static_cast<int64_t>(count);
}

Json to_json(const DivergenceResult& r) {
  Json json{{"tokens", r.tokens}, {"perplexity", statistic_json(r.perplexity)}};
  if (r.has_reference) {
    json["reference_perplexity"] = statistic_json(r.reference_perplexity);
    json["kl_divergence"] = {{"mean", statistic_json(r.kl_mean)},   {"median", statistic_json(r.kl_median)},
                             {"p99", statistic_json(r.kl_99)},      {"p99_9", statistic_json(r.kl_999)},
                             {"max", r.kl_max.value},               {"unit", "nat"}};
    json["same_top1"] = statistic_json(r.same_top1);
  }
  json["seconds"] = r.seconds;
  return json;
}

}  // namespace hone::evaluate
