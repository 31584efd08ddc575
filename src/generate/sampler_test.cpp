// Samplers against llama.cpp's chain (fixture of tests/tools/make_sampler_fixture.py) and against plain sorting.
#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace hone::generate {
namespace {

SamplingOptions everything_off() {
  SamplingOptions o;
  o.temperature = 1;
  o.top_k = 0;
  o.top_p = 1;
  o.min_p = 0;
  return o;
}

SamplingOptions options_of(const Json& j) {
  SamplingOptions o;
  o.temperature = j.at("temperature");
  o.top_k = j.at("top_k");
  o.top_p = j.at("top_p");
  o.min_p = j.at("min_p");
  o.typical_p = j.at("typical_p");
  o.repetition_penalty = j.at("repetition_penalty");
  o.presence_penalty = j.at("presence_penalty");
  o.frequency_penalty = j.at("frequency_penalty");
  o.penalty_window = j.at("penalty_window");
  o.seed = 11;
  return o;
}

// Logits with many ties, as 16-bit heads give them.
std::vector<float> coarse_logits(size_t n) {
  Random random(3);
  std::vector<float> logits(n);
  for (float& x : logits) x = static_cast<float>(std::round(random.normal() * 16) / 8);
  return logits;
}

std::set<text::TokenId> best(const std::vector<float>& logits, size_t k) {
  std::vector<text::TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(k)};
}

TEST(Sampler, DrawsFromTheDistributionsOfLlamaCpp) {
  const Json fixture = parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/generate/samplers.json"), "samplers.json");
  ASSERT_EQ(fixture.at("cases").size(), 14u);
  for (const Json& c : fixture.at("cases")) {
    SCOPED_TRACE(c.at("options").dump());
    const auto logits = c.at("logits").get<std::vector<float>>();
    const auto history = c.at("history").get<std::vector<text::TokenId>>();
    Sampler sampler(options_of(c.at("options")));
    constexpr int kDraws = 40000;
    std::map<std::string, int> seen;
    for (int i = 0; i < kDraws; ++i) ++seen[std::to_string(sampler.sample(logits, history))];
    for (const auto& [id, count] : seen) EXPECT_TRUE(c.at("expected").contains(id)) << id << " drawn " << count << " times";
    for (const auto& [id, p] : c.at("expected").items()) {
      const double expected = p.get<double>() * kDraws, deviation = std::sqrt(expected * (1 - p.get<double>()));
      EXPECT_NEAR(seen[id], expected, 5 * deviation + 1) << "id " << id;
    }
  }
}

TEST(Sampler, TopKKeepsTheBestByHeapAndByPartition) {
  const std::vector<float> logits = coarse_logits(8192);
  for (const int k : {1, 40, 600}) {
    SamplingOptions o = everything_off();
    o.top_k = k;
    o.temperature = 1e6f;  // as good as uniform: every kept id turns up
    Sampler sampler(o);
    std::set<text::TokenId> seen;
    for (int i = 0; i < 15 * k; ++i) seen.insert(sampler.sample(logits, {}));
    EXPECT_EQ(seen, best(logits, static_cast<size_t>(k))) << "k = " << k;
  }
}

TEST(Sampler, TopPOverALargeVocabularyIsTheSortedPrefix) {
  const std::vector<float> logits = coarse_logits(20000);
  std::vector<float> sorted = logits;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double total = 0, mass = 0;
  for (const float x : logits) total += std::exp(x);
  size_t k = 0;
  while (mass < 0.3 * total) mass += std::exp(sorted[k++]);
  ASSERT_GT(k, 100u);  // past the first prefix
  SamplingOptions o = everything_off();
  o.top_p = 0.3f;
  o.temperature = 1e6f;
  Sampler sampler(o);
  std::set<text::TokenId> seen;
  for (size_t i = 0; i < 15 * k; ++i) seen.insert(sampler.sample(logits, {}));
  EXPECT_EQ(seen, best(logits, k));
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdAmongEquals) {
  SamplingOptions o;
  o.temperature = 0;
  Sampler sampler(o);
  const std::vector<float> logits = {1, 5, -2, 5, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_EQ(sampler.sample(logits, {}), 1);
  EXPECT_EQ(argmax(logits), 1);
}

TEST(Sampler, GreedyStillHeedsPenalties) {
  SamplingOptions o;
  o.temperature = 0;
  o.repetition_penalty = 2;
  Sampler sampler(o);
  const std::vector<float> logits = {1, 5, -2, 4};
  const std::vector<text::TokenId> history = {1, 1, 90, -5};  // ids outside the vocabulary are passed over
  EXPECT_EQ(sampler.sample(logits, history), 3);
}

TEST(Sampler, SameSeedSameSequence) {
  const std::vector<float> logits = coarse_logits(5000);
  SamplingOptions o;
  o.seed = 42;
  Sampler a(o), b(o);
  o.seed = 43;
  Sampler c(o);
  int different = 0;
  for (int i = 0; i < 200; ++i) {
    const auto id = a.sample(logits, {});
    EXPECT_EQ(id, b.sample(logits, {}));
    different += id != c.sample(logits, {});
  }
  EXPECT_GT(different, 50);
}

TEST(Sampler, NeverDrawsMaskedIds) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {kMasked, 0, kMasked, 0.5f};
  SamplingOptions o = everything_off();
  Sampler sampler(o);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(sampler.sample(logits, {}) % 2, 1);
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float temperature : {0.f, 1.f}) {
    SamplingOptions o;
    o.temperature = temperature;
    Sampler sampler(o);
    EXPECT_THROW(sampler.sample(std::vector<float>{nan, nan}, {}), Error);
    EXPECT_THROW(sampler.sample(std::vector<float>{0, std::numeric_limits<float>::infinity()}, {}), Error);
  }
}

TEST(Sampler, NamesTheValueOutOfRange) {
  const auto message = [](auto change) {
    SamplingOptions o;
    change(o);
    try {
      Sampler sampler(o);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(message([](auto& o) { o.temperature = -1; }).find("temperature"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.top_p = 1.5f; }).find("top-p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.min_p = std::nanf(""); }).find("min-p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.top_k = -3; }).find("top-k"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.typical_p = 0; }).find("typical-p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.repetition_penalty = 0; }).find("repetition"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.penalty_window = -2; }).find("window"), std::string::npos);
  EXPECT_EQ(message([](auto&) {}), "accepted");
}

}  // namespace
}  // namespace hone::generate
