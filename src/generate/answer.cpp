#include "generate/answer.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace hone::generate {

using text::TokenId;

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfTurn:
      return "end of turn";
    case StopReason::kStopString:
      return "stop string";
    case StopReason::kMaxTokens:
      return "token limit";
    case StopReason::kContextFull:
      return "context full";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "";
}

Answer::Answer(const text::Tokenizer& tokenizer, bool continues, const GenerateOptions& options,
               std::function<bool(std::string_view)> on_text)
    : tokenizer_(tokenizer),
      options_(options),
      decoder_(tokenizer, true, continues),
      stop_(options.stop),
      on_text_(std::move(on_text)) {}

std::optional<StopReason> Answer::take(TokenId id) {
  const auto& ends = tokenizer_.end_of_turn;
  if (!options_.ignore_end && std::find(ends.begin(), ends.end(), id) != ends.end())
    return StopReason::kEndOfTurn;
  ids_.push_back(id);
  emit(stop_.push(decoder_.push(id)));
  if (stop_.stopped()) return StopReason::kStopString;
  if (refused_) return StopReason::kCancelled;
  if (at_limit()) return StopReason::kMaxTokens;
  return {};
}

bool Answer::at_limit() const {
  return left() <= 0;
}

int64_t Answer::left() const {
  if (options_.max_tokens < 0) return std::numeric_limits<int64_t>::max();
  return options_.max_tokens - static_cast<int64_t>(ids_.size());
}

void Answer::finish(StopReason reason, GenerateResult& result) {
  emit(stop_.push(decoder_.finish()));
  emit(stop_.finish());
  // A stop string may be completed by the last bytes only.
  result.reason = stop_.stopped() ? StopReason::kStopString : reason;
  result.ids = std::move(ids_);
  result.text = std::move(text_);
}

void Answer::emit(const std::string& piece) {
  if (piece.empty() || refused_) return;
  text_ += piece;
  if (on_text_ && !on_text_(piece)) refused_ = true;
}

bool holds_text(const text::Tokenizer& tokenizer, std::span<const TokenId> ids) {
  return std::any_of(ids.begin(), ids.end(), [&](TokenId id) { return !tokenizer.is_special(id); });
}

void check_prompt(std::span<const TokenId> prompt, int64_t room, int64_t context) {
  if (prompt.empty()) fail(ErrorKind::kBadInput, "[generate] the prompt is empty; give at least one token");
  const auto count = static_cast<int64_t>(prompt.size());
  if (count > room) {
    fail(ErrorKind::kBadInput,
         "[generate] the prompt has {} tokens and the context of {} has room for {}; shorten it or ask for a "
         "larger "
         "context",
         count, context, room);
  }
}

}  // namespace hone::generate
