// Templates against what transformers with jinja2 rendered (../shared/data/templates and tests/data/text).
#include "text/chat_template.h"

#include <chrono>

#include "base/error.h"
#include "text/test_support.h"

namespace hone::text {
namespace {

using namespace testing;

constexpr int64_t kNow = 1768478400;  // 2026-01-15T12:00:00Z, a Thursday

std::string render(std::string_view source, const Json& variables = Json::object(), const RenderLimits& limits = {}) {
  return ChatTemplate::parse(source).render(variables, limits, kNow);
}

TEST(ChatTemplate, PublishedTemplatesEqualTransformers) {
  HONE_NEED_SHARED("templates/cases.json");
  const auto folder = shared_data() / "templates";
  const Json cases = read_json(folder / "cases.json"), expected = read_json(folder / "expected.json");
  ASSERT_EQ(cases["now"], "2026-01-15T12:00:00");
  size_t texts = 0, refusals = 0, errors = 0;
  for (const auto& [file, results] : expected.items()) {
    const ChatTemplate chat = ChatTemplate::parse(read_text_file(folder / "templates" / file));
    for (const Json& c : cases["cases"]) {
      const std::string name = c["name"];
      if (!results.contains(name)) continue;
      const Json& result = results[name];
      Json variables = {{"messages", c["messages"]}, {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", c["add_generation_prompt"]},
                        {"bos_token", cases["bos_token"]}, {"eos_token", cases["eos_token"]}};
      for (const char* key : {"tools", "documents"})
        if (c.contains(key)) variables[key] = c[key];
      for (const Json* more : {json_find(c, "kwargs"), json_find(cases["template_kwargs"], file.c_str())})
        if (more) variables.update(*more);
      const std::string kind = result["kind"];
      std::string text, failure;
      try {
        text = chat.render(variables, {}, kNow);
      } catch (const Error& e) {
        failure = e.what();
      }
      if (kind == "text") {
        ++texts;
        EXPECT_EQ(failure, "") << file << " " << name;
        EXPECT_EQ(text, result["text"].get<std::string>()) << file << " " << name;
      } else if (kind == "exception") {
        ++refusals;
        EXPECT_TRUE(failure.ends_with(": " + result["message"].get<std::string>())) << file << " " << name << ": " << failure;
      } else {
        ++errors;
        EXPECT_NE(failure, "") << file << " " << name;
      }
    }
  }
  EXPECT_EQ(texts, 441u);
  EXPECT_EQ(refusals, 21u);
  EXPECT_EQ(errors, 20u);
}

TEST(ChatTemplate, SnippetsEqualJinja2) {
  const Json fixture = read_json(source_dir() / "tests/data/text/template_snippets.json");
  ASSERT_GT(fixture["snippets"].size(), 150u);
  for (const Json& s : fixture["snippets"]) {
    const std::string source = s["source"];
    if (s.contains("text")) {
      std::string text;
      try {
        text = render(source, fixture["variables"]);
      } catch (const Error& e) {
        text = std::string("error: ") + e.what();
      }
      EXPECT_EQ(text, s["text"].get<std::string>()) << source;
    } else {
      EXPECT_THROW(render(source, fixture["variables"]), Error) << source;
    }
  }
}

TEST(ChatTemplate, CommittedTemplateEqualsJinja2) {
  const ChatTemplate chat = ChatTemplate::parse(read_text_file(source_dir() / "tests/data/text/example.jinja"));
  const Json conversations = read_json(source_dir() / "tests/data/text/example.json");
  ASSERT_GE(conversations.size(), 5u);
  for (const auto& [name, c] : conversations.items()) {
    if (c.contains("text")) EXPECT_EQ(chat.render(c["variables"], {}, kNow), c["text"].get<std::string>()) << name;
    else EXPECT_THROW(chat.render(c["variables"], {}, kNow), Error) << name;
  }
}

TEST(ChatTemplate, MessagesAreNormalizedAsInTransformers) {
  const Json messages = Json::parse(R"([{"role":"assistant","content":null,"reasoning":"r","tool_calls":[]},{"role":"user","content":"x"}])");
  EXPECT_EQ(normalize_messages(messages).dump(),
            R"([{"thinking":"r","role":"assistant","reasoning":"r","tool_calls":[],"reasoning_content":"r"},{"role":"user","content":"x"}])");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  try {
    render("a\nb\n{{ x.y.z }}");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_NE(std::string(e.what()).find("line 3"), std::string::npos) << e.what();
  }
  try {
    ChatTemplate::parse("\n{% if %}");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
  }
  try {
    ChatTemplate::parse("{% include 'x' %}");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
  }
}

TEST(ChatTemplate, TheClockIsFormattedInUtc) {
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y, %A %H:%M %-d') }}"), "15 Jan 2026, Thursday 12:00 15");
}

// Each must end quickly with an error and without much memory.
TEST(ChatTemplate, HostileTemplatesAreStopped) {
  const auto repeat = [](const std::string& s, size_t n) {
    std::string out;
    while (n--) out += s;
    return out;
  };
  const std::vector<std::string> hostile = {
      "{% for i in range(1000000000) %}x{% endfor %}",
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{{ 'a' * 1000000000 }}",
      "{{ 'a' * 9223372036854775807 }}",
      "{{ [1] * 1000000000 }}",
      "{{ '%1000000000d' % 5 }}",
      "{{ 'a'.center(1000000000) }}",
      "{{ 'a' | indent(1000000000, true) }}",
      "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x }}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% for i in range(3) recursive %}{{ loop(range(3)) }}{% endfor %}",
      "{{ 'x'.replace('', 'aaaaaaaaaa' * 10000000) * 100 }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 2 ** 100 }}",
      "{{ (-9223372036854775807 - 1) // -1 }}",
      "{{ 1 // 0 }}",
      "{{ ([1] * 100000) | tojson(indent=1000000) | length * 0 }}",
      repeat("(", 10000) + "1" + repeat(")", 10000),
      "{{ " + repeat("[", 10000) + repeat("]", 10000) + " }}",
      "{{ " + repeat("not ", 10000) + "x }}",
      "{{ " + repeat("-", 10000) + "1 }}",
      "{{ 1" + repeat("+1", 100000) + " }}",
      "{{ x" + repeat(".y", 100000) + " }}",
      "{{ 1" + repeat("|abs", 100000) + " }}",
      repeat("{% if true %}", 10000),
      repeat("{% for x in y %}", 10000) + repeat("{% endfor %}", 10000),
      "{{ ''.__class__.__mro__ }}{{ x }}{{ ''.__class__() }}",
      "{{ messages.append(1) }}{{ [].append(1) }}",
      "{{ cycler.__init__.__globals__.os }}",
      "{{ 'abc' | nosuchfilter }}",
      "{{ {}.update({}) }}",
      "{{ 99999999999999999999 }}",
      "{% raw %}",
      "{{",
      "{#",
      "{% endif %}",
      "{% if 1 %}",
  };
  for (const std::string& source : hostile) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THROW(
        {
          const std::string text = render(source);
          // Text without a tag is no template to refuse.
          if (source[0] == '(') throw Error(ErrorKind::kBadInput, "plain text");
        },
        Error)
        << source.substr(0, 100);
    EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 60.0) << source.substr(0, 100);  // generous: sanitizers
  }
}

TEST(ChatTemplate, OutputIsBounded) {
  RenderLimits limits;
  limits.max_output = 1000;
  EXPECT_THROW(render("{% for i in range(1000) %}xx{% endfor %}", Json::object(), limits), Error);
  limits.max_output = 3000;
  EXPECT_EQ(render("{% for i in range(1000) %}xx{% endfor %}", Json::object(), limits).size(), 2000u);
}

TEST(ChatTemplate, EveryPrefixOfATemplateIsTextOrAnError) {
  const std::string source = read_text_file(source_dir() / "tests/data/text/example.jinja");
  for (size_t n = 0; n <= source.size(); ++n) {
    try {
      ChatTemplate::parse(std::string_view(source).substr(0, n));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace hone::text
