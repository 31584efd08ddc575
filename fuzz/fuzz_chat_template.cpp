// Chat templates: parse, and render a short conversation under small limits.
#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hone;
  static const Json variables = parse_json(
      R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi <b>"},
          {"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":[1,2.5,true]}}}]}],
          "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
          "add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>","n":7,"x":-1.5,"empty":[]})",
      "variables");
  try {
    const auto chat = text::ChatTemplate::parse({reinterpret_cast<const char*>(data), size});
    chat.render(variables, {.max_steps = 20'000, .max_output = 1 << 16, .max_depth = 60}, 0);
  } catch (const Error&) {
  }
  return 0;
}
