// The generation loop: sample, decode to text, look for the end, feed.
#include <algorithm>
#include <chrono>

#include "base/cancel.h"
#include "base/error.h"
#include "generate/session.h"
#include "generate/text_stream.h"

namespace hone::generate {
namespace {

using text::TokenId;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void check_prompt(const CausalModel& model, std::span<const TokenId> prompt) {
  if (prompt.empty()) fail(ErrorKind::kBadInput, "[generate] the prompt is empty; give at least one token");
  const auto count = static_cast<int64_t>(prompt.size());
  if (count > model.context() - model.position()) {
    fail(ErrorKind::kBadInput, "[generate] the prompt has {} tokens and the context of {} has room for {}; shorten it or ask for a larger context",
         count, model.context(), model.context() - model.position());
  }
}

// Text of an answer under way: tokens in, certain text out to the result and the listener.
class Answer {
 public:
  Answer(const text::Tokenizer& tokenizer, bool continues, const GenerateOptions& options, const std::function<bool(std::string_view)>& on_text)
      : decoder_(tokenizer, true, continues), stop_(options.stop), on_text_(on_text) {}

  void push(TokenId id) { emit(stop_.push(decoder_.push(id))); }
  void finish() {
    emit(stop_.push(decoder_.finish()));
    emit(stop_.finish());
  }
  bool stopped() const { return stop_.stopped(); }
  bool refused() const { return refused_; }  // the listener wants no more
  std::string take() { return std::move(text_); }

 private:
  void emit(const std::string& piece) {
    if (piece.empty() || refused_) return;
    text_ += piece;
    if (on_text_ && !on_text_(piece)) refused_ = true;
  }
  text::StreamDecoder decoder_;
  StopStream stop_;
  const std::function<bool(std::string_view)>& on_text_;
  std::string text_;
  bool refused_ = false;
};

bool ends_turn(const text::Tokenizer& tokenizer, TokenId id) {
  return std::find(tokenizer.end_of_turn.begin(), tokenizer.end_of_turn.end(), id) != tokenizer.end_of_turn.end();
}

// Chooses tokens until something ends the answer; returns what did.
StopReason decode_loop(CausalModel& model, const text::Tokenizer& tokenizer, std::span<const float> logits, const GenerateOptions& options,
                       Answer& answer, std::vector<TokenId>& ids) {
  Sampler sampler(options.sampling);
  while (true) {
    if (cancel_requested()) return StopReason::kCancelled;
    if (options.max_tokens >= 0 && static_cast<int64_t>(ids.size()) >= options.max_tokens) return StopReason::kMaxTokens;
    const TokenId id = sampler.sample(logits, model.tokens());
    if (!options.ignore_end && ends_turn(tokenizer, id)) return StopReason::kEndOfTurn;
    ids.push_back(id);
    answer.push(id);
    if (answer.stopped()) return StopReason::kStopString;
    if (answer.refused()) return StopReason::kCancelled;
    if (options.max_tokens >= 0 && static_cast<int64_t>(ids.size()) >= options.max_tokens) return StopReason::kMaxTokens;
    if (model.position() >= model.context()) return StopReason::kContextFull;
    logits = model.feed(std::span(&id, 1));
  }
}

// Whether text stands before the answer: a start token alone is none.
bool follows_text(const CausalModel& model, const text::Tokenizer& tokenizer, std::span<const TokenId> prompt) {
  const auto is_text = [&](TokenId id) { return !tokenizer.is_special(id); };
  return std::any_of(prompt.begin(), prompt.end(), is_text) || std::any_of(model.tokens().begin(), model.tokens().end(), is_text);
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfTurn: return "end of turn";
    case StopReason::kStopString: return "stop string";
    case StopReason::kMaxTokens: return "token limit";
    case StopReason::kContextFull: return "context full";
    case StopReason::kCancelled: return "cancelled";
  }
  return "";
}

GenerateResult generate(CausalModel& model, const text::Tokenizer& tokenizer, std::span<const TokenId> prompt, const GenerateOptions& options,
                        const std::function<bool(std::string_view)>& on_text) {
  validate(options.sampling);
  check_prompt(model, prompt);
  Answer answer(tokenizer, !options.own_text && follows_text(model, tokenizer, prompt), options, on_text);
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const auto start = std::chrono::steady_clock::now();
  std::span<const float> logits;
  try {
    logits = model.feed(prompt);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
    result.reason = StopReason::kCancelled;
    result.prefill_seconds = seconds_since(start);
    return result;
  }
  result.prefill_seconds = seconds_since(start);
  const auto decode_start = std::chrono::steady_clock::now();
  result.reason = decode_loop(model, tokenizer, logits, options, answer, result.ids);
  answer.finish();
  // A stop string may be completed by the last bytes only.
  if (answer.stopped()) result.reason = StopReason::kStopString;
  result.decode_seconds = seconds_since(decode_start);
  result.text = answer.take();
  return result;
}

}  // namespace hone::generate
