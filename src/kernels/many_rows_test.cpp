// The integer product of many rows on every instruction set this host can run: codes against the reference
// codecs, sums bit for bit against the same arithmetic written plainly, and the error against the weights'
// own values.
#include "kernels/many_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "tensor/grouped.h"

namespace hone::kernels {
namespace {

using tensor::FormatId;

// NEON without the dot product has no integer product of many rows: F32 is faster there.
std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : kIsas)
    if (isa_supported(isa) && isa != Isa::kNeon) list.push_back(isa);
  return list;
}

std::vector<float> normal(size_t n, uint64_t seed, float scale = 1) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = scale * static_cast<float>(random.normal());
  return x;
}

struct Weights {
  FormatId id;
  size_t rows, cols;
  std::vector<std::byte> bytes;
  std::vector<float> values;  // decoded by the reference
  Weights(FormatId format, size_t n, size_t k, const std::vector<float>& from)
      : id(format), rows(n), cols(k), bytes(tensor::format_bytes(format, n * k)), values(n * k) {
    tensor::format(id).encode(from.data(), bytes.data(), n * k);
    tensor::format(id).decode(bytes.data(), values.data(), n * k);
  }
  WeightView view() const { return {id, bytes.data(), rows, cols}; }
};

// Formats with an integer product, of the grouped ones every step-th.
std::vector<FormatId> formats(size_t step = 1) {
  std::vector<FormatId> list;
  size_t grouped = 0;
  const auto add = [&](const tensor::QuantFormat& f) {
    if (!f.decode || !f.encode || (tensor::grouped_layout(f.id) && grouped++ % step != 0)) return;
    if (dense_plan(scalar_table(), {f.id, nullptr, 1, 256}, Activations::k8)) list.push_back(f.id);
  };
  for (const auto& f : tensor::all_formats()) add(f);
  for (const auto& f : tensor::grouped_formats()) add(f);
  return list;
}

// Codes as the format unpacks them, and of formats that only decode by the rounding of their values.
struct Unpacked {
  std::vector<int> codes;  // less the centre
  std::vector<float> scales, minima;
};
struct Quantized {
  std::vector<int> codes;
  std::vector<float> scales;
};
// 32 elements share a scale; by the same float operations as the kernels.
Quantized quantized(const float* x, size_t cols, int reach) {
  const auto most = static_cast<float>(reach);
  Quantized q;
  for (size_t b = 0; b < cols; b += 32) {
    float top = 0;
    for (size_t k = b; k < b + 32; ++k) top = std::max(top, std::fabs(x[k]));
    const float inverse = top > 1e-30f ? most / top : 0.0f;
    for (size_t k = b; k < b + 32; ++k) q.codes.push_back(static_cast<int>(std::nearbyint(x[k] * inverse)));
    q.scales.push_back(top * (1.0f / most));
  }
  return q;
}
Unpacked unpack(const DensePlan& plan, FormatId id, const std::byte* src, size_t n) {
  const size_t pieces = n / plan.format.piece;
  Unpacked u{{}, std::vector<float>(pieces), std::vector<float>(pieces)};
  if (plan.format.decode) {
    std::vector<float> values(n);
    tensor::format(id).decode(src, values.data(), n);
    Quantized q = quantized(values.data(), n, plan.kernel.reach);
    u.codes = std::move(q.codes);
    u.scales = std::move(q.scales);
    return u;
  }
  std::vector<uint8_t> codes(n);
  plan.format.unpack(&plan.view, reinterpret_cast<const uint8_t*>(src), n,
                     {codes.data(), u.scales.data(), u.minima.data(), 1});
  for (const uint8_t code : codes) u.codes.push_back(int{code} - plan.format.centre);
  return u;
}

TEST(ManyRows, CoversTheBlockFormats) {
  for (const char* name : {"Q8_0",
                           "Q4_0",
                           "Q4_1",
                           "Q5_0",
                           "Q5_1",
                           "Q2_K",
                           "Q3_K",
                           "Q4_K",
                           "Q5_K",
                           "Q6_K",
                           "IQ4_NL",
                           "IQ4_XS",
                           "MXFP4",
                           "Q2_0",
                           "TQ2_0",
                           "Q1_0",
                           "NVFP4",
                           "IQ1_S",
                           "IQ1_M",
                           "IQ2_XXS",
                           "IQ2_XS",
                           "IQ2_S",
                           "IQ3_XXS",
                           "IQ3_S",
                           "INT4_G64_BF16_BIAS",
                           "INT4_G128_F16_ZERO",
                           "E2M1_G16_E4M3"})
    for (const Isa isa : isas())
      EXPECT_TRUE(
          dense_plan(table_for(isa), {tensor::find_format(name)->id, nullptr, 1, 256}, Activations::kAuto))
          << name << " " << isa_name(isa);
}

// Random bytes hold every scale and every code there is.
TEST(ManyRows, CodesAreTheValuesOfTheReference) {
  Random random(1);
  for (const FormatId id : formats()) {
    const auto& f = tensor::format(id);
    const size_t n = 256 * 40;
    std::vector<std::byte> bytes(tensor::format_bytes(id, n));
    for (auto& b : bytes) b = static_cast<std::byte>(random.next());
    std::vector<float> expected(n);
    f.decode(bytes.data(), expected.data(), n);
    for (const Isa isa : isas()) {
      const DensePlan plan = dense_plan(table_for(isa), {id, nullptr, 1, 256}, Activations::k8);
      if (plan.format.decode) continue;
      ASSERT_TRUE(plan) << f.name;
      const Unpacked u = unpack(plan, id, bytes.data(), n);
      size_t wrong = 0;
      for (size_t i = 0; i < n; ++i) {
        ASSERT_LE(u.codes[i] + plan.format.centre, plan.format.top) << f.name;
        const float d = u.scales[i / plan.format.piece];
        const float m = plan.format.minima ? u.minima[i / plan.format.piece] : 0.0f;
        const double value = double{d} * u.codes[i] + m;
        const double least = 1e-6 * (std::fabs(double{d} * plan.format.top) + std::fabs(double{m}));
        const bool same = std::isfinite(expected[i])
                              ? std::fabs(value - expected[i]) <= least
                              : !std::isfinite(d) || !std::isfinite(m) || std::isinf(expected[i]);
        wrong += !same;
      }
      EXPECT_EQ(wrong, 0u) << f.name << " on " << isa_name(isa);
    }
  }
}

// The product as dense.inc defines it.
float plain_product(const DensePlan& plan, const Unpacked& w, const Quantized& x, size_t cols, float bias) {
  const size_t piece = plan.format.piece;
  const int lower = plan.kernel.shift - plan.format.centre;
  float total = 0;
  for (size_t k = 0; k < cols; k += piece) {
    int32_t sum = 0, of_x = 0;
    for (size_t i = k; i < k + piece; ++i) {
      sum += (w.codes[i] - lower) * x.codes[i];
      of_x += x.codes[i];
    }
    total = std::fmaf(static_cast<float>(sum) * w.scales[k / piece], x.scales[k / 32], total);
    if (plan.format.minima) {
      const float minimum = std::fmaf(w.scales[k / piece], static_cast<float>(lower), w.minima[k / piece]);
      total = std::fmaf(minimum, x.scales[k / 32] * static_cast<float>(of_x), total);
    }
  }
  return total + bias;
}

void expect_arithmetic(const Weights& w, const std::vector<float>& x, size_t m, const char* what) {
  const std::vector<float> bias = normal(w.rows, 5);
  for (const Isa isa : isas()) {
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      for (const Activations a : {Activations::k8, Activations::k16}) {
        const DensePlan plan = dense_plan(table_for(isa), w.view(), a);
        if (plan.format.decode && !plan) continue;  // an instruction set may leave those to F32
        std::vector<float> y(m * w.rows, NAN);
        matmul_on(isa, a, w.view(), x.data(), m, y.data(), bias.data(), pool);
        for (size_t r = 0; r < w.rows; ++r) {
          const Unpacked u = unpack(plan, w.id, w.bytes.data() + r * w.bytes.size() / w.rows, w.cols);
          for (size_t i = 0; i < m; ++i) {
            const float expected =
                plain_product(plan, u, quantized(&x[i * w.cols], w.cols, plan.kernel.reach), w.cols, bias[r]);
            const std::string name = std::string(what) + " " + tensor::format(w.id).name + " on " +
                                     isa_name(isa) + (plan.kernel.words() ? " 16" : " 8");
            if (isa == Isa::kScalar)  // has no fused multiply-add
              ASSERT_NEAR(y[i * w.rows + r], expected, 1e-5 * (1 + std::fabs(expected))) << name;
            else
              ASSERT_EQ(y[i * w.rows + r], expected) << name << " row " << i << ", " << r;
          }
        }
      }
    }
  }
}

// Counts of rows on both sides of every tile size; the last tile of weights is ragged.
TEST(ManyRows, SumsEqualThePlainArithmeticBitForBit) {
  for (const FormatId id : formats(23)) {
    const size_t cols = 512, rows = 35;
    const Weights w(id, rows, cols, normal(rows * cols, 7, 0.05f));
    for (const size_t m : {9, 14}) expect_arithmetic(w, normal(m * cols, m), m, "normal");
  }
  for (const FormatId id :
       {FormatId::kQ8_0, FormatId::kQ4_0, FormatId::kQ5_1}) {  // half a line of 64 at the end
    const Weights w(id, 33, 96, normal(33 * 96, 8));
    expect_arithmetic(w, normal(25 * 96, 3), 25, "short");
  }
}

// The largest codes of both sides with equal signs: the sums that would saturate 16 bits.
TEST(ManyRows, LargestCodesDoNotSaturate) {
  for (const FormatId id : formats(23)) {
    const size_t cols = 256, rows = 33, m = 10;
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> values(rows * cols), x(m * cols);
      for (size_t i = 0; i < values.size(); ++i) values[i] = i / cols % 2 ? sign : i % 2 ? 1.0f : -1.0f;
      for (size_t i = 0; i < x.size(); ++i) x[i] = i / cols % 2 ? 3.0f : i % 2 ? -3.0f : 3.0f;
      Weights w(id, rows, cols, values);
      expect_arithmetic(w, x, m, "extreme");
    }
  }
}
TEST(ManyRows, RandomBytesAndOutlyingColumns) {
  Random random(9);
  for (const FormatId id : {FormatId::kQ8_0, FormatId::kQ4_0, FormatId::kQ5_0, FormatId::kIQ4_NL}) {
    const size_t cols = 256, rows = 40, m = 13;
    Weights w(id, rows, cols, normal(rows * cols, 7));
    const auto& f = tensor::format(id);
    for (size_t i = 0; i < w.bytes.size(); ++i)  // the codes, not the scales
      if (i % f.block_bytes >= 2) w.bytes[i] = static_cast<std::byte>(random.next());
    std::vector<float> x = normal(m * cols, 2);
    for (size_t i = 0; i < m; ++i) x[i * cols + 37] *= 1000.0f;
    for (size_t k = 0; k < 64; ++k) x[k] = 0;              // blocks of zeros
    for (size_t k = 0; k < 32; ++k) x[cols + k] = 1e-40f;  // too small to scale
    expect_arithmetic(w, x, m, "outlier");
  }
}

// Half a step of each activation at most, the step being its block's peak / 127 or / kWordReach.
TEST(ManyRows, ErrorStaysWithinHalfAStepOfTheActivations) {
  ThreadPool pool(2);
  for (const FormatId id : formats(23)) {
    const size_t cols = 2816, rows = 37, m = 19;  // several slices
    const Weights w(id, rows, cols, normal(rows * cols, 3, 0.05f));
    const std::vector<float> x = normal(m * cols, 4);
    for (const Isa isa : isas()) {
      if (isa == Isa::kScalar && id != FormatId::kQ4_K) continue;
      for (const Activations a : {Activations::k8, Activations::k16}) {
        const DensePlan plan = dense_plan(table_for(isa), w.view(), a);
        if (plan.format.decode && !plan) continue;  // an instruction set may leave those to F32
        std::vector<float> y(m * rows, NAN);
        matmul_on(isa, a, w.view(), x.data(), m, y.data(), nullptr, pool);
        for (size_t i = 0; i < m; ++i)
          for (size_t r = 0; r < rows; ++r) {
            double exact = 0, allowed = 0, magnitude = 0;
            for (size_t b = 0; b < cols; b += 32) {
              double peak = 0, weights = 0, heaviest = 0;
              for (size_t k = b; k < b + 32; ++k) {
                exact += double{w.values[r * cols + k]} * x[i * cols + k];
                magnitude += std::fabs(double{w.values[r * cols + k]} * x[i * cols + k]);
                peak = std::max<double>(peak, std::fabs(x[i * cols + k]));
                weights += std::fabs(w.values[r * cols + k]);
                heaviest = std::max<double>(heaviest, std::fabs(w.values[r * cols + k]));
              }
              allowed += peak / (2 * plan.kernel.reach) * weights;
              if (plan.format.decode) allowed += 32 * peak * heaviest / (2 * plan.kernel.reach);
            }
            ASSERT_NEAR(y[i * rows + r], exact, allowed + 4e-6 * magnitude)
                << tensor::format(id).name << " on " << isa_name(isa) << " reach " << plan.kernel.reach;
          }
      }
    }
  }
}

TEST(ManyRows, ARowDependsNeitherOnTheOthersNorOnThreads) {
  const size_t cols = 2048, rows = 70;
  for (const FormatId id : {FormatId::kQ4_K, FormatId::kQ8_0}) {
    const Weights w(id, rows, cols, normal(rows * cols, 3));
    const std::vector<float> x = normal(64 * cols, 4);
    for (const Isa isa : isas()) {
      std::vector<float> all(64 * rows), some(64 * rows);
      ThreadPool one(1), three(3);
      matmul_on(isa, Activations::kAuto, w.view(), x.data(), 64, all.data(), nullptr, one);
      for (const size_t m : {9, 12, 31}) {
        matmul_on(isa, Activations::kAuto, w.view(), x.data() + 7 * cols, m, some.data(), nullptr, three);
        ASSERT_EQ(std::memcmp(some.data(), all.data() + 7 * rows, m * rows * sizeof(float)), 0)
            << isa_name(isa) << " " << m;
      }
    }
  }
}

TEST(ManyRows, WhatIsNotFiniteIsNotHidden) {
  ThreadPool pool(1);
  const Weights w(FormatId::kQ4_K, 5, 512, normal(5 * 512, 3));
  for (const Isa isa : isas())
    for (const float bad : {INFINITY, -INFINITY, NAN})
      for (const Activations a : {Activations::k8, Activations::k16}) {
        std::vector<float> x = normal(9 * 512, 4), y(9 * 5);
        x[4 * 512 + 300] = bad;
        matmul_on(isa, a, w.view(), x.data(), 9, y.data(), nullptr, pool);
        for (size_t i = 0; i < 45; ++i)
          EXPECT_EQ(std::isfinite(y[i]), i / 5 != 4) << isa_name(isa) << " " << bad;
      }
}

}  // namespace
}  // namespace hone::kernels
