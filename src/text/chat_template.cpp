#include "text/chat_template.h"

#include "base/error.h"
#include "text/template_ast.h"
#include "text/template_interpreter.h"

namespace hone::text {

struct ChatTemplate::Impl {
  Body body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::parse(std::string_view source) {
  auto impl = std::make_unique<Impl>();
  impl->body = parse_template(source);
  return ChatTemplate(std::move(impl));
}

std::string ChatTemplate::render(const Json& variables, const RenderLimits& limits, int64_t now) const {
  if (!variables.is_object()) fail(ErrorKind::kBadInput, "[template] the variables must be an object");
  return Interpreter(limits, now).render(impl_->body, variables);
}

Json normalize_messages(const Json& messages) {
  if (!messages.is_array()) return messages;
  static constexpr const char* kReasoning[] = {"reasoning_content", "thinking", "reasoning"};
  Json out = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object()) {
      out.push_back(message);
      continue;
    }
    Json kept = Json::object();
    const Json* reasoning = nullptr;
    for (const char* key : kReasoning)
      if (!reasoning) reasoning = json_find(message, key);
    if (reasoning) kept["thinking"] = *reasoning;
    for (auto it = message.begin(); it != message.end(); ++it)
      if (!it.value().is_null()) kept[it.key()] = it.value();
    if (reasoning) kept["reasoning_content"] = *reasoning;
    out.push_back(std::move(kept));
  }
  return out;
}

}  // namespace hone::text
