// Answers to many prompts at once: requests wait for a place in the batch, join when one is free, and every
// step gives each of them a token (continuous batching, Yu et al. 2022). One thread calls it; a server puts
// it in a loop.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "generate/answer.h"
#include "generate/batch_session.h"

namespace hone::generate {

struct BatchRequest {
  std::vector<text::TokenId> prompt;
  GenerateOptions options;  // a speculator is not used: rows fill the run already
  // As generate()'s. Called by step().
  std::function<bool(std::string_view)> on_text;
  std::function<void(GenerateResult&&)> on_done;
};

struct SchedulerOptions {
  // Tokens of prompts that one step reads at most, so that running answers do not wait for a long prompt; 0:
  // all.
  int64_t prompt_tokens_per_step = 0;
};

class Scheduler {
 public:
  using Id = int64_t;

  // All must outlive this; the pool may be the device's.
  Scheduler(LanguageModel& model, const text::Tokenizer& tokenizer, ThreadPool& pool,
            const SchedulerOptions& options = {});
  ~Scheduler();

  // Error(kBadInput) for a prompt that is empty or too long, Error(kUsage) for sampling options out of range.
  Id submit(BatchRequest request);
  // Ends an answer with kCancelled at the next step; unknown and finished ids are ignored.
  void cancel(Id id);

  // Lets requests join, feeds every running sequence once, takes its next token, and reports answers that
  // ended. False when nothing is left to do. A cancel of the process (base/cancel.h) ends all answers with
  // kCancelled.
  bool step();

  size_t waiting() const { return waiting_.size(); }
  size_t running() const { return running_.size(); }

 private:
  struct Sequence;
  void admit();
  void plan_feeds();
  void take_tokens(std::span<const std::span<const float>> logits);
  void finish(Sequence& sequence, StopReason reason);
  void cancel_all();

  const text::Tokenizer& tokenizer_;
  ThreadPool& pool_;
  SchedulerOptions options_;
  BatchSession session_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;
  std::vector<BatchSession::Feed> feeds_;
  std::vector<Sequence*> fed_;      // parallel to feeds_
  std::vector<Sequence*> sampled_;  // those of them whose prompt is read
  Id next_ = 0;
};

}  // namespace hone::generate
