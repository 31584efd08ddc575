// Drafts and batches on the CPU backend with stories260K, a small trained model: what a run of several rows
// does to single answers, and that sequences which share runs do not see each other.
#include "generate/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_device.h"
#include "base/cancel.h"
#include "base/error.h"
#include "generate/draft_model.h"
#include "generate/ngram_drafter.h"
#include "generate/scheduler.h"

namespace hone {
namespace {

using generate::BatchSession;
using generate::GenerateOptions;
using generate::GenerateResult;
using generate::LanguageModel;
using generate::SessionOptions;
using generate::Speculator;
using generate::StopReason;
using text::TokenId;

const std::filesystem::path kPath = std::filesystem::path(HONE_SOURCE_DIR) / "tests/data/models/stories260K";
// The text repeats itself, as stories and summaries do.
constexpr const char* kStory =
    "Once upon a time, there was a little girl named Lily. Lily had a red ball. Lily and the red ball went "
    "to the park. "
    "In the park, Lily lost the red ball. Once upon a time, there was a little";

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  return worst;
}

class SharedRuns : public testing::Test {
 protected:
  SharedRuns()
      : model(models::open_model(kPath)),
        device(backends::make_cpu_device(2)),
        tokenizer(models::load_tokenizer(*model.checkpoint)) {}
  LanguageModel session(SessionOptions options = {}) {
    options.cache_format = tensor::FormatId::kF32;
    return LanguageModel(model, *device, options);
  }
  // What a session of its own says to a prompt.
  GenerateResult alone(const std::vector<TokenId>& prompt, GenerateOptions options,
                       Speculator* speculator = nullptr, std::vector<TokenId>* held = nullptr) {
    LanguageModel lm = session({.scored = 8});
    options.speculator = speculator;
    auto result = generate::generate(lm, *tokenizer, prompt, options);
    if (held) *held = lm.tokens();
    return result;
  }
  models::Model model;
  std::unique_ptr<exec::Device> device;
  std::unique_ptr<text::Tokenizer> tokenizer;
};

TEST_F(SharedRuns, ScoresOfARunAreThoseOfSingleTokens) {
  const auto ids = tokenizer->encode(kStory);
  for (const size_t count : {1u, 2u, 3u, 5u, 8u}) {
    LanguageModel one = session(), several = session({.scored = 8});
    one.feed(std::span(ids).first(20)), several.feed(std::span(ids).first(20));
    const auto vocab = static_cast<size_t>(one.vocab_size());
    const auto scores = several.feed_scored(std::span(ids).subspan(20, count));
    ASSERT_EQ(scores.size(), count * vocab);
    for (size_t i = 0; i < count; ++i)
      EXPECT_LT(
          largest_difference(one.feed(std::span(ids).subspan(20 + i, 1)), scores.subspan(i * vocab, vocab)),
          1e-4);
    EXPECT_EQ(one.tokens(), several.tokens());
  }
}

TEST_F(SharedRuns, RefusedDraftsLeaveNoTrace) {
  const auto ids = tokenizer->encode(kStory);
  LanguageModel plain = session(), drafted = session({.scored = 8});
  plain.feed(std::span(ids).first(30)), drafted.feed(std::span(ids).first(30));
  for (const int64_t kept : {1, 3, 0, 7, 2}) {
    std::vector<TokenId> wrong(8, 7);
    const auto at = static_cast<size_t>(drafted.position());
    std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(at), kept, wrong.begin());
    drafted.feed_scored(wrong);
    drafted.truncate(static_cast<int64_t>(at) + kept);
    if (kept > 0) plain.feed(std::span(ids).subspan(at, static_cast<size_t>(kept)));
    EXPECT_EQ(plain.tokens(), drafted.tokens());
  }
  EXPECT_LT(largest_difference(plain.feed(std::span(&ids[43], 1)), drafted.feed(std::span(&ids[43], 1))),
            1e-4);
}

TEST_F(SharedRuns, TheStoryIsTheSameWhoeverDrafts) {
  const auto prompt = tokenizer->encode(kStory);
  GenerateOptions o;
  o.sampling.temperature = 0;
  o.max_tokens = 150;
  std::vector<TokenId> held, held_plain;
  const auto plain = alone(prompt, o, nullptr, &held_plain);
  for (const bool adaptive : {false, true}) {
    Speculator lookup(std::make_unique<generate::NgramDrafter>(), {.most = 7, .adaptive = adaptive});
    const auto r = alone(prompt, o, &lookup, &held);
    EXPECT_EQ(r.ids, plain.ids);
    EXPECT_EQ(r.text, plain.text);
    EXPECT_EQ(held, held_plain);
    EXPECT_TRUE(adaptive || r.speculation.accepted > 10);
  }
  LanguageModel small = session();  // the model itself drafts: everything is accepted
  Speculator itself(std::make_unique<generate::ModelDrafter>(small, 512), {.most = 4, .adaptive = false});
  const auto r = alone(prompt, o, &itself, &held);
  EXPECT_EQ(r.ids, plain.ids);
  EXPECT_EQ(held, held_plain);
  EXPECT_EQ(r.speculation.accepted, r.speculation.drafted);
  EXPECT_GT(r.speculation.accepted, 100);
}

TEST_F(SharedRuns, DraftsFitTheContext) {
  const auto prompt = tokenizer->encode(kStory);
  GenerateOptions o;
  o.sampling.temperature = 0;
  for (const int64_t more : {0, 1, 2, 5, 9}) {
    const auto context = static_cast<int64_t>(prompt.size()) + more;
    LanguageModel plain = session({.context = context}), drafted = session({.context = context, .scored = 8});
    const auto a = generate::generate(plain, *tokenizer, prompt, o);
    Speculator lookup(std::make_unique<generate::NgramDrafter>(), {.most = 7, .adaptive = false});
    o.speculator = &lookup;
    const auto b = generate::generate(drafted, *tokenizer, prompt, o);
    o.speculator = nullptr;
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(b.reason, StopReason::kContextFull);
    EXPECT_EQ(plain.tokens(), drafted.tokens());
  }
}

// Sequences join, are fed any number of tokens, and leave; each has the logits of a session of its own.
TEST_F(SharedRuns, SequencesJoinAndLeave) {
  const auto ids = tokenizer->encode(kStory);
  LanguageModel shared = session({.context = 128, .batch = 4, .chunk = 16});
  BatchSession batch(shared);
  struct One {
    BatchSession::Id id;
    std::unique_ptr<LanguageModel> own;
    size_t offset = 0;
  };
  std::vector<One> all;
  Random random(3);
  int compared = 0;
  for (int round = 0; round < 40; ++round) {
    while (batch.size() < batch.capacity() && random.below(3) > 0)
      all.push_back(
          {batch.join(), std::make_unique<LanguageModel>(session({.context = 128})), random.below(20)});
    if (!all.empty() && random.below(4) == 0) {
      const auto at = static_cast<std::ptrdiff_t>(random.below(all.size()));
      batch.leave(all[static_cast<size_t>(at)].id);
      all.erase(all.begin() + at);
    }
    std::vector<BatchSession::Feed> feeds;
    std::vector<size_t> who;
    for (size_t i = 0; i < all.size(); ++i) {
      if (random.below(5) == 0) continue;  // it rests
      const size_t length = random.below(3) > 0 ? 1 : 1 + random.below(25);
      if (all[i].own->position() + static_cast<int64_t>(length) > 60) continue;
      const size_t from = (all[i].offset + static_cast<size_t>(all[i].own->position())) % (ids.size() - 26);
      feeds.push_back({all[i].id, std::span(ids).subspan(from, length)});
      who.push_back(i);
    }
    const auto logits = batch.feed(feeds);
    ASSERT_EQ(logits.size(), feeds.size());
    for (size_t f = 0; f < feeds.size(); ++f, ++compared) {
      const One& one = all[who[f]];
      EXPECT_LT(largest_difference(one.own->feed(feeds[f].ids), logits[f]), 1e-4);
      EXPECT_EQ(batch.tokens(one.id), one.own->tokens());
    }
  }
  EXPECT_GT(compared, 60);
}

TEST_F(SharedRuns, ABatchNamesItsLimits) {
  LanguageModel shared = session({.context = 32, .batch = 2});
  BatchSession batch(shared);
  const auto a = batch.join(), b = batch.join();
  EXPECT_THROW(batch.join(), Error);
  const std::vector<TokenId> few(4, 5), many(33, 5), strange(1, 512);
  const std::vector<BatchSession::Feed> too_long{{a, few}, {b, many}}, unknown{{a, few}, {b, strange}};
  EXPECT_THROW(batch.feed(too_long), Error);
  EXPECT_THROW(batch.feed(unknown), Error);
  EXPECT_EQ(batch.position(a), 0);  // nothing was fed
  batch.leave(a);
  EXPECT_THROW(batch.tokens(a), Error);
  EXPECT_NE(batch.join(), a);
}

// Answers of a batch are those of single runs, with prompts of many lengths, more of them than places, and
// every kind of end.
TEST_F(SharedRuns, AnswersOfABatchAreThoseOfSingleRuns) {
  const auto ids = tokenizer->encode(kStory);
  for (const int64_t per_step : {0, 5}) {
    LanguageModel shared = session({.batch = 3, .chunk = 16});
    generate::Scheduler scheduler(shared, *tokenizer, device->pool(), {.prompt_tokens_per_step = per_step});
    std::vector<std::optional<GenerateResult>> results(9);
    std::vector<std::string> streamed(9);
    std::vector<std::pair<std::vector<TokenId>, GenerateOptions>> asked;
    for (size_t i = 0; i < results.size(); ++i) {
      GenerateOptions o;
      o.sampling.temperature = i % 2 == 0 ? 0 : 0.7f;
      o.sampling.seed = i;
      o.max_tokens = static_cast<int64_t>((i * 13) % 37);
      if (i == 2 || i == 5) o.stop = {"."};
      asked.emplace_back(
          std::vector<TokenId>(ids.begin(), ids.begin() + 1 + static_cast<std::ptrdiff_t>(i * 7)), o);
      scheduler.submit({asked.back().first, o,
                        [&, i](std::string_view piece) {
                          streamed[i] += piece;
                          return true;
                        },
                        [&, i](GenerateResult&& r) { results[i] = std::move(r); }});
    }
    size_t most = 0;
    while (scheduler.step()) most = std::max(most, scheduler.running());
    EXPECT_EQ(most, 3u);
    EXPECT_EQ(scheduler.waiting(), 0u);
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_TRUE(results[i]);
      const auto single = alone(asked[i].first, asked[i].second);
      EXPECT_EQ(results[i]->ids, single.ids) << i;
      EXPECT_EQ(results[i]->text, single.text) << i;
      EXPECT_EQ(streamed[i], single.text) << i;
      EXPECT_EQ(results[i]->reason, single.reason) << i;
      EXPECT_EQ(results[i]->prompt_tokens, single.prompt_tokens);
    }
  }
}

TEST_F(SharedRuns, AnswersCanBeCancelled) {
  LanguageModel shared = session({.batch = 2});
  generate::Scheduler scheduler(shared, *tokenizer, device->pool());
  std::vector<std::optional<GenerateResult>> results(4);
  std::vector<generate::Scheduler::Id> ids;
  GenerateOptions o;
  o.ignore_end = true;
  for (size_t i = 0; i < results.size(); ++i)
    ids.push_back(scheduler.submit(
        {tokenizer->encode("Once"), o, {}, [&, i](GenerateResult&& r) { results[i] = std::move(r); }}));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(scheduler.step());
  scheduler.cancel(ids[0]);
  scheduler.cancel(ids[3]);  // it waits still
  scheduler.cancel(1000);
  EXPECT_TRUE(scheduler.step());
  ASSERT_TRUE(results[0]);
  EXPECT_EQ(results[0]->reason, StopReason::kCancelled);
  EXPECT_EQ(results[0]->ids.size(), 5u);
  EXPECT_FALSE(results[1] || results[2]);
  EXPECT_EQ(scheduler.running(), 2u);  // the third took the place
  request_cancel();
  EXPECT_FALSE(scheduler.step());
  clear_cancel();
  for (const auto& r : results) {
    ASSERT_TRUE(r);
    EXPECT_EQ(r->reason, StopReason::kCancelled);
  }
  EXPECT_EQ(results[3]->ids.size(), 0u);
  EXPECT_THROW(scheduler.submit({{}, o, {}, {}}), Error);
  EXPECT_FALSE(scheduler.step());
}

}  // namespace
}  // namespace hone
