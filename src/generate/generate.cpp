// The generation loop: sample, decode to text, look for the end, feed; with a drafter, feed guesses along and keep
// those that hold.
#include <algorithm>
#include <chrono>

#include "base/cancel.h"
#include "base/error.h"
#include "generate/answer.h"
#include "generate/session.h"

namespace hone::generate {
namespace {

using text::TokenId;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Decoding {
 public:
  Decoding(CausalModel& model, const GenerateOptions& options, Answer& answer)
      : model_(model), answer_(answer), sampler_(options.sampling) {
    if (model.scored_rows() > 1) speculator_ = options.speculator;
  }

  // Chooses tokens until something ends the answer; returns what did. logits: after the prompt. The model holds
  // every token before the last one chosen then, whatever was drafted.
  StopReason run(std::span<const float> logits) {
    if (cancel_requested()) return StopReason::kCancelled;
    if (answer_.at_limit()) return StopReason::kMaxTokens;
    TokenId id = sampler_.sample(logits, model_.tokens());
    std::optional<StopReason> end = answer_.take(id);
    while (!end) {
      if (model_.position() >= model_.context()) return StopReason::kContextFull;
      end = step(id);
    }
    return *end;
  }

 private:
  // Feeds the pending token with what is drafted behind it, and takes tokens as long as the draft holds and one more.
  std::optional<StopReason> step(TokenId& id) {
    const Draft& draft = draft_behind(id);
    batch_.assign(1, id);
    batch_.insert(batch_.end(), draft.ids.begin(), draft.ids.end());
    const int64_t before = model_.position();
    const auto start = std::chrono::steady_clock::now();
    const std::span<const float> logits = batch_.size() == 1 ? model_.feed(batch_) : model_.feed_scored(batch_);
    const double seconds = seconds_since(start);
    const size_t vocab = logits.size() / batch_.size();

    std::optional<StopReason> end;
    size_t held = 1;  // tokens of the batch that stay
    bool matched = true;
    while (true) {
      if (cancel_requested()) {
        end = StopReason::kCancelled;
        break;
      }
      const bool guessed = held < batch_.size();
      const auto row = logits.subspan((held - 1) * vocab, vocab);
      const auto history = std::span(model_.tokens()).first(static_cast<size_t>(before) + held);
      id = guessed ? sampler_.sample_drafted(row, history, batch_[held], draft.chances_of(held - 1))
                   : sampler_.sample(row, history);
      matched = guessed && id == batch_[held];
      end = answer_.take(id);
      if (end || !matched) break;
      ++held;
    }
    const size_t accepted = held - (matched ? 0 : 1);  // of the draft; the one that ended the answer counts
    if (held < batch_.size()) model_.truncate(before + static_cast<int64_t>(held));
    if (speculator_ && end != StopReason::kCancelled) speculator_->judged(accepted, id, seconds);
    return end;
  }

  const Draft& draft_behind(TokenId id) {
    static const Draft none;
    if (!speculator_) return none;
    // The answer takes at most left() tokens more, one of them without a draft.
    const int64_t room = std::min({answer_.left() - 1, model_.scored_rows() - 1,
                                   model_.context() - model_.position() - 1});
    history_.assign(model_.tokens().begin(), model_.tokens().end());
    history_.push_back(id);
    return speculator_->draft(history_, room);
  }

  CausalModel& model_;
  Answer& answer_;
  Sampler sampler_;
  Speculator* speculator_ = nullptr;
  std::vector<TokenId> batch_, history_;
};

}  // namespace

GenerateResult generate(CausalModel& model, const text::Tokenizer& tokenizer, std::span<const TokenId> prompt, const GenerateOptions& options,
                        const std::function<bool(std::string_view)>& on_text) {
  validate(options.sampling);
  check_prompt(prompt, model.context() - model.position(), model.context());
  const bool continues = !options.own_text && (holds_text(tokenizer, prompt) || holds_text(tokenizer, model.tokens()));
  Answer answer(tokenizer, continues, options, on_text);
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const auto start = std::chrono::steady_clock::now();
  std::span<const float> logits;
  StopReason reason = StopReason::kCancelled;
  std::optional<std::chrono::steady_clock::time_point> decode_start;
  try {
    logits = model.feed(prompt);
    if (options.speculator) options.speculator->begin_answer(options.sampling, model.tokens());
    result.prefill_seconds = seconds_since(start);
    decode_start = std::chrono::steady_clock::now();
    reason = Decoding(model, options, answer).run(logits);
  } catch (const Error& error) {  // while a model reads a prompt in chunks
    if (error.kind() != ErrorKind::kCancelled) throw;
  }
  (decode_start ? result.decode_seconds : result.prefill_seconds) = seconds_since(decode_start.value_or(start));
  answer.finish(reason, result);
  if (options.speculator) result.speculation = options.speculator->stats();
  return result;
}

}  // namespace hone::generate
