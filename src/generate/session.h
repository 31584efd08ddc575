// A language model ready to speak: plan, states, tokenizer; prefill, decode, generation with stop
// conditions and streaming.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "exec/plan.h"
#include "generate/sampler.h"
#include "models/model.h"

namespace hone::generate {

struct SessionOptions {
  int64_t context = 0;            // 0: the model's, at most 4096
  int64_t batch = 1;
  int64_t chunk = 512;            // tokens per prefill run
  tensor::FormatId cache_format = tensor::FormatId::kF16;
};

class LanguageModel {
 public:
  // The device must outlive the session. graph: what to run instead of the model's own (for example
  // after a pass); it must have been built with select_rows and cache.
  LanguageModel(const models::Model& model, exec::Device& device, const SessionOptions& options = {},
                std::optional<ir::Graph> graph = {});

  // Appends ids to batch row 0 and returns the logits after the last one (valid until the next call).
  // Error(kBadInput) when the context is full.
  std::span<const float> feed(std::span<const text::TokenId> ids);
  // One token for every batch row in lockstep; logits [batch, vocab].
  std::span<const float> feed_batch(std::span<const text::TokenId> one_per_row);
  int64_t position(int64_t row = 0) const;
  void truncate(int64_t length, int64_t row = 0);   // keeps the first tokens of the row
  void reset();
  int64_t context() const { return options_.context; }
  int64_t vocab_size() const { return vocab_; }
  exec::Plan& plan() { return *plan_; }
  uint64_t state_bytes() const { return states_.bytes(); }

 private:
  SessionOptions options_;
  int64_t vocab_ = 0;
  std::unique_ptr<exec::Plan> plan_;
  exec::StateSet states_;
};

enum class StopReason { kEndOfTurn, kStopString, kMaxTokens, kContextFull, kCancelled };

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = -1;                 // -1: until the end of turn or the context is full
  std::vector<std::string> stop;           // text that ends the answer; not part of it
  bool ignore_end = false;
};

struct GenerateResult {
  std::string text;
  std::vector<text::TokenId> ids;
  StopReason reason = StopReason::kEndOfTurn;
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t prompt_tokens = 0;
};

// Continues `model` with prompt ids. on_text gets text as it becomes certain (whole characters, never part of
// a stop string) and returns false to stop early.
GenerateResult generate(LanguageModel& model, const text::Tokenizer& tokenizer, std::span<const text::TokenId> prompt,
                        const GenerateOptions& options, const std::function<bool(std::string_view)>& on_text = {});

}  // namespace hone::generate
