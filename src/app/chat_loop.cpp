#include "app/chat_loop.h"

#include <unistd.h>

#include "app/line_editor.h"
#include "base/cancel.h"
#include "base/error.h"

namespace hone::app {
namespace {

constexpr const char* kHelp =
    "/clear         forget the conversation\n"
    "/system TEXT   set the system prompt and start anew; without TEXT there is none\n"
    "/help          this list\n"
    "/exit          quit; so does Ctrl-D, or Ctrl-C at an empty prompt\n"
    "A line that ends with \\ goes on in the next; \"\"\" begins and ends a block of lines.\n"
    "Ctrl-C stops an answer.\n";

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

class Loop {
 public:
  Loop(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
       const std::string& source, const ChatLoopOptions& options)
      : console_(console), model_(model), tokenizer_(tokenizer), source_(source), options_(options) {
    start(options.system_prompt);
  }

  void run() {
    console_.note("Type a message, /help for help, /exit to quit.");
    std::string line;
    for (;;) {
      switch (editor_.read(reader_.open() ? "... " : "> ", line)) {
        case LineResult::kEnd:
          console_.print("\n");
          return;
        case LineResult::kInterruptedEmpty:
          console_.print("\n");
          if (!reader_.open() || termination_requested()) return;
          reader_.clear();
          continue;
        case LineResult::kInterrupted:
          console_.print("\n");
          if (termination_requested()) return;
          reader_.clear();
          continue;
        case LineResult::kLine:
          break;
      }
      if (!reader_.open() && !trimmed(line).empty() && trimmed(line)[0] == '/') {
        editor_.remember(line);
        if (!command(trimmed(line))) return;
        continue;
      }
      if (!reader_.push(line)) continue;
      const std::string message = reader_.message();
      reader_.clear();
      if (trimmed(message).empty()) continue;
      editor_.remember(message);
      answer(message);
      if (termination_requested()) return;
    }
  }

 private:
  void start(const std::string& system_prompt) {
    if (chat_) chat_->clear();
    chat_ = std::make_unique<generate::Chat>(model_, tokenizer_, source_, system_prompt);
  }

  // False: quit.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space),
                      rest = space == std::string::npos ? "" : trimmed(line.substr(space));
    if (name == "/exit" || name == "/quit" || name == "/bye") return false;
    if (name == "/clear")
      chat_->clear(), console_.print("The conversation is forgotten.\n");
    else if (name == "/system")
      start(rest), console_.print(rest.empty() ? "No system prompt.\n" : "System prompt set.\n");
    else if (name == "/help" || name == "/?")
      console_.print(kHelp);
    else
      console_.print("Unknown command " + printable(name) + "; /help lists them.\n");
    return true;
  }

  void answer(const std::string& message) {
    const InterruptsStopAnswers guard;
    try {
      const auto result = chat_->send(message, options_.generate, [&](std::string_view piece) {
        console_.print(without_controls(piece));
        return true;
      });
      console_.print(result.reason == generate::StopReason::kCancelled ? " [stopped]\n" : "\n");
      if (result.reason == generate::StopReason::kContextFull)
        console_.note("The context is full; /clear starts anew, --context N makes room.");
      if (options_.stats) console_.note(stats_line(result));
    } catch (const Error& error) {
      // A conversation outlives one failed turn, as when the context is full.
      if (error.kind() == ErrorKind::kCancelled)
        console_.print(" [stopped]\n");
      else if (error.kind() == ErrorKind::kBadInput)
        console_.print(printable(error.what()) + "\n");
      else
        throw;
    }
    clear_cancel();
  }

  Console& console_;
  generate::LanguageModel& model_;
  const text::Tokenizer& tokenizer_;
  const std::string& source_;
  const ChatLoopOptions& options_;
  std::unique_ptr<generate::Chat> chat_;
  LineEditor editor_;
  MessageReader reader_;
};

}  // namespace

bool MessageReader::push(const std::string& line) {
  std::string part = line;
  if (!block_ && !continued_ && part.compare(0, 3, "\"\"\"") == 0) {
    block_ = true;
    part.erase(0, 3);
    if (part.empty()) return false;  // the block's text begins on the next line
  }
  if (block_) {
    const bool closes = part.size() >= 3 && part.compare(part.size() - 3, 3, "\"\"\"") == 0;
    if (closes) part.erase(part.size() - 3);
    if (!(closes && part.empty())) text_ += (text_.empty() ? "" : "\n") + part;
    block_ = !closes;
    return closes;
  }
  const bool goes_on = !part.empty() && part.back() == '\\';
  if (goes_on) part.pop_back();
  text_ += (continued_ ? "\n" : "") + part;
  continued_ = goes_on;
  return !goes_on;
}

void MessageReader::clear() {
  text_.clear();
  block_ = continued_ = false;
}

std::string without_controls(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t' || (u >= 0x20 && u != 0x7F)) out += c;
  }
  return out;
}

std::string stats_line(const generate::GenerateResult& r) {
  const auto rate = [](double tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; };
  std::string line = fmt::format("{} prompt tokens at {:.1f} tokens/s, {} tokens at {:.1f} tokens/s",
                                 r.prompt_tokens,
                                 rate(static_cast<double>(r.prompt_tokens), r.prefill_seconds), r.ids.size(),
                                 rate(static_cast<double>(r.ids.size()), r.decode_seconds));
  if (r.speculation.drafted > 0)
    line += fmt::format(", {} of {} drafted tokens accepted", r.speculation.accepted, r.speculation.drafted);
  return line + ", " + generate::stop_reason_name(r.reason);
}

void chat_loop(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
               const std::string& template_source, const ChatLoopOptions& options) {
  Loop(console, model, tokenizer, template_source, options).run();
}

}  // namespace hone::app
