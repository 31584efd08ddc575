// How far a model's output distribution is from a reference's: perplexity, KL divergence, same top-1,
// in F32 log-probabilities, streamed window by window in constant memory.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "exec/plan.h"
#include "models/model.h"

namespace hone::evaluate {

struct Statistic {
  double value = 0, error = 0;   // standard error of the mean, or half the distance of the order statistics one
                                 // binomial deviation around a quantile; 0 for a maximum
};

struct WindowOptions {
  int64_t window = 512;          // tokens per window
  int64_t max_windows = 0;       // 0: all
  bool add_bos = true;           // first token of each window replaced by BOS where the tokenizer adds one
};

// The text as windows of exactly `window` ids (a last shorter one is dropped, as llama-perplexity does).
// Special tokens written in the text are text. Error(kBadInput) when the text is shorter than one window.
std::vector<std::vector<text::TokenId>> make_windows(const text::Tokenizer& tokenizer, std::string_view text, const WindowOptions& options);
// Whether the tokenizer begins every text with BOS.
bool adds_bos(const text::Tokenizer& tokenizer);

struct DivergenceResult {
  int64_t tokens = 0;            // scored positions: the second half of each window
  Statistic perplexity, reference_perplexity;
  Statistic kl_mean, kl_median, kl_99, kl_999, kl_max, same_top1;
  bool has_reference = false;    // without one only perplexity is set
  double seconds = 0;
};

// A full-logits forward over whole windows: graph built with select_rows and without cache.
class Scorer {
 public:
  // window: most tokens per call. max_rows: most logit rows per call, which bounds the memory (vocab * 4 bytes
  // each); 0: half a window, at least 256 where the window has them. Error(kUsage) for a window beyond the
  // model's context.
  Scorer(const models::Model& model, exec::Device& device, int64_t window, std::optional<ir::Graph> graph = {}, int64_t max_rows = 0);
  // Logits [rows, vocab] of positions [first, first + rows) of the window; valid until the next call.
  // options: to keep or resume from the state inside the graph, see exec/plan.h.
  std::span<const float> logits(std::span<const text::TokenId> window, int64_t first, int64_t rows, const exec::RunOptions& options = {});
  exec::Plan& plan() { return *plan_; }
  int64_t vocab_size() const { return vocab_; }
  int64_t max_rows() const { return max_rows_; }

 private:
  int64_t vocab_ = 0, window_ = 0, max_rows_ = 0;
  std::unique_ptr<exec::Plan> plan_;
};

// Scores positions window/2 .. window-2 of each window as predictors of the next token, as llama-perplexity does.
// Perplexity alone: reference == null. vocab: leading ids that take part (the rest is padding), 0: all.
// Error(kBadInput) when the vocabularies differ in size or logits are not finite. Error(kCancelled).
DivergenceResult evaluate(Scorer& model, Scorer* reference, const std::vector<std::vector<text::TokenId>>& windows, int64_t vocab,
                          ThreadPool& pool, ProgressSink* progress = nullptr);

// KL(p || q) in nats of two logit rows (p: reference), log-softmax in F32 with F64 sums.
double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits);

// Statistics of a sample. quantile: linear between order statistics; sorted ascending, not empty.
Statistic mean_statistic(std::span<const double> values);
Statistic quantile_statistic(std::span<const double> sorted, double fraction);

// The reference's distributions kept for many trials against the same text (the search of optimize): a trial costs
// its forward, one exponential and one product per logit. They are F32 (16 bits would cost accuracy), so
// keep the text short: positions * vocab * 4 bytes.
class ReferenceLogits {
 public:
  // Scores positions score_from .. end of each window (every position has a distribution to compare).
  // resume_points: nodes of the reference's graph before which trials may start, ascending.
  ReferenceLogits(Scorer& reference, std::vector<std::vector<text::TokenId>> windows, int64_t score_from,
                  const std::vector<ir::NodeId>& resume_points = {});
  // Mean KL divergence of a model to the reference over the stored positions, in nats. May be a rounding
  // error (1e-7) below 0.
  // resume_point: index into resume_points; only for the Scorer that was the reference, with every constant read
  // before that node as it was. -1: from the start.
  double mean_kl(Scorer& model, ThreadPool& pool, int resume_point = -1) const;
  int64_t positions() const;

 private:
  struct Window {
    std::vector<text::TokenId> ids;
    std::vector<float> probabilities;            // [rows, vocab]
    std::vector<double> negative_entropy, mass;  // per row: sum p log p and sum p of the stored values
    exec::Recording recording;
  };
  std::vector<Window> windows_;
  int64_t score_from_ = 0, vocab_ = 0;
};

Json to_json(const DivergenceResult& result);

}  // namespace hone::evaluate
