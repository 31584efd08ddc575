// The conversation of `hone run MODEL` on a terminal.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "app/console.h"
#include "generate/chat.h"

namespace hone::app {

struct ChatLoopOptions {
  std::string system_prompt;
  generate::GenerateOptions generate;
  bool stats = false;  // speed after each answer
};

// Joins lines of input into messages: a backslash at the end of a line goes on with the next; three
// double quotes open a block that lasts until three close it.
class MessageReader {
 public:
  // Takes a line; true when `message()` is complete.
  bool push(const std::string& line);
  bool open() const { return block_ || continued_; }
  const std::string& message() const { return text_; }
  void clear();

 private:
  std::string text_;
  bool block_ = false, continued_ = false;
};

// What a terminal may show of a model's words: newlines and tabs stay, other control characters go.
std::string without_controls(std::string_view text);

// Runs until /exit, end of input, or an interrupt at an empty prompt. An interrupt during an answer stops the
// answer.
void chat_loop(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
               const std::string& template_source, const ChatLoopOptions& options);

// "12 prompt tokens at 345.6 tokens/s, 78 tokens at 90.1 tokens/s, 20 of 31 drafted tokens accepted, end of turn"
std::string stats_line(const generate::GenerateResult& result);

}  // namespace hone::app
