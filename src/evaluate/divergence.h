// How far a model's output distribution is from a reference's: perplexity, KL divergence, same top-1,
// in F32 log-probabilities, streamed window by window in constant memory.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "exec/plan.h"
#include "models/model.h"

namespace hone::evaluate {

struct Statistic {
  double value = 0, error = 0;   // standard error of the mean, or a bootstrap-free binomial error of a quantile
};

struct WindowOptions {
  int64_t window = 512;          // tokens per window
  int64_t max_windows = 0;       // 0: all
  bool add_bos = true;           // first token of each window replaced by BOS where the tokenizer adds one
};

// The text as windows of exactly `window` ids (a last shorter one is dropped, as llama-perplexity does).
// Error(kBadInput) when the text is shorter than one window.
std::vector<std::vector<text::TokenId>> make_windows(const text::Tokenizer& tokenizer, std::string_view text, const WindowOptions& options);

struct DivergenceResult {
  int64_t tokens = 0;            // scored positions: the second half of each window
  Statistic perplexity, reference_perplexity;
  Statistic kl_mean, kl_median, kl_99, kl_999, kl_max, same_top1;
  double seconds = 0;
};

// A full-logits forward over whole windows: graph built with select_rows and without cache.
class Scorer {
 public:
  Scorer(const models::Model& model, exec::Device& device, int64_t window, std::optional<ir::Graph> graph = {});
  // Logits [rows, vocab] of positions [first, first + rows) of the window; valid until the next call.
  std::span<const float> logits(std::span<const text::TokenId> window, int64_t first, int64_t rows);
  exec::Plan& plan() { return *plan_; }
  int64_t vocab_size() const { return vocab_; }

 private:
  int64_t vocab_ = 0;
  std::unique_ptr<exec::Plan> plan_;
};

// Perplexity alone: reference == null. Vocabularies must be of the same size.
DivergenceResult evaluate(Scorer& model, Scorer* reference, const std::vector<std::vector<text::TokenId>>& windows, int64_t vocab,
                          ThreadPool& pool, ProgressSink* progress = nullptr);

// KL(p || q) in nats of two logit rows (p: reference), log-softmax in F32 with F64 sums.
double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits);

// Reference log-probabilities kept for many trials against the same text (the search of optimize). 16-bit
// would cost accuracy: they are F32, so keep the text short.
class ReferenceLogits {
 public:
  ReferenceLogits(Scorer& reference, std::vector<std::vector<text::TokenId>> windows, int64_t score_from);
  // Mean KL divergence of a model to the reference over the stored positions.
  double mean_kl(Scorer& model, ThreadPool& pool) const;
  int64_t positions() const;

 private:
  std::vector<std::vector<text::TokenId>> windows_;
  int64_t score_from_ = 0, vocab_ = 0;
  std::vector<std::vector<float>> log_probabilities_;  // per window [rows, vocab]
};

Json to_json(const DivergenceResult& result);

}  // namespace hone::evaluate
