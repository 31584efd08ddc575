// A conversation: messages, the model's template, and only the new tokens fed to the model.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "generate/session.h"
#include "text/chat_template.h"

namespace hone::generate {

class Chat {
 public:
  // A model without a template gets a plain continuation (the text itself). Error(kBadInput) for a
  // template that does not parse.
  Chat(CausalModel& model, const text::Tokenizer& tokenizer, const std::string& template_source, std::string system_prompt = {});

  // Renders the history plus the user's message, reuses the cached common prefix, generates, and appends
  // the answer to the history (also when it was stopped). When it throws, the history is as before.
  GenerateResult send(const std::string& user_text, const GenerateOptions& options,
                      const std::function<bool(std::string_view)>& on_text = {});
  void clear();
  const Json& messages() const { return messages_; }   // user and assistant turns

 private:
  CausalModel& model_;
  const text::Tokenizer& tokenizer_;
  std::unique_ptr<text::ChatTemplate> template_;
  Json messages_ = Json::array();
  std::string system_prompt_;
};

// What a model is fed to answer a conversation (turns of user and assistant) under a system prompt, maybe empty. Without a
// template: the texts themselves, one after the other. A template that refuses or drops a system message gets it in front
// of the first user turn.
std::vector<text::TokenId> conversation_ids(const text::ChatTemplate* chat_template, const text::Tokenizer& tokenizer,
                                            const std::string& system_prompt, const Json& messages);

// Variables of a render: messages (normalised), add_generation_prompt, bos_token, eos_token, tools, extra.
Json template_variables(const Json& messages, const text::Tokenizer& tokenizer, bool add_generation_prompt, const Json& tools = nullptr,
                        const Json& extra = Json::object());

}  // namespace hone::generate
