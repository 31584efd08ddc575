// Conversations by the model's own template. Every turn renders the whole history, and the longest common
// prefix with the ids in the cache is not computed again.
#include "generate/chat.h"

#include <algorithm>

#include "base/error.h"

namespace hone::generate {
namespace {

Json message(const char* role, const std::string& content) { return Json{{"role", role}, {"content", content}}; }

std::string render(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer, const std::string& system_prompt,
                   const Json& messages) {
  if (system_prompt.empty()) return chat_template.render(template_variables(messages, tokenizer, true));
  Json with_system = Json::array({message("system", system_prompt)});
  for (const Json& m : messages) with_system.push_back(m);
  try {
    std::string rendered = chat_template.render(template_variables(with_system, tokenizer, true));
    if (rendered.find(system_prompt) != std::string::npos) return rendered;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kBadInput) throw;
  }
  // The template refuses or drops a system message: the instructions open the first user turn instead.
  Json folded = messages;
  std::string& first = folded.at(0).at("content").get_ref<std::string&>();
  first = system_prompt + "\n\n" + first;
  return chat_template.render(template_variables(folded, tokenizer, true));
}

}  // namespace

std::vector<text::TokenId> conversation_ids(const text::ChatTemplate* chat_template, const text::Tokenizer& tokenizer,
                                            const std::string& system_prompt, const Json& messages) {
  // A template writes its own special tokens; plain text gets those of the tokenizer.
  if (chat_template) {
    return tokenizer.encode(render(*chat_template, tokenizer, system_prompt, messages), {.add_special = false, .parse_special = true});
  }
  std::string plain = system_prompt.empty() ? "" : system_prompt + "\n";
  for (const Json& m : messages) plain += m.at("content").get_ref<const std::string&>();
  return tokenizer.encode(plain, {.add_special = true, .parse_special = false});
}

Json template_variables(const Json& messages, const text::Tokenizer& tokenizer, bool add_generation_prompt, const Json& tools,
                        const Json& extra) {
  Json variables = Json::object();
  variables["messages"] = text::normalize_messages(messages);
  variables["add_generation_prompt"] = add_generation_prompt;
  variables["bos_token"] = tokenizer.bos ? Json(tokenizer.piece(*tokenizer.bos)) : Json(nullptr);
  variables["eos_token"] = tokenizer.eos ? Json(tokenizer.piece(*tokenizer.eos)) : Json(nullptr);
  variables["tools"] = tools;
  variables.update(extra);
  return variables;
}

Chat::Chat(CausalModel& model, const text::Tokenizer& tokenizer, const std::string& template_source, std::string system_prompt)
    : model_(model), tokenizer_(tokenizer), system_prompt_(std::move(system_prompt)) {
  if (!template_source.empty()) template_ = std::make_unique<text::ChatTemplate>(text::ChatTemplate::parse(template_source));
}

GenerateResult Chat::send(const std::string& user_text, const GenerateOptions& options, const std::function<bool(std::string_view)>& on_text) {
  messages_.push_back(message("user", user_text));
  try {
    const std::vector<text::TokenId> ids = conversation_ids(template_.get(), tokenizer_, system_prompt_, messages_);
    if (static_cast<int64_t>(ids.size()) >= model_.context()) {
      fail(ErrorKind::kBadInput, "[generate] the conversation has {} tokens and the context holds {}; clear it or ask for a larger context",
           ids.size(), model_.context());
    }
    const std::vector<text::TokenId>& held = model_.tokens();
    const auto common = std::mismatch(held.begin(), held.end(), ids.begin(), ids.end()).second - ids.begin();
    // At least one token is fed: its logits begin the answer.
    const auto reused = std::min<int64_t>(common, std::max<int64_t>(0, static_cast<int64_t>(ids.size()) - 1));
    model_.truncate(reused);
    GenerateOptions turn = options;
    turn.own_text = template_ != nullptr;
    GenerateResult result = generate(model_, tokenizer_, std::span(ids).subspan(static_cast<size_t>(reused)), turn, on_text);
    messages_.push_back(message("assistant", result.text));
    return result;
  } catch (...) {
    messages_.erase(messages_.size() - 1);
    throw;
  }
}

void Chat::clear() {
  messages_ = Json::array();
  model_.truncate(0);
}

}  // namespace hone::generate
