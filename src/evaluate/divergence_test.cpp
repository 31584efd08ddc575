// Statistics, logit rows and windows against numpy and against plain F64 loops.
#include "evaluate/divergence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "evaluate/log_probability.h"
#include "evaluate/speed.h"

namespace hone::evaluate {
namespace {

using text::TokenId;

std::vector<float> random_row(size_t n, uint64_t seed, double scale) {
  Random random(seed);
  std::vector<float> row(n);
  for (float& x : row) x = static_cast<float>(random.normal() * scale);
  return row;
}

double exact_log_sum(const std::vector<float>& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float x : row) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

double exact_kl(const std::vector<float>& p, const std::vector<float>& q) {
  const double lp = exact_log_sum(p), lq = exact_log_sum(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i] - lp) * ((p[i] - lp) - (q[i] - lq));
  return kl;
}

TEST(LogProbability, RowsAgreeWithF64) {
  for (const size_t n : {1u, 5u, 16u, 257u, 49152u}) {
    for (const double scale : {0.1, 3.0, 30.0}) {
      const std::vector<float> row = random_row(n, n, scale);
      const RowSummary s = summarize(row);
      EXPECT_NEAR(s.log_sum, exact_log_sum(row), 1e-6) << n << " " << scale;
      EXPECT_EQ(s.top1, std::max_element(row.begin(), row.end()) - row.begin());
    }
  }
}

TEST(LogProbability, TheFirstOfEqualsIsTop1) { EXPECT_EQ(summarize(std::vector<float>{0, 7, 3, 7}).top1, 1); }

TEST(LogProbability, RefusesWhatIsNotFinite) {
  std::vector<float> row(100, 1.f);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {0u, 40u, 99u}) {
      std::vector<float> spoiled = row;
      spoiled[at] = bad;
      EXPECT_THROW(summarize(spoiled), Error) << bad << " at " << at;
    }
  }
}

TEST(KlDivergence, AgreesWithF64FromTinyToLarge) {
  const std::vector<float> p = random_row(49152, 1, 3.0);
  for (const double scale : {1e-3, 1e-2, 0.1, 1.0, 5.0}) {
    std::vector<float> q = p;
    const std::vector<float> noise = random_row(q.size(), 2, scale);
    for (size_t i = 0; i < q.size(); ++i) q[i] += noise[i];
    const double exact = exact_kl(p, q);
    EXPECT_NEAR(kl_divergence(p, q), exact, 1e-7 + 1e-6 * exact) << scale;
  }
}

TEST(KlDivergence, OfADistributionToItselfIsZero) {
  const std::vector<float> p = random_row(1000, 5, 4.0);
  std::vector<float> shifted = p;
  for (float& x : shifted) x += 2;
  EXPECT_EQ(kl_divergence(p, p), 0);
  EXPECT_NEAR(kl_divergence(p, shifted), 0, 1e-6);  // softmax does not see a shift
}

// The form that ReferenceLogits keeps: sum p log p - p . q + mass * log_sum(q).
TEST(KlDivergence, StoredProbabilitiesGiveTheSame) {
  const std::vector<float> p = random_row(49152, 8, 3.0);
  std::vector<float> stored(p.size());
  const double negative_entropy = softmax_row(p, stored);
  EXPECT_NEAR(sum(stored), 1, 1e-6);
  for (const double scale : {1e-3, 0.1, 2.0}) {
    std::vector<float> q = p;
    const std::vector<float> noise = random_row(q.size(), 9, scale);
    for (size_t i = 0; i < q.size(); ++i) q[i] += noise[i];
    const double exact = exact_kl(p, q);
    EXPECT_NEAR(negative_entropy - dot(stored, q) + sum(stored) * summarize(q).log_sum, exact, 2e-7 + 1e-6 * exact) << scale;
  }
}

TEST(Statistics, MeanAndItsError) {
  const std::vector<double> values = {1, 2, 3, 4, 10};
  const Statistic s = mean_statistic(values);
  EXPECT_DOUBLE_EQ(s.value, 4);
  EXPECT_NEAR(s.error, std::sqrt(10.0 / 4), 1e-12);  // population variance 10
  EXPECT_EQ(mean_statistic(std::vector<double>{3}).error, 0);
}

// numpy.quantile([0.1, 0.4, 0.7, 1.5, 2.0, 9.0], [0.5, 0.99, 0.999]), its default (linear) method.
TEST(Statistics, QuantilesAreNumpys) {
  const std::vector<double> sorted = {0.1, 0.4, 0.7, 1.5, 2.0, 9.0};
  EXPECT_NEAR(quantile_statistic(sorted, 0.5).value, 1.1, 1e-12);
  EXPECT_NEAR(quantile_statistic(sorted, 0.99).value, 8.65, 1e-12);
  EXPECT_NEAR(quantile_statistic(sorted, 0.999).value, 8.965, 1e-12);
}

TEST(Statistics, QuantileErrorCoversRepeatedSamples) {
  // The spread of the estimated median over many samples is what the error of one says.
  Random random(4);
  std::vector<double> medians, errors;
  for (int i = 0; i < 400; ++i) {
    std::vector<double> sample(400);
    for (double& x : sample) x = random.normal();
    std::sort(sample.begin(), sample.end());
    const Statistic s = quantile_statistic(sample, 0.5);
    medians.push_back(s.value);
    errors.push_back(s.error);
  }
  const double spread = mean_statistic(medians).error * std::sqrt(399.0);
  EXPECT_NEAR(mean_statistic(errors).value, spread, 0.15 * spread);
}

TEST(Statistics, SampleOfRepetitions) {
  const std::vector<double> odd = {5, 1, 3}, even = {4, 1, 3, 2};
  EXPECT_EQ(sample_of(odd).median, 3);
  EXPECT_EQ(sample_of(odd).min, 1);
  EXPECT_EQ(sample_of(odd).max, 5);
  EXPECT_EQ(sample_of(even).median, 2.5);
}

TEST(Speed, ReadBandwidthIsPlausible) {
  ThreadPool pool(2);
  const double bandwidth = measure_read_bandwidth(pool);
  EXPECT_GT(bandwidth, 5e8);
  EXPECT_LT(bandwidth, 2e12);
}

// One token a character; 1 is BOS.
class LetterTokenizer : public text::Tokenizer {
 public:
  explicit LetterTokenizer(bool begins) : begins_(begins) { bos = 1; }
  std::vector<TokenId> encode(std::string_view text, const text::EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (begins_ && options.add_special) ids.push_back(1);
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(const std::vector<TokenId>&, bool) const override { return {}; }
  std::string token_bytes(TokenId, bool) const override { return {}; }
  std::string piece(TokenId) const override { return {}; }
  size_t vocab_size() const override { return 256; }
  std::optional<TokenId> find(std::string_view) const override { return {}; }
  bool is_special(TokenId id) const override { return id == 1; }
  text::VocabSpec to_vocab_spec() const override { return {}; }
  std::string to_tokenizer_json() const override { return {}; }

 private:
  bool begins_;
};

TEST(Windows, AreConsecutiveAndTheRestIsDropped) {
  const LetterTokenizer tokenizer(false);
  const auto windows = make_windows(tokenizer, "abcdefghijk", {.window = 4});
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[0], (std::vector<TokenId>{'a', 'b', 'c', 'd'}));
  EXPECT_EQ(windows[1], (std::vector<TokenId>{'e', 'f', 'g', 'h'}));
  EXPECT_EQ(make_windows(tokenizer, "abcdefghijk", {.window = 4, .max_windows = 1}).size(), 1u);
}

// As llama-perplexity: the text begins with BOS, and BOS takes the place of each window's first token.
TEST(Windows, BeginWithBosWhereTheTokenizerAddsIt) {
  const LetterTokenizer tokenizer(true);
  EXPECT_TRUE(adds_bos(tokenizer));
  const auto windows = make_windows(tokenizer, "abcdefghijk", {.window = 4});
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0], (std::vector<TokenId>{1, 'a', 'b', 'c'}));
  EXPECT_EQ(windows[1], (std::vector<TokenId>{1, 'e', 'f', 'g'}));
  const auto plain = make_windows(tokenizer, "abcdefghijk", {.window = 4, .add_bos = false});
  EXPECT_EQ(plain[1], (std::vector<TokenId>{'d', 'e', 'f', 'g'}));
}

TEST(Windows, RefuseATextThatIsTooShort) {
  const LetterTokenizer tokenizer(false);
  try {
    make_windows(tokenizer, "abc", {.window = 4});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
  }
  EXPECT_THROW(make_windows(tokenizer, "abc", {.window = 1}), Error);
}

TEST(Report, JsonHasReferenceFiguresOnlyWithAReference) {
  DivergenceResult r;
  r.tokens = 3;
  r.perplexity = {12, 1};
  EXPECT_FALSE(to_json(r).contains("kl_divergence"));
  r.has_reference = true;
  r.kl_mean = {0.1, 0.01};
  EXPECT_EQ(to_json(r).at("kl_divergence").at("mean").at("value"), 0.1);
}

}  // namespace
}  // namespace hone::evaluate
