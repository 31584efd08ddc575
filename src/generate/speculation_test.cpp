// Drafters, the controller, and generation with drafts: the same words and the same memory as without, and
// the same distribution where a draft model guesses.
#include "generate/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/cancel.h"
#include "generate/chat.h"
#include "generate/draft_model.h"
#include "generate/made_up_models.h"
#include "generate/ngram_drafter.h"

namespace hone::generate {
namespace {

std::vector<TokenId> ids_of(std::string_view text) {
  return ByteTokenizer().encode(text);
}
std::string looked_up(NgramDrafter& drafter, std::string_view history, int most, int expected_kind) {
  const auto ids = ids_of(history);
  EXPECT_EQ(drafter.look(ids), expected_kind);
  Draft draft;
  if (expected_kind >= 0) drafter.extend(most, draft);
  EXPECT_TRUE(draft.chances.empty());
  return ByteTokenizer().decode(draft.ids, true);
}

TEST(NgramDrafter, FindsTheLongestSuffixAndItsLastOccurrence) {
  NgramDrafter d(3);
  EXPECT_EQ(looked_up(d, "abcX abcY zbcZ abc", 2, 2), "Y ");  // the last "abc", not the later "bc"
  EXPECT_EQ(looked_up(d, "abcX abcY zbcZ abcQ", 2, -1), "");
  EXPECT_EQ(looked_up(d, "abcX abcY zbcZ abcQb", 2, 0), "cQ");
}

TEST(NgramDrafter, GoesOnInPeriods) {
  NgramDrafter d(4);
  EXPECT_EQ(looked_up(d, "xabcabc", 8, 2), "abcabcab");
  EXPECT_EQ(looked_up(d, "aa", 4, 0), "aaaa");
  EXPECT_EQ(looked_up(d, "a", 4, -1), "");
  EXPECT_EQ(looked_up(d, "", 4, -1), "");
}

// Every look at a growing, sometimes cut and changed text against a search from scratch.
TEST(NgramDrafter, EqualsASearchFromScratch) {
  constexpr int kLongest = 4, kMost = 6;
  Random random(7);
  NgramDrafter d(kLongest);
  std::vector<TokenId> text;
  int found = 0;
  for (int step = 0; step < 3000; ++step) {
    if (random.below(100) == 0) text.resize(random.below(text.size() + 1));
    const auto add = 1 + random.below(3);
    for (uint64_t i = 0; i < add; ++i) text.push_back(static_cast<TokenId>(random.below(5)));
    int kind = -1;
    size_t source = 0;
    for (int n = std::min<int>(kLongest, static_cast<int>(text.size())); n >= 1 && kind < 0; --n) {
      for (size_t end = text.size() - 1; end >= static_cast<size_t>(n); --end) {
        if (!std::equal(text.end() - n, text.end(), text.begin() + static_cast<std::ptrdiff_t>(end) - n))
          continue;
        kind = n - 1, source = end;
        break;
      }
    }
    ASSERT_EQ(d.look(text), kind) << step;
    if (kind < 0) continue;
    ++found;
    Draft draft;
    d.extend(kMost, draft);
    std::vector<TokenId> expected = text;
    for (int i = 0; i < kMost; ++i) expected.push_back(expected[source + static_cast<size_t>(i)]);
    expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(text.size()));
    ASSERT_EQ(draft.ids, expected) << step;
  }
  EXPECT_GT(found, 2500);
}

TEST(RunTimes, InterpolatesWhatWasNotMeasured) {
  RunTimes t(8);
  EXPECT_EQ(t.estimate(3), 0);
  t.add(1, 10);
  EXPECT_GT(t.estimate(8), t.estimate(2));
  t.add(5, 18);
  EXPECT_NEAR(t.estimate(3), 14, 1e-9);
  EXPECT_GT(t.estimate(8), 18);
  t.add(5, 1000);  // a disturbed run
  EXPECT_LT(t.estimate(5), 36);
  for (int i = 0; i < 50; ++i) t.add(5, 12);
  EXPECT_NEAR(t.estimate(5), 12, 0.1);
}

// Runs the controller on a machine of made-up costs; returns tokens per second, and without drafts 1 is
// reached.
double simulate(DraftController& c, double acceptance, double row_cost, int steps, uint64_t seed) {
  Random random(seed);
  double seconds = 0, tokens = 0;
  for (int i = 0; i < steps; ++i) {
    const int length = c.choose(0, 7);
    int held = 0;
    while (held < length && random.uniform() < acceptance) ++held;
    for (int at = 0; at < std::min(length, held + 1); ++at) c.judged(0, at, at < held);
    if (held == length) c.judged(0, length, random.uniform() < acceptance);  // a guess that was not used
    const double took = 1 + row_cost * length;
    c.ran(length + 1, took);
    seconds += took, tokens += held + 1;
  }
  return tokens / seconds;
}

TEST(DraftController, DraftsWhereItPaysAndOnlyThere) {
  DraftController cheap(7, {0.5}), costly(7, {0.5}), hopeless(7, {0.5});
  EXPECT_GT(simulate(cheap, 0.9, 0.05, 2000, 1), 3.5);   // 5.7 / 1.35 = 4.2 with seven tokens each time
  EXPECT_GT(simulate(costly, 0.9, 1.0, 2000, 2), 0.98);  // every row costs a run: at most even
  EXPECT_GT(simulate(hopeless, 0.02, 0.1, 2000, 3), 0.98);
}

TEST(DraftController, FollowsChanges) {
  DraftController c(7, {0.5});
  simulate(c, 0.02, 0.1, 500, 1);
  EXPECT_EQ(c.choose(0, 7), 0);
  EXPECT_GT(simulate(c, 0.95, 0.1, 500, 2), 2.5);
  EXPECT_GT(simulate(c, 0.02, 0.1, 1000, 3), 0.95);
}

TEST(DraftController, TriesAgainEverMoreRarely) {
  DraftController c(7, {0.5});
  c.ran(1, 1.0);
  for (int rows = 2; rows <= 8; ++rows) c.ran(rows, 10.0);
  std::vector<int> tries;
  for (int i = 0; i < 1000; ++i) {
    if (c.choose(0, 7) > 0) tries.push_back(i);
  }
  ASSERT_GE(tries.size(), 3u);
  EXPECT_LE(tries.size(), 6u);
  EXPECT_GT(tries[2] - tries[1], tries[1] - tries[0]);
  EXPECT_EQ(c.choose(-1, 7), 0);
  EXPECT_EQ(c.choose(0, 0), 0);
}

std::unique_ptr<Speculator> looking_up(bool adaptive = false, int most = 5) {
  return std::make_unique<Speculator>(std::make_unique<NgramDrafter>(),
                                      SpeculationOptions{.most = most, .adaptive = adaptive});
}

constexpr const char* kSong = "one two three, one two three, one two four, one two three and one two four.";

struct Said {
  GenerateResult result;
  std::vector<TokenId> held;  // by the model at the end
  int64_t runs = 0;
};

// kSong behind "ask:", with or without lookup.
Said sing(GenerateOptions options, Speculator* speculator, int64_t context = 1000,
          std::function<bool(std::string_view)> listener = {}) {
  PositionModel model(kSong, 4, 6, context);
  const ByteTokenizer tokenizer;
  options.speculator = speculator;
  Said said;
  said.result = generate(model, tokenizer, ids_of("ask:"), options, listener);
  said.held = model.tokens();
  said.runs = model.runs;
  clear_cancel();
  return said;
}

void expect_equal(const Said& a, const Said& b) {
  EXPECT_EQ(a.result.text, b.result.text);
  EXPECT_EQ(a.result.ids, b.result.ids);
  EXPECT_EQ(a.result.reason, b.result.reason);
  EXPECT_EQ(a.held, b.held);
}

TEST(Speculation, SameWordsInFewerRuns) {
  const auto s = looking_up();
  const Said plain = sing({}, nullptr), drafted = sing({}, s.get());
  EXPECT_EQ(plain.result.text, kSong);
  expect_equal(plain, drafted);
  EXPECT_LT(drafted.runs, plain.runs * 2 / 3);
  const SpeculationStats& stats = drafted.result.speculation;
  EXPECT_GT(stats.runs, 5);
  EXPECT_GT(stats.drafted, stats.accepted);
  // Every run says one token, the first without a run; what was accepted comes on top.
  EXPECT_EQ(stats.accepted, static_cast<int64_t>(drafted.result.ids.size()) + 1 - drafted.runs);
  EXPECT_EQ(plain.result.speculation.drafted, 0);
}

// Whatever ends an answer, at every place of accepted and refused drafts.
TEST(Speculation, EndsWherePlainDecodingEnds) {
  const std::string song = kSong;
  for (size_t n = 0; n <= song.size() + 1; ++n) {
    const auto s = looking_up();
    GenerateOptions limited;
    limited.max_tokens = static_cast<int64_t>(n);
    expect_equal(sing(limited, nullptr), sing(limited, s.get()));
    expect_equal(sing({}, nullptr, static_cast<int64_t>(n) + 4),
                 sing({}, s.get(), static_cast<int64_t>(n) + 4));
    const auto after = [n](bool cancel) {
      return [n, cancel, count = size_t{0}](std::string_view) mutable {
        if (++count != n) return true;
        if (cancel) request_cancel();
        return cancel;
      };
    };
    for (const bool cancel : {true, false})
      expect_equal(sing({}, nullptr, 1000, after(cancel)), sing({}, s.get(), 1000, after(cancel)));
  }
  for (const std::string stop : {"three, one", "two f", "four.", "e, o", "and", "three and o"}) {
    const auto s = looking_up();
    GenerateOptions o;
    o.stop = {stop};
    const Said plain = sing(o, nullptr);
    EXPECT_EQ(plain.result.reason, StopReason::kStopString) << stop;
    expect_equal(plain, sing(o, s.get()));
  }
}

TEST(Speculation, AModelOfSingleTokensIsNotAskedForMore) {
  PositionModel model(kSong, 4);
  const ByteTokenizer tokenizer;
  const auto s = looking_up();
  GenerateOptions o;
  o.speculator = s.get();
  const auto r = generate(model, tokenizer, ids_of("ask:"), o);
  EXPECT_EQ(r.text, kSong);
  EXPECT_EQ(r.speculation.drafted, 0);
}

TEST(Speculation, AChatGoesOnFromTheSameMemory) {
  const auto converse = [](Speculator* speculator) {
    RandomModel model(3, 3.0f, 6);
    const ByteTokenizer tokenizer;
    Chat chat(model, tokenizer, "");
    GenerateOptions o;
    o.max_tokens = 40;
    o.sampling.seed = 9;
    o.speculator = speculator;
    std::vector<std::string> texts;
    for (const char* line : {"abc", "fed", "cab"}) texts.push_back(chat.send(line, o).text);
    return std::pair(texts, model.tokens());
  };
  const auto s = looking_up();
  EXPECT_EQ(converse(nullptr), converse(s.get()));
}

SamplingOptions rich_sampling(uint64_t seed) {
  SamplingOptions s;
  s.temperature = 0.9f;
  s.top_k = 5;
  s.top_p = 0.97f;
  s.min_p = 0.01f;
  s.repetition_penalty = 1.2f;
  s.frequency_penalty = 0.1f;
  s.penalty_window = 5;
  s.seed = seed;
  return s;
}

std::vector<TokenId> tell(const SamplingOptions& sampling, Speculator* speculator, int64_t tokens,
                          SpeculationStats* stats = nullptr) {
  RandomModel model(11, 1.5f, 6);
  const ByteTokenizer tokenizer;
  GenerateOptions o;
  o.sampling = sampling;
  o.max_tokens = tokens;
  o.speculator = speculator;
  const auto r = generate(model, tokenizer, ids_of("ab"), o);
  if (stats) *stats = r.speculation;
  return r.ids;
}

TEST(Speculation, LookupKeepsTheTextOfASeed) {
  for (const bool adaptive : {false, true}) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
      const auto s = looking_up(adaptive);
      SpeculationStats stats;
      EXPECT_EQ(tell(rich_sampling(seed), nullptr, 60), tell(rich_sampling(seed), s.get(), 60, &stats))
          << seed;
      EXPECT_TRUE(adaptive || stats.accepted > 0);
    }
  }
}

// A draft model of similar taste.
struct WithDraftModel {
  explicit WithDraftModel(uint64_t seed = 12, bool adaptive = false)
      : model(seed, 1.5f),
        speculator(std::make_unique<ModelDrafter>(model, static_cast<int64_t>(kVocab)),
                   SpeculationOptions{.most = 3, .adaptive = adaptive}) {}
  RandomModel model;
  Speculator speculator;
};

TEST(Speculation, GreedyTextIsTheSameWithEveryDraftModel) {
  SamplingOptions greedy = rich_sampling(0);
  greedy.temperature = 0;
  const auto plain = tell(greedy, nullptr, 80);
  for (const uint64_t seed : {11, 12, 13}) {
    for (const bool adaptive : {false, true}) {
      WithDraftModel d(seed, adaptive);
      SpeculationStats stats;
      EXPECT_EQ(plain, tell(greedy, &d.speculator, 80, &stats));
      EXPECT_GT(stats.drafted, 0);
      EXPECT_TRUE(seed != 11 || stats.accepted == stats.drafted);  // the same model
    }
  }
}

// Chi-squared of counts of short texts against their exact probabilities, in standard deviations from its
// mean. Cells that expect fewer than five are one cell.
double excess(const std::map<std::vector<TokenId>, double>& exact,
              const std::map<std::vector<TokenId>, int>& counts, int draws) {
  double chi = 0, rest_expected = 0, rest_seen = draws;
  int cells = 0;
  for (const auto& [text, p] : exact) {
    const double expected = p * draws;
    if (expected < 5) {
      rest_expected += expected;
      continue;
    }
    const auto found = counts.find(text);
    const double seen = found == counts.end() ? 0 : found->second;
    chi += (seen - expected) * (seen - expected) / expected;
    rest_seen -= seen;
    ++cells;
  }
  if (rest_expected >= 5) {
    chi += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
    ++cells;
  }
  const double freedom = cells - 1;
  return (chi - freedom) / std::sqrt(2 * freedom);
}

constexpr int64_t kLength = 4;

// Probabilities of all texts behind "ab", from the model's logits and the sampler's distribution.
void enumerate(const RandomModel& model, std::vector<TokenId>& text, double probability,
               std::map<std::vector<TokenId>, double>& out) {
  if (text.size() == 2 + kLength) {
    out[{text.begin() + 2, text.end()}] += probability;
    return;
  }
  std::vector<float> logits(kVocab);
  model.score(text, logits.data());
  Sampler sampler(rich_sampling(0));
  const auto held = sampler.distribution(logits, text);
  const std::vector<Chance> chances(held.begin(), held.end());
  for (const Chance& c : chances) {
    text.push_back(c.id);
    enumerate(model, text, probability * c.probability, out);
    text.pop_back();
  }
}

class Distribution : public testing::Test {
 protected:
  static constexpr int kDraws = 30000;
  Distribution() {
    std::vector<TokenId> prompt = ids_of("ab");
    enumerate(RandomModel(11, 1.5f), prompt, 1.0, exact);
  }
  // Of many answers with seeds one after the other.
  double excess_of(Speculator* speculator) {
    std::map<std::vector<TokenId>, int> counts;
    for (uint64_t seed = 0; seed < kDraws; ++seed) {
      SpeculationStats stats;
      ++counts[tell(rich_sampling(seed), speculator, kLength, &stats)];
      drafted += stats.drafted, accepted += stats.accepted;
    }
    return excess(exact, counts, kDraws);
  }
  std::map<std::vector<TokenId>, double> exact;
  int64_t drafted = 0, accepted = 0;
};

TEST_F(Distribution, PlainSampling) {
  EXPECT_GT(exact.size(), 100u);
  EXPECT_LT(std::abs(excess_of(nullptr)), 4);
}

TEST_F(Distribution, DraftModel) {
  WithDraftModel d;
  EXPECT_LT(std::abs(excess_of(&d.speculator)), 4);
  EXPECT_GT(drafted, kDraws);
  EXPECT_GT(accepted, drafted / 5);
  EXPECT_LT(accepted, drafted * 4 / 5);
}

TEST_F(Distribution, DraftModelOfTheSameTaste) {
  WithDraftModel d(11);
  EXPECT_LT(std::abs(excess_of(&d.speculator)), 4);
  EXPECT_EQ(accepted, drafted);
}

TEST_F(Distribution, Lookup) {
  const auto s = looking_up();
  EXPECT_LT(std::abs(excess_of(s.get())), 4);
  EXPECT_GT(accepted, 0);
}

// The test sees a drafter that is believed without judgement.
TEST_F(Distribution, WouldShowAWrongRule) {
  std::map<std::vector<TokenId>, int> counts;
  RandomModel draft(12, 1.5f);
  const ByteTokenizer tokenizer;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    draft.truncate(0, 0);
    GenerateOptions o;
    o.sampling = rich_sampling(seed);
    o.max_tokens = kLength;
    ++counts[generate(draft, tokenizer, ids_of("ab"), o).ids];
  }
  EXPECT_GT(excess(exact, counts, kDraws), 100);
}

TEST(ModelDrafter, KeepsInStep) {
  RandomModel model(5, 1.0f);
  ModelDrafter d(model, static_cast<int64_t>(kVocab));
  const auto prompt = ids_of("abcabc");
  d.begin_answer(rich_sampling(1), prompt);
  EXPECT_EQ(model.tokens(), prompt);
  std::vector<TokenId> history = prompt;
  Random random(1);
  for (int step = 0; step < 50; ++step) {
    history.push_back(static_cast<TokenId>('a' + random.below(6)));
    if (step % 10 == 9) history.insert(history.end(), 7, 'c');  // it was not asked for a while
    ASSERT_EQ(d.look(history), 0);
    d.catch_up();
    const int64_t runs = model.runs;
    Draft draft;
    d.extend(3, draft);
    EXPECT_EQ(model.runs - runs, 3);
    ASSERT_EQ(draft.ids.size(), 3u);
    ASSERT_EQ(draft.chances.size(), 3u);
    std::vector<TokenId> held = history;
    held.insert(held.end(), draft.ids.begin(), draft.ids.end() - 1);  // the last needs no feeding
    EXPECT_EQ(model.tokens(), held);
    history.insert(history.end(), draft.ids.begin(),
                   draft.ids.begin() + static_cast<std::ptrdiff_t>(random.below(4)));
  }
  EXPECT_EQ(d.look(std::vector<TokenId>(2000, 'a')), -1);  // beyond the draft model's context
}

TEST(ModelDrafter, RefusesAnotherVocabulary) {
  struct Renamed : ByteTokenizer {
    std::string piece(TokenId id) const override { return id == 'q' ? "Q" : ByteTokenizer::piece(id); }
  } renamed;
  struct Longer : ByteTokenizer {
    size_t vocab_size() const override { return kVocab + 1; }
  } longer;
  const ByteTokenizer target;
  check_same_vocabulary(target, ByteTokenizer(), "big", "small");
  for (const text::Tokenizer* other :
       {static_cast<text::Tokenizer*>(&renamed), static_cast<text::Tokenizer*>(&longer)}) {
    try {
      check_same_vocabulary(target, *other, "big", "small");
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(e.what()).find("small cannot draft for big"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hone::generate
