// `hone run MODEL --batch FILE`: one prompt a line, answered several at once, JSON lines out in their order.
#pragma once

#include <string>
#include <vector>

#include "app/console.h"
#include "generate/session.h"

namespace CLI {
class App;
}

namespace hone::app {

struct BatchPrompt {
  size_t line = 0;  // in the file, from 1
  std::vector<text::TokenId> ids;
};

class BatchFlags {
 public:
  void add(CLI::App& command);
  bool given() const { return !file_.empty(); }

  // Reads the file ("-": stdin); lines of white space hold no prompt. source: the chat template, empty for
  // plain continuation. Error(kBadInput) for a file that cannot be read or holds no prompt.
  std::vector<BatchPrompt> prompts(const text::Tokenizer& tokenizer, const std::string& source,
                                   const std::string& system, bool raw) const;
  // Places, tokens per run and, where none was asked for, a context no longer than these prompts and answers
  // need.
  void size_session(generate::SessionOptions& session, const std::vector<BatchPrompt>& prompts,
                    int64_t max_tokens, int64_t model_context) const;

 private:
  std::string file_;
  int places_ = 8;
};

// Answers them all; the seed of an answer is options' seed plus its place among the prompts. Returns the exit
// code.
int run_batch(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
              ThreadPool& pool, const std::vector<BatchPrompt>& prompts,
              const generate::GenerateOptions& options, bool stats);

}  // namespace hone::app
