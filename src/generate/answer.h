// One answer under way: chosen tokens in, certain text out, and the conditions that end it. For the loop of
// one sequence and for batches alike.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/session.h"
#include "generate/text_stream.h"

namespace hone::generate {

class Answer {
 public:
  // continues: text stands before the answer, so that its first space belongs to it. options must outlive
  // this.
  Answer(const text::Tokenizer& tokenizer, bool continues, const GenerateOptions& options,
         std::function<bool(std::string_view)> on_text);

  // Takes the next token; what ends the answer with it, if anything does. A token that ends the turn is not
  // kept.
  std::optional<StopReason> take(text::TokenId id);
  // The token limit, reached before the first token or by the last.
  bool at_limit() const;
  int64_t left() const;  // tokens until the limit; INT64_MAX without one
  // Gives out the text held back; moves text, tokens and the reason into the result.
  void finish(StopReason reason, GenerateResult& result);

 private:
  void emit(const std::string& piece);

  const text::Tokenizer& tokenizer_;
  const GenerateOptions& options_;
  text::StreamDecoder decoder_;
  StopStream stop_;
  std::function<bool(std::string_view)> on_text_;
  std::vector<text::TokenId> ids_;
  std::string text_;
  bool refused_ = false;  // the listener wants no more
};

// Whether any of the ids is text: a start token alone is none.
bool holds_text(const text::Tokenizer& tokenizer, std::span<const text::TokenId> ids);

// Error(kBadInput) when the prompt is empty or does not fit `room` tokens of the context.
void check_prompt(std::span<const text::TokenId> prompt, int64_t room, int64_t context);

}  // namespace hone::generate
