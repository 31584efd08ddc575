#include "app/run_batch.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>

#include "app/text_input.h"
#include "app/validators.h"
#include "base/error.h"
#include "generate/chat.h"
#include "generate/scheduler.h"

namespace hone::app {
namespace {

constexpr size_t kMaxBatchBytes = size_t{256} << 20;
constexpr int64_t kTokensPerRun = 512, kLeastChunk = 32;
constexpr int64_t kDefaultContext = 4096;  // of a session, where the model has more

std::string read_lines(const std::string& file) {
  if (file == "-") return read_stdin(kMaxBatchBytes);
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in || in.bad()) fail(ErrorKind::kBadInput, "--batch {}: the file cannot be read", file);
  return text.str();
}

}  // namespace

void BatchFlags::add(CLI::App& command) {
  command
      .add_option("--batch", file_,
                  "Answer every line of this file (- for stdin), several at once; JSON lines out, in order")
      ->type_name("FILE")
      ->group("Batch");
  command.add_option("--parallel", places_, "Prompts of a batch that are answered at the same time")
      ->check(between(1, 256))
      ->capture_default_str()
      ->type_name("N")
      ->group("Batch");
}

std::vector<BatchPrompt> BatchFlags::prompts(const text::Tokenizer& tokenizer, const std::string& source,
                                             const std::string& system, bool raw) const {
  std::unique_ptr<text::ChatTemplate> chat_template;
  if (!source.empty())
    chat_template = std::make_unique<text::ChatTemplate>(text::ChatTemplate::parse(source));
  std::istringstream lines(read_lines(file_));
  std::vector<BatchPrompt> prompts;
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (raw) {
      prompts.push_back({number, tokenizer.encode(line)});
    } else {
      const Json messages = Json::array({Json{{"role", "user"}, {"content", line}}});
      prompts.push_back(
          {number, generate::conversation_ids(chat_template.get(), tokenizer, system, messages)});
    }
  }
  if (prompts.empty()) fail(ErrorKind::kBadInput, "--batch {}: no line holds a prompt", file_);
  return prompts;
}

void BatchFlags::size_session(generate::SessionOptions& session, const std::vector<BatchPrompt>& prompts,
                              int64_t max_tokens, int64_t model_context) const {
  session.batch = std::min<int64_t>(places_, static_cast<int64_t>(prompts.size()));
  session.chunk = std::max(kLeastChunk, kTokensPerRun / session.batch);
  size_t longest = 0;
  for (const BatchPrompt& p : prompts) longest = std::max(longest, p.ids.size());
  const int64_t most = model_context > 0 ? std::min(model_context, kDefaultContext) : kDefaultContext;
  if (session.context == 0 && max_tokens >= 0)
    session.context = std::min(most, static_cast<int64_t>(longest) + std::min(most, max_tokens) + 1);
  const int64_t room = session.context > 0 ? session.context : most;
  for (const BatchPrompt& p : prompts) {
    if (static_cast<int64_t>(p.ids.size()) < room) continue;
    fail(ErrorKind::kBadInput,
         "--batch {}: line {} has {} tokens and the context holds {}; shorten it or ask for a larger "
         "--context",
         file_, p.line, p.ids.size(), room);
  }
}

int run_batch(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
              ThreadPool& pool, const std::vector<BatchPrompt>& prompts,
              const generate::GenerateOptions& options, bool stats) {
  generate::Scheduler scheduler(model, tokenizer, pool);
  std::vector<std::optional<generate::GenerateResult>> results(prompts.size());
  size_t printed = 0;
  int64_t tokens = 0, prompt_tokens = 0;
  bool cancelled = false;
  for (size_t i = 0; i < prompts.size(); ++i) {
    generate::BatchRequest request;
    request.prompt = prompts[i].ids;
    request.options = options;
    request.options.sampling.seed += i;
    request.on_done = [&results, i](generate::GenerateResult&& r) { results[i] = std::move(r); };
    scheduler.submit(std::move(request));
  }
  const auto start = std::chrono::steady_clock::now();
  for (bool busy = true; busy;) {
    busy = scheduler.step();
    for (; printed < results.size() && results[printed]; ++printed) {
      const generate::GenerateResult& r = *results[printed];
      tokens += static_cast<int64_t>(r.ids.size());
      prompt_tokens += r.prompt_tokens;
      cancelled = cancelled || r.reason == generate::StopReason::kCancelled;
      const Json line = {{"line", prompts[printed].line},
                         {"text", r.text},
                         {"stop_reason", generate::stop_reason_name(r.reason)},
                         {"prompt_tokens", r.prompt_tokens},
                         {"tokens", r.ids.size()},
                         {"ids", r.ids},
                         {"seed", options.sampling.seed + printed},
                         {"prefill_seconds", r.prefill_seconds},
                         {"decode_seconds", r.decode_seconds}};
      console.print(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
      results[printed]->text.clear();
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (stats)
    console.note(fmt::format("{} answers in {:.2f} s: {} prompt tokens, {} tokens at {:.1f} tokens/s in all",
                             prompts.size(), seconds.count(), prompt_tokens, tokens,
                             static_cast<double>(tokens) / seconds.count()));
  return cancelled ? exit_code(ErrorKind::kCancelled) : 0;
}

}  // namespace hone::app
