// Feedback encoding: unpacking inverts packing, the factor rebuilds the covariance, the error in the metric
// of the covariance falls for every format, and never lies above the plain encoding's.
#include "quant/feedback.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "quant/block_form.h"
#include "quant/encode.h"

namespace hone::quant {
namespace {

using tensor::FormatId;
constexpr FormatId kFormats[] = {FormatId::kQ8_0, FormatId::kQ4_0,  FormatId::kQ4_1,   FormatId::kQ5_0,
                                 FormatId::kQ5_1, FormatId::kQ2_0,  FormatId::kIQ4_NL, FormatId::kMXFP4,
                                 FormatId::kQ2_K, FormatId::kQ3_K,  FormatId::kQ4_K,   FormatId::kQ5_K,
                                 FormatId::kQ6_K, FormatId::kIQ4_XS};

// Inputs with a few strong shared directions and features of unequal size, as real layers have.
std::vector<float> moments(size_t cols, uint64_t seed) {
  Random random(seed);
  constexpr size_t kSamples = 300, kShared = 8;
  std::vector<double> h(cols * cols);
  std::vector<float> directions(kShared * cols), x(cols), size(cols);
  for (float& v : directions) v = static_cast<float>(random.normal());
  for (float& v : size) v = static_cast<float>(std::exp(0.7 * random.normal()));
  for (size_t s = 0; s < kSamples; ++s) {
    for (size_t i = 0; i < cols; ++i) x[i] = static_cast<float>(random.normal());
    for (size_t k = 0; k < kShared; ++k) {
      const auto c = static_cast<float>(random.normal());
      for (size_t i = 0; i < cols; ++i) x[i] += c * directions[k * cols + i];
    }
    for (size_t i = 0; i < cols; ++i) x[i] *= size[i];
    for (size_t i = 0; i < cols; ++i)
      for (size_t j = 0; j <= i; ++j) h[i * cols + j] += static_cast<double>(x[i]) * x[j] / kSamples;
  }
  std::vector<float> result(cols * cols);
  for (size_t i = 0; i < cols; ++i)
    for (size_t j = 0; j <= i; ++j)
      result[i * cols + j] = result[j * cols + i] = static_cast<float>(h[i * cols + j]);
  return result;
}

tensor::TensorView view_of(const std::vector<float>& x, int64_t rows, int64_t cols) {
  return {FormatId::kF32, {rows, cols}, std::as_bytes(std::span(x))};
}

TEST(BlockForm, UnpackingInvertsPackingAndGivesTheDecodedValues) {
  Random random(1);
  for (const FormatId id : kFormats) {
    const BlockForm& form = *find_block_form(id);
    const auto n = static_cast<size_t>(form.block);
    ASSERT_EQ(n, tensor::format(id).block);
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<float> x(n), decoded(n);
      for (float& v : x) v = static_cast<float>(random.normal() * std::exp(random.normal()));
      std::vector<std::byte> bytes(tensor::format_bytes(id, n)), again(bytes.size());
      encode_rows(id, x.data(), 1, n, {}, bytes.data(), nullptr);
      EncodedBlock e{};
      form.unpack(reinterpret_cast<const uint8_t*>(bytes.data()), e);
      form.pack(e, reinterpret_cast<uint8_t*>(again.data()));
      ASSERT_EQ(bytes, again) << tensor::format(id).name;
      tensor::format(id).decode(bytes.data(), decoded.data(), n);
      for (size_t i = 0; i < n; ++i) {
        const int p = static_cast<int>(i) / form.piece;
        ASSERT_NEAR(form.factor(e, p) * form.level(e.codes[i]) + form.addend(e, p), decoded[i],
                    1e-6 * (1 + std::fabs(decoded[i])))
            << tensor::format(id).name << " " << i;
      }
    }
  }
}

TEST(Covariance, FactorRebuildsTheMatrix) {
  constexpr size_t kCols = 96;
  ThreadPool pool(3);
  const std::vector<float> m = moments(kCols, 5);
  const Covariance h(m, kCols, 0.01, &pool);
  for (size_t i = 0; i < kCols; ++i)
    for (size_t j = 0; j < kCols; ++j) {
      double sum = 0;
      for (size_t k = std::max(i, j); k < kCols; ++k)
        sum += static_cast<double>(h.feedback(i)[k]) * h.conditional()[k] * h.feedback(j)[k];
      EXPECT_NEAR(sum, h.row(i)[j], 1e-4 * std::sqrt(h.diagonal(i) * h.diagonal(j)));
    }
}

TEST(Covariance, RefusesWhatIsNoCovariance) {
  std::vector<float> m(4, 0.0f);
  m[0] = -1;
  EXPECT_THROW(Covariance(m, 2, 0.01, nullptr), Error);
  m[0] = NAN;
  EXPECT_THROW(Covariance(m, 2, 0.01, nullptr), Error);
  m[0] = 0;
  EXPECT_NO_THROW(Covariance(m, 2, 0.01, nullptr));  // features that never spoke
}

class Feedback : public testing::TestWithParam<FormatId> {};

TEST_P(Feedback, BeatsThePlainEncodingInTheMetricOfTheInputs) {
  const FormatId id = GetParam();
  constexpr int64_t kRows = 21, kCols = 512;
  Random random(9);
  std::vector<float> x(kRows * kCols);
  for (float& v : x) v = static_cast<float>(random.normal());
  const Covariance h(moments(kCols, 2), kCols, 0.01, nullptr);
  const tensor::TensorView view = view_of(x, kRows, kCols);
  std::vector<float> diagonal(kCols);
  for (size_t i = 0; i < kCols; ++i) diagonal[i] = h.diagonal(i);
  std::vector<std::byte> plain(tensor::format_bytes(id, x.size())), fed(plain.size()), swept(plain.size()),
      threads(plain.size());
  encode_tensor(view, id, diagonal, plain, nullptr, Effort::kThorough);
  encode_with_feedback(view, id, h, fed, nullptr, {0});
  encode_with_feedback(view, id, h, swept, nullptr, {4});
  ThreadPool pool(3);
  encode_with_feedback(view, id, h, threads, &pool, {4});
  EXPECT_EQ(swept, threads);
  const auto error = [&](const std::vector<std::byte>& bytes) {
    return covariance_error(view, id, bytes, h, nullptr);
  };
  const double none = error(plain), feedback = error(fed), sweeps = error(swept);
  RecordProperty("feedback", std::to_string(feedback / none));
  RecordProperty("sweeps", std::to_string(sweeps / none));
  EXPECT_LT(feedback, 0.9 * none) << tensor::format(id).name;
  EXPECT_LT(sweeps, feedback) << tensor::format(id).name;
  // No row is worse than its plain encoding.
  const size_t row = plain.size() / kRows;
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<float> one(x.begin() + r * kCols, x.begin() + (r + 1) * kCols);
    const auto part = [&](const std::vector<std::byte>& bytes) {
      return covariance_error(view_of(one, 1, kCols), id,
                              std::span(bytes).subspan(static_cast<size_t>(r) * row, row), h, nullptr);
    };
    EXPECT_LE(part(swept), part(plain) * (1 + 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Feedback, testing::ValuesIn(kFormats),
                         [](const auto& i) { return std::string(tensor::format(i.param).name); });

TEST(Feedback, CodeBooksAreEncodedPlainly) {
  EXPECT_FALSE(has_feedback(FormatId::kIQ2_XS));
  constexpr int64_t kCols = 256;
  Random random(3);
  std::vector<float> x(4 * kCols);
  for (float& v : x) v = static_cast<float>(random.normal());
  const Covariance h(moments(kCols, 4), kCols, 0.01, nullptr);
  std::vector<float> diagonal(kCols);
  for (size_t i = 0; i < kCols; ++i) diagonal[i] = h.diagonal(i);
  std::vector<std::byte> a(tensor::format_bytes(FormatId::kIQ2_XS, x.size())), b(a.size());
  encode_with_feedback(view_of(x, 4, kCols), FormatId::kIQ2_XS, h, a, nullptr);
  encode_tensor(view_of(x, 4, kCols), FormatId::kIQ2_XS, diagonal, b, nullptr, Effort::kThorough);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace hone::quant
