// Generation with a model that says a fixed script: stop strings, streaming, limits, cancelling, chat.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/cancel.h"
#include "base/error.h"
#include "generate/chat.h"
#include "generate/made_up_models.h"
#include "generate/session.h"
#include "generate/text_stream.h"

namespace hone::generate {
namespace {

struct Answered {
  GenerateResult result;
  std::vector<std::string> pieces;
};

Answered run(const std::string& script, const GenerateOptions& options, int64_t context = 1000) {
  ScriptedModel model(script, context);
  const ByteTokenizer tokenizer;
  Answered r;
  r.result = generate(model, tokenizer, tokenizer.encode("ask:"), options, [&](std::string_view piece) {
    r.pieces.emplace_back(piece);
    return true;
  });
  std::string joined;
  for (const auto& p : r.pieces) joined += p;
  EXPECT_EQ(joined, r.result.text);
  return r;
}

TEST(StopStream, HoldsBackWhatMayBecomeAStopString) {
  StopStream s({"STOP", "END."});
  EXPECT_EQ(s.push("ab S"), "ab ");
  EXPECT_EQ(s.push("TO"), "");
  EXPECT_EQ(s.push("R EN"), "STOR ");
  EXPECT_EQ(s.push("D"), "");
  EXPECT_EQ(s.push(".xyz"), "");
  EXPECT_TRUE(s.stopped());
  EXPECT_EQ(s.push("more"), "");
  EXPECT_EQ(s.finish(), "");
}

TEST(StopStream, TakesTheEarliestOfSeveral) {
  StopStream s({"bcd", "ab"});
  EXPECT_EQ(s.push("xxabcd"), "xx");
  EXPECT_TRUE(s.stopped());
}

TEST(StopStream, GivesBackWhatNeverBecameOne) {
  StopStream s({"aab"});
  EXPECT_EQ(s.push("aaa"), "a");
  EXPECT_EQ(s.finish(), "aa");
  EXPECT_FALSE(s.stopped());
}

TEST(StopStream, RefusesAnEmptyString) { EXPECT_THROW(StopStream({""}), Error); }

TEST(Generate, EndsAtTheEndOfTurn) {
  const Answered r = run("hello", {});
  EXPECT_EQ(r.result.text, "hello");
  EXPECT_EQ(r.result.reason, StopReason::kEndOfTurn);
  EXPECT_EQ(r.result.ids.size(), 5u);
  EXPECT_EQ(r.result.prompt_tokens, 4);
  EXPECT_EQ(r.pieces.size(), 5u);
}

TEST(Generate, StopStringsAcrossTokens) {
  GenerateOptions o;
  o.stop = {"\nUser:"};
  const Answered r = run("fine\nUse it\nUser: next", o);
  EXPECT_EQ(r.result.text, "fine\nUse it");
  EXPECT_EQ(r.result.reason, StopReason::kStopString);
}

TEST(Generate, StreamsWholeCharactersOnly) {
  const Answered r = run("a\xC3\xA9\xF0\x9F\x98\x80z", {});  // a é 😀 z
  EXPECT_EQ(r.pieces, (std::vector<std::string>{"a", "\xC3\xA9", "\xF0\x9F\x98\x80", "z"}));
}

TEST(Generate, AnIncompleteCharacterAtTheEndIsReplaced) {
  GenerateOptions o;
  o.max_tokens = 2;
  const Answered r = run("a\xC3\xA9", o);
  EXPECT_EQ(r.result.text, "a\xEF\xBF\xBD");
  EXPECT_EQ(r.result.reason, StopReason::kMaxTokens);
}

TEST(Generate, TextHeldBackComesOutAtTheEnd) {
  GenerateOptions o;
  o.stop = {"abcdef"};
  EXPECT_EQ(run("xabc", o).result.text, "xabc");
}

TEST(Generate, LimitsOfTokensAndContext) {
  GenerateOptions o;
  o.max_tokens = 3;
  EXPECT_EQ(run("hello", o).result.reason, StopReason::kMaxTokens);
  EXPECT_EQ(run("hello", o).result.text, "hel");
  o.max_tokens = 0;
  EXPECT_EQ(run("hello", o).result.text, "");
  const Answered full = run("hello there", {}, 8);
  EXPECT_EQ(full.result.reason, StopReason::kContextFull);
  EXPECT_EQ(full.result.text, "hello");  // 4 of the prompt, 4 fed, and the one whose logits the last gave
}

TEST(Generate, IgnoresTheEndWhenAsked) {
  GenerateOptions o;
  o.ignore_end = true;
  o.max_tokens = 4;
  const Answered r = run("hi", o);
  EXPECT_EQ(r.result.text, "hi");
  EXPECT_EQ(r.result.ids, (std::vector<TokenId>{'h', 'i', kEnd, kEnd}));
}

TEST(Generate, TheListenerCanStop) {
  ScriptedModel model("hello");
  const ByteTokenizer tokenizer;
  int calls = 0;
  const GenerateResult r = generate(model, tokenizer, tokenizer.encode("ask:"), {}, [&](std::string_view) { return ++calls < 2; });
  EXPECT_EQ(r.text, "he");
  EXPECT_EQ(r.reason, StopReason::kCancelled);
}

TEST(Generate, CancelKeepsWhatWasSaid) {
  ScriptedModel model("hello");
  const ByteTokenizer tokenizer;
  const GenerateResult r = generate(model, tokenizer, tokenizer.encode("ask:"), {}, [&](std::string_view piece) {
    if (piece == "l") request_cancel();
    return true;
  });
  clear_cancel();
  EXPECT_EQ(r.text, "hel");
  EXPECT_EQ(r.reason, StopReason::kCancelled);
}

TEST(Generate, CancelWhileThePromptIsRead) {
  ScriptedModel model("hello");
  model.throw_cancel = true;
  const ByteTokenizer tokenizer;
  const GenerateResult r = generate(model, tokenizer, tokenizer.encode("ask:"), {});
  EXPECT_EQ(r.text, "");
  EXPECT_EQ(r.reason, StopReason::kCancelled);
}

TEST(Generate, RefusesPromptsThatAreEmptyOrTooLong) {
  ScriptedModel model("x", 4);
  const ByteTokenizer tokenizer;
  EXPECT_THROW(generate(model, tokenizer, {}, {}), Error);
  try {
    generate(model, tokenizer, tokenizer.encode("12345"), {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_NE(std::string(e.what()).find("5 tokens"), std::string::npos);
  }
}

constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}|{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

TEST(Chat, FeedsOnlyWhatIsNew) {
  ScriptedModel model("yes");
  const ByteTokenizer tokenizer;
  Chat chat(model, tokenizer, kTemplate);
  EXPECT_EQ(chat.send("one", {}).text, "yes");
  EXPECT_EQ(tokenizer.decode(model.fed[0], true), "<user>one<assistant>");
  const size_t before = model.fed.size();
  EXPECT_EQ(chat.send("two", {}).text, "yes");
  // The cache holds the first prompt and the answer; the rest of the new rendering follows.
  EXPECT_EQ(tokenizer.decode(model.fed[before], true), "|<user>two<assistant>");
  EXPECT_EQ(chat.messages().size(), 4u);
  EXPECT_EQ(chat.messages()[3].at("content"), "yes");
  chat.clear();
  EXPECT_EQ(model.position(0), 0);
  EXPECT_TRUE(chat.messages().empty());
}

TEST(Chat, KeepsAStoppedAnswer) {
  ScriptedModel model("hello");
  const ByteTokenizer tokenizer;
  Chat chat(model, tokenizer, kTemplate);
  GenerateOptions o;
  o.max_tokens = 2;
  chat.send("a", o);
  EXPECT_EQ(chat.messages()[1].at("content"), "he");
}

TEST(Chat, ASystemPromptReachesEveryTemplate) {
  const ByteTokenizer tokenizer;
  const auto prompt = [&](const std::string& source) {
    ScriptedModel model("ok");
    Chat chat(model, tokenizer, source, "Be brief.");
    chat.send("hi", {});
    return tokenizer.decode(model.fed[0], true);
  };
  EXPECT_EQ(prompt(kTemplate), "<system>Be brief.<user>hi<assistant>");
  EXPECT_EQ(prompt("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}[{{ m.content }}]{% endfor %}"),
            "[Be brief.\n\nhi]");
  EXPECT_EQ(prompt("{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}"), "[Be brief.\n\nhi]");
  EXPECT_EQ(prompt(""), "Be brief.\nhi");
}

TEST(Chat, AFailedTurnLeavesTheHistory) {
  ScriptedModel model("ok", 30);
  const ByteTokenizer tokenizer;
  Chat chat(model, tokenizer, kTemplate);
  chat.send("hi", {});
  EXPECT_THROW(chat.send("a much longer message than fits", {}), Error);
  EXPECT_EQ(chat.messages().size(), 2u);
}

TEST(Chat, TemplateVariables) {
  const ByteTokenizer tokenizer;
  const Json v = template_variables(Json::array({Json{{"role", "user"}, {"content", "x"}}}), tokenizer, true, nullptr, Json{{"enable_thinking", false}});
  EXPECT_EQ(v.at("eos_token"), "<end>");
  EXPECT_TRUE(v.at("bos_token").is_null());
  EXPECT_TRUE(v.at("tools").is_null());
  EXPECT_EQ(v.at("enable_thinking"), false);
  EXPECT_EQ(v.at("messages")[0].at("content"), "x");
}

}  // namespace
}  // namespace hone::generate
