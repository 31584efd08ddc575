// hone template: messages rendered with a chat template, as the model sees them.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/model_argument.h"
#include "app/text_input.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "generate/chat.h"
#include "models/model.h"
#include "text/chat_template.h"

namespace hone::app {
namespace {

constexpr size_t kMaxJsonBytes = size_t{64} << 20;

class TemplateVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command
        .add_option("model", model_,
                    "The model whose template and special tokens are used; may be left out with --template")
        ->type_name("MODEL");
    command.add_option("--template", file_, "Use this template instead of the model's")->type_name("FILE");
    command.add_option("--messages", messages_, "Read the JSON from a file instead of stdin")
        ->type_name("FILE");
    command.add_flag("--no-generation-prompt", no_prompt_, "Do not open the assistant's turn at the end");
    command.add_option("--now", now_, "The time that strftime_now sees, in seconds since 1970 (UTC)")
        ->check(not_negative())
        ->type_name("SECONDS");
    command.footer(
        "The JSON is an array of messages, or an object with \"messages\", \"tools\", \"documents\" and "
        "\"variables\".");
  }

  int run(Console& console) override {
    if (model_.empty() && file_.empty()) fail(ErrorKind::kUsage, "template needs a MODEL or --template FILE");
    std::unique_ptr<text::Tokenizer> tokenizer;
    std::string source;
    if (!model_.empty()) {
      const auto checkpoint = models::open_checkpoint(resolve_model(model_, console.progress()));
      tokenizer = models::load_tokenizer(checkpoint);
      source = models::chat_template_source(checkpoint);
    }
    if (!file_.empty()) source = read_text_file(file_, kMaxJsonBytes);
    if (source.empty())
      fail(ErrorKind::kBadInput, "{}: the model has no chat template; give --template FILE", model_);
    const auto compiled = text::ChatTemplate::parse(source);
    const std::string input =
        messages_.empty() ? read_stdin(kMaxJsonBytes) : read_text_file(messages_, kMaxJsonBytes);
    const std::string text =
        compiled.render(variables(parse_json(input, "messages"), tokenizer.get()), {}, now_);
    if (console.json()) {
      Json json = {{"text", text}};
      if (tokenizer) json["ids"] = tokenizer->encode(text, {.add_special = false, .parse_special = true});
      console.print_json(json);
    } else {
      console.print(text);
    }
    return 0;
  }

 private:
  Json variables(const Json& input, const text::Tokenizer* tokenizer) const {
    const Json* messages = input.is_array() ? &input : json_find(input, "messages");
    if (!messages || !messages->is_array())
      fail(ErrorKind::kBadInput,
           "messages: the JSON must be an array of messages, or an object with a \"messages\" array");
    for (const Json& message : *messages)
      if (!message.is_object()) fail(ErrorKind::kBadInput, "messages: each message must be an object");
    const Json* tools = json_find(input, "tools");
    const Json* documents = json_find(input, "documents");
    Json extra = {{"documents", documents ? *documents : Json(nullptr)}};
    if (const Json* more = json_find(input, "variables")) {
      if (!more->is_object()) fail(ErrorKind::kBadInput, "messages: \"variables\" must be an object");
      extra.update(*more);
    }
    const bool prompt = !no_prompt_ && json_bool_or(input, "add_generation_prompt", true, "messages");
    const Json tools_value = tools ? *tools : Json(nullptr);
    if (tokenizer) return generate::template_variables(*messages, *tokenizer, prompt, tools_value, extra);
    Json all = {{"messages", text::normalize_messages(*messages)},
                {"add_generation_prompt", prompt},
                {"tools", tools_value}};
    all.update(extra);
    return all;
  }

  std::string model_, file_, messages_;
  bool no_prompt_ = false;
  int64_t now_ = -1;
};

}  // namespace

std::unique_ptr<Verb> make_template() {
  return std::make_unique<TemplateVerb>();
}

}  // namespace hone::app
