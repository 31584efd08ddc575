// Element and row functions on every instruction set, against libm in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/isa_table.h"

namespace hone::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<const IsaTable*> tables() {
  std::vector<const IsaTable*> list;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) list.push_back(&table_for(isa));
  return list;
}

std::vector<float> spread() {  // both signs over the whole range, and the corners
  std::vector<float> x{0.0f,    -0.0f, 1.0f,  -1.0f,  88.7f,   89.5f, -87.3f, -103.0f,
                       -110.0f, kInf,  -kInf, 1e-30f, -1e-30f, 1e30f, -1e30f};
  Random random(2);
  for (int i = 0; i < 5000; ++i) {
    x.push_back(static_cast<float>(random.normal() * 20));
    x.push_back(static_cast<float>(random.normal() * 0.01));
  }
  return x;
}

template <typename Got, typename Exact>
void expect_close(const char* name, double relative, double absolute, Got got, Exact exact) {
  const std::vector<float> x = spread();
  for (const IsaTable* t : tables()) {
    std::vector<float> y(x.size(), NAN);
    got(*t, x.data(), y.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double e = exact(static_cast<double>(x[i]));
      if (std::fabs(e) > std::numeric_limits<float>::max()) {
        EXPECT_EQ(y[i], e > 0 ? kInf : -kInf) << name << " " << x[i];
        continue;
      }
      ASSERT_NEAR(y[i], e, relative * std::fabs(e) + absolute)
          << name << "(" << x[i] << ") on " << isa_name(t->isa);
    }
  }
}

TEST(Functions, MatchLibm) {
  expect_close(
      "exp", 3e-7, 1e-44, [](const IsaTable& t, auto... a) { t.exp(a...); },
      [](double x) { return std::exp(x); });
  expect_close(
      "sigmoid", 5e-7, 1e-38, [](const IsaTable& t, auto... a) { t.sigmoid(a...); },
      [](double x) { return 1 / (1 + std::exp(-x)); });
  expect_close(
      "tanh", 5e-7, 1e-45, [](const IsaTable& t, auto... a) { t.tanh(a...); },
      [](double x) { return std::tanh(x); });
  expect_close(
      "relu", 0, 0, [](const IsaTable& t, auto... a) { t.relu(a...); },
      [](double x) { return std::max(0.0, x); });
}

TEST(Functions, GatesMatchLibm) {
  std::vector<float> x;
  Random random(3);
  for (int i = 0; i < 3001; ++i) x.push_back(static_cast<float>(random.normal() * 6));
  for (const IsaTable* t : tables()) {
    std::vector<float> swish(x.size()), exact_gelu(x.size()), tanh_gelu(x.size());
    t->swish(x.data(), swish.data(), x.size(), 1.0f);
    t->gelu(x.data(), exact_gelu.data(), x.size(), false);
    t->gelu(x.data(), tanh_gelu.data(), x.size(), true);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      ASSERT_NEAR(swish[i], v / (1 + std::exp(-v)), 1e-6 * std::fabs(v) + 1e-9);
      ASSERT_NEAR(exact_gelu[i], 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))), 2e-6);
      ASSERT_NEAR(tanh_gelu[i], 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))),
                  2e-6);
    }
  }
}

TEST(Functions, NanStaysNan) {
  for (const IsaTable* t : tables()) {
    std::vector<float> x(17, NAN), y(17, 0.0f);
    for (const auto f : {t->exp, t->sigmoid, t->tanh}) {
      f(x.data(), y.data(), x.size());
      for (const float v : y) EXPECT_TRUE(std::isnan(v)) << isa_name(t->isa);
    }
  }
}

TEST(Rows, NormsAndSoftmax) {
  Random random(4);
  for (const size_t n : {1, 8, 15, 16, 31, 64, 576}) {
    std::vector<float> x(n), scale(n), bias(n);
    for (size_t i = 0; i < n; ++i) {
      x[i] = static_cast<float>(random.normal() * 3);
      scale[i] = static_cast<float>(random.normal());
      bias[i] = static_cast<float>(random.normal());
    }
    double square = 0, mean = 0, variance = 0, total = 0, top = -1e300;
    for (const float v : x) square += static_cast<double>(v) * v, mean += v, top = std::max<double>(top, v);
    mean /= static_cast<double>(n);
    for (const float v : x) variance += (v - mean) * (v - mean), total += std::exp(v - top);
    for (const IsaTable* t : tables()) {
      std::vector<float> rms(n), layer(n), soft(n);
      t->rms_norm(x.data(), scale.data(), rms.data(), n, 1e-5f);
      t->layer_norm(x.data(), scale.data(), bias.data(), layer.data(), n, 1e-5f);
      t->softmax(x.data(), soft.data(), n);
      for (size_t i = 0; i < n; ++i) {
        EXPECT_NEAR(rms[i], x[i] / std::sqrt(square / static_cast<double>(n) + 1e-5) * scale[i], 1e-5);
        EXPECT_NEAR(layer[i],
                    (x[i] - mean) / std::sqrt(variance / static_cast<double>(n) + 1e-5) * scale[i] + bias[i],
                    2e-5);
        EXPECT_NEAR(soft[i], std::exp(x[i] - top) / total, 1e-6);
      }
    }
  }
}

TEST(Rows, RotationTurnsPairs) {
  const size_t half = 19;
  std::vector<float> x(2 * half), c(half), s(half);
  for (size_t i = 0; i < half; ++i) {
    x[i] = static_cast<float>(i) + 1, x[half + i] = -2.0f * static_cast<float>(i);
    c[i] = std::cos(0.1f * static_cast<float>(i)), s[i] = std::sin(0.1f * static_cast<float>(i));
  }
  for (const IsaTable* t : tables()) {
    for (const bool interleaved : {false, true}) {
      std::vector<float> y(2 * half);
      t->rotate(x.data(), c.data(), s.data(), y.data(), half, interleaved);
      for (size_t i = 0; i < half; ++i) {
        const size_t p = interleaved ? 2 * i : i, q = interleaved ? 2 * i + 1 : half + i;
        EXPECT_NEAR(y[p], x[p] * c[i] - x[q] * s[i], 1e-4);
        EXPECT_NEAR(y[q], x[q] * c[i] + x[p] * s[i], 1e-4);
      }
    }
  }
}

TEST(Rows, SixteenBitStoresRoundToEven) {
  std::vector<float> x = spread();
  x.push_back(65519.0f), x.push_back(65520.0f), x.push_back(6e-8f), x.push_back(2.98e-8f), x.push_back(NAN);
  for (const IsaTable* t : tables()) {
    std::vector<uint16_t> half(x.size()), brain(x.size());
    t->encode[static_cast<size_t>(tensor::FormatId::kF16)](x.data(), reinterpret_cast<uint8_t*>(half.data()),
                                                           x.size());
    t->encode[static_cast<size_t>(tensor::FormatId::kBF16)](
        x.data(), reinterpret_cast<uint8_t*>(brain.data()), x.size());
    for (size_t i = 0; i + 1 < x.size(); ++i) {
      EXPECT_EQ(half[i], f32_to_f16(x[i])) << x[i] << " on " << isa_name(t->isa);
      EXPECT_EQ(brain[i], f32_to_bf16(x[i])) << x[i];
    }
    EXPECT_TRUE(std::isnan(f16_to_f32(half.back())));
    EXPECT_TRUE(std::isnan(bf16_to_f32(brain.back())));
  }
}

}  // namespace
}  // namespace hone::kernels
