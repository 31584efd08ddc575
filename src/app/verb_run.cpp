// hone run: chat on a terminal, one answer for a prompt or a pipe, or the bare graph on arrays.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <random>

#include "app/adapter_flags.h"
#include "app/chat_loop.h"
#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/run_batch.h"
#include "app/run_graph.h"
#include "app/speculation_flags.h"
#include "app/text_input.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "generate/chat.h"

namespace hone::app {
namespace {

constexpr size_t kMaxPromptBytes = size_t{64} << 20;
constexpr int64_t kDefaultContext = 4096;  // of a session, where the model has more

class RunVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to run")->required()->type_name("MODEL");
    prompt_option_ =
        command
            .add_option("prompt", prompt_,
                        "Answer this and quit; without it stdin is read if it is a pipe, else a chat begins")
            ->type_name("PROMPT");
    command.add_option("--system", system_, "System prompt")->type_name("TEXT");
    command.add_flag("--raw", raw_, "Continue the text as it is, without the chat template");
    command
        .add_option("-n,--max-tokens", generate_.max_tokens,
                    "Most tokens of an answer; unlimited unless given")
        ->check(between(int64_t{0}, int64_t{1} << 40))
        ->type_name("N");
    command.add_option("--stop", generate_.stop, "Text that ends the answer; may be repeated")
        ->type_name("TEXT")
        ->allow_extra_args(false);
    command.add_flag("--ignore-end", generate_.ignore_end, "Go on past the model's end of turn");
    command
        .add_option("-c,--context", session_.context,
                    "Tokens the conversation can hold; the model's context, at most 4096, unless given")
        ->check(positive())
        ->type_name("N");
    command.add_flag("--stats", stats_, "Show the speed of each answer");
    cache_.add(command);
    device_.add(command);
    adapters_.add(command);
    speculation_.add(command);
    batch_.add(command);
    add_sampling_flags(command, generate_.sampling);
    seed_option_ = command.get_option("--seed");
    command.add_option("--input", inputs_, "Run the graph once with this array; may be repeated")
        ->type_name("NAME=FILE.npy")
        ->allow_extra_args(false)
        ->group("Graph");
    command.add_option("--output", output_, "Where the graph's outputs go")
        ->type_name("OUT.npz")
        ->group("Graph");
  }

  int run(Console& console) override {
    if (inputs_.empty() != output_.empty()) fail(ErrorKind::kUsage, "--input and --output belong together");
    if (raw_ && !system_.empty())
      fail(ErrorKind::kUsage, "--system needs the chat template, --raw leaves it out");
    generate::validate(generate_.sampling);
    speculation_.check();
    check_batch();
    session_.cache_format = cache_.format();
    const bool interactive = !batch_.given() && prompt_option_->count() == 0 && ::isatty(STDIN_FILENO);
    if (inputs_.empty() && interactive && console.json())
      fail(ErrorKind::kUsage, "--json needs a prompt or a pipe on stdin");
    if (inputs_.empty() && interactive && raw_)
      fail(ErrorKind::kUsage, "--raw needs a prompt or a pipe on stdin");
    const auto path = resolve_model(model_, console.progress());
    std::filesystem::path draft_path;
    if (speculation_.has_draft_model())
      draft_path = resolve_model(speculation_.draft_model(), console.progress());
    if (!output_.empty()) check_output(output_, path);
    models::Model model = models::open_model(path);
    adapters_.open(model);
    const auto device = device_.make();
    if (!inputs_.empty()) return graph(console, model, *device);
    if (seed_option_->count() == 0) generate_.sampling.seed = std::random_device{}();

    const auto tokenizer = models::load_tokenizer(*model.checkpoint);
    const std::string source = raw_ ? "" : models::chat_template_source(*model.checkpoint);
    // The tokenizer has these now; texts of a quarter of a million tokens would only take room beside the weights.
    for (const char* key : {"tokens", "scores", "token_type", "merges"})
      model.checkpoint->metadata.erase(std::string("tokenizer.ggml.") + key);
    if (batch_.given()) return answer_all(console, model, *device, *tokenizer, source);
    const std::string prompt = interactive ? "" : prompt_option_->count() > 0 ? prompt_ : read_pipe();
    session_.scored = speculation_.scored();
    generate::LanguageModel language_model(model, *device, session_, adapted(model));
    generate_.speculator = speculation_.open(language_model, *tokenizer, model.checkpoint->source_name(), draft_path,
                                             *device, session_);
    if (!interactive) return answer_once(console, language_model, *tokenizer, source, prompt);
    ChatLoopOptions options{system_, generate_, stats_};
    chat_loop(console, language_model, *tokenizer, source, options);
    return 0;
  }

 private:
  // The graph with its adapters, for the context that the session will have; nothing when there are none.
  std::optional<ir::Graph> adapted(const models::Model& model) {
    if (!adapters_.any()) return {};
    const int64_t longest = model.config.context_length > 0 ? model.config.context_length : kDefaultContext;
    if (session_.context == 0) session_.context = std::min(longest, kDefaultContext);
    return adapters_.apply(model.graph(
        {.max_context = std::min(session_.context, longest), .select_rows = true, .with_cache = true, .early_rows = true}));
  }

  int graph(Console& console, const models::Model& model, exec::Device& device) {
    std::vector<std::pair<std::string, std::filesystem::path>> inputs;
    for (const std::string& item : inputs_) {
      const size_t equals = item.find('=');
      if (equals == std::string::npos || equals == 0)
        fail(ErrorKind::kUsage, "--input {}: write NAME=FILE.npy", item);
      inputs.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    }
    const auto outputs = run_graph(model, device, inputs, output_,
                                   [this](ir::Graph plain) { return adapters_.apply(std::move(plain)); });
    if (console.json()) {
      Json list = Json::array();
      for (const auto& o : outputs) list.push_back({{"name", o.name}, {"shape", o.shape}});
      console.print_json({{"output", output_}, {"outputs", list}});
    } else {
      for (const auto& o : outputs) console.print(o.name + " " + tensor::shape_text(o.shape) + "\n");
    }
    return 0;
  }

  static std::string read_pipe() {
    std::string text = read_stdin(kMaxPromptBytes);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.empty()) fail(ErrorKind::kUsage, "no prompt: standard input is empty");
    return text;
  }

  void check_batch() const {
    if (!batch_.given()) return;
    if (prompt_option_->count() > 0) fail(ErrorKind::kUsage, "--batch reads its prompts from a file; leave out PROMPT");
    if (!inputs_.empty()) fail(ErrorKind::kUsage, "--batch and --input exclude each other");
    if (speculation_.asked())
      fail(ErrorKind::kUsage, "--batch fills the runs with many prompts; leave out --speculate and --draft");
  }

  int answer_all(Console& console, const models::Model& model, exec::Device& device,
                 const text::Tokenizer& tokenizer, const std::string& source) {
    const auto prompts = batch_.prompts(tokenizer, source, system_, raw_);
    batch_.size_session(session_, prompts, generate_.max_tokens, model.config.context_length);
    generate::LanguageModel session(model, device, session_, adapted(model));
    return run_batch(console, session, tokenizer, device.pool(), prompts, generate_, stats_);
  }

  int answer_once(Console& console, generate::LanguageModel& model, const text::Tokenizer& tokenizer,
                  const std::string& source, const std::string& prompt) {
    const bool terminal = ::isatty(STDOUT_FILENO);
    const auto show = [&](std::string_view piece) {
      if (!console.json()) console.print(terminal ? without_controls(piece) : std::string(piece));
      return true;
    };
    generate::GenerateResult result;
    if (raw_) {
      const auto ids = tokenizer.encode(prompt);
      result = generate::generate(model, tokenizer, ids, generate_, show);
    } else {
      generate::Chat chat(model, tokenizer, source, system_);
      result = chat.send(prompt, generate_, show);
    }
    if (console.json()) {
      console.print_json({{"text", result.text},
                          {"stop_reason", generate::stop_reason_name(result.reason)},
                          {"prompt_tokens", result.prompt_tokens},
                          {"tokens", result.ids.size()},
                          {"ids", result.ids},
                          {"seed", generate_.sampling.seed},
                          {"prefill_seconds", result.prefill_seconds},
                          {"decode_seconds", result.decode_seconds},
                          {"speculation",
                           {{"drafted", result.speculation.drafted},
                            {"accepted", result.speculation.accepted},
                            {"runs", result.speculation.runs}}}});
    } else {
      console.print("\n");
      if (stats_) console.note(stats_line(result));
    }
    return result.reason == generate::StopReason::kCancelled ? exit_code(ErrorKind::kCancelled) : 0;
  }

  std::string model_, prompt_, system_, output_;
  std::vector<std::string> inputs_;
  bool raw_ = false, stats_ = false;
  CLI::Option *prompt_option_ = nullptr, *seed_option_ = nullptr;
  generate::GenerateOptions generate_;
  generate::SessionOptions session_;
  CacheFlag cache_;
  DeviceFlags device_;
  AdapterFlags adapters_;
  SpeculationFlags speculation_;
  BatchFlags batch_;
};

}  // namespace

std::unique_ptr<Verb> make_run() {
  return std::make_unique<RunVerb>();
}

}  // namespace hone::app
