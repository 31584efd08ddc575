// The chat-template language (the subset of Jinja2 that published templates use), with transformers'
// rendering rules: trim_blocks and lstrip_blocks on, one trailing newline of the template dropped,
// loop controls, the generation tag, raise_exception, strftime_now, tojson without HTML escapes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace hone::text {

struct RenderLimits {
  size_t max_steps = 10'000'000;     // executed nodes and loop turns
  size_t max_output = 64u << 20;     // bytes
  size_t max_depth = 200;            // nesting of expressions, blocks and calls
};

class ChatTemplate {
 public:
  // Error(kBadInput) with the line for syntax errors; Error(kUnsupported) for what the subset lacks.
  static ChatTemplate parse(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // variables: an object; its members are the template's globals (messages, tools, add_generation_prompt,
  // bos_token, ...). Error(kBadInput) with raise_exception's message, or with the line of a failing
  // operation. now: what strftime_now formats, as seconds since the epoch in UTC; -1: the clock.
  std::string render(const Json& variables, const RenderLimits& limits = {}, int64_t now = -1) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What transformers does to messages before rendering: drops members that are null, and moves
// thinking/reasoning.
Json normalize_messages(const Json& messages);

}  // namespace hone::text
