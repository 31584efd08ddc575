// One to eight activation rows: against double precision, the same bits for every number of rows, edges of shape,
// and values at the ends of their range.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"
#include "tensor/grouped.h"

namespace hone::kernels {
namespace {

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
    if (isa_supported(isa) && table_for(isa).few) list.push_back(isa);
  return list;
}

// Formats whose weights become small codes.
std::vector<tensor::FormatId> formats() {
  std::vector<tensor::FormatId> list;
  for (const auto& f : tensor::all_formats())
    if (f.encode && static_cast<size_t>(f.id) < tensor::kNamedCount &&
        scalar_dense().formats[static_cast<size_t>(f.id)].unpack)
      list.push_back(f.id);
  for (const char* name : {"INT4_G64_BF16_BIAS", "INT8_G64_BF16_BIAS", "INT3_G128_F16_ZERO",
                           "INT2_G16_F16_SYM", "E2M1_G16_E4M3", "E2M1_G32_E8M0"})
    if (const auto* f = tensor::find_format(name)) list.push_back(f->id);
  return list;
}

struct Weight {
  std::vector<std::byte> bytes;
  std::vector<float> values;
  WeightView view;
  Weight(tensor::FormatId id, size_t rows, size_t cols, uint64_t seed)
      : bytes(tensor::format_bytes(id, rows * cols)), values(rows * cols) {
    Random random(seed);
    for (float& v : values) v = 0.05f * static_cast<float>(random.normal());
    const auto& f = tensor::format(id);
    f.encode(values.data(), bytes.data(), values.size());
    f.decode(bytes.data(), values.data(), values.size());
    view = {id, bytes.data(), rows, cols};
  }
};

std::vector<float> normal(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

std::vector<float> product(Isa isa, const Weight& w, const std::vector<float>& x, const float* bias) {
  static ThreadPool pool(2);
  const size_t m = x.size() / w.view.cols;
  std::vector<float> y(m * w.view.rows, NAN);
  matmul_on(isa, Activations::k16, w.view, x.data(), m, y.data(), bias, pool);
  return y;
}

// Half a step of each activation at most, the step being its block's peak / kWordReach, and the sums'
// rounding.
void expect_near(const Weight& w, const std::vector<float>& x, const std::vector<float>& y, const float* bias,
                 const std::string& what) {
  const size_t rows = w.view.rows, cols = w.view.cols;
  for (size_t i = 0; i < x.size() / cols; ++i)
    for (size_t r = 0; r < rows; ++r) {
      double exact = bias ? bias[r] : 0, allowed = 1e-12, magnitude = std::fabs(exact);
      for (size_t b = 0; b < cols; b += 32) {
        double peak = 0, sum = 0;
        for (size_t k = b; k < b + 32; ++k) {
          const double term = static_cast<double>(w.values[r * cols + k]) * x[i * cols + k];
          exact += term;
          magnitude += std::fabs(term);
          peak = std::max<double>(peak, std::fabs(x[i * cols + k]));
          sum += std::fabs(w.values[r * cols + k]);
        }
        allowed += peak / (2 * kWordReach) * sum;
      }
      ASSERT_NEAR(y[i * rows + r], exact, allowed + 1e-5 * magnitude) << what << " " << i << ", " << r;
    }
}

size_t narrowest(tensor::FormatId id) {
  return std::max<size_t>(32, tensor::format(id).block);
}

TEST(FewRows, EqualDoublePrecisionWithinTheRoundingOfTheirCodes) {
  size_t tested = 0;
  for (const auto id : formats())
    for (const size_t blocks : {1, 3, 18})
      for (const size_t rows : {3, 35}) {
        if (blocks == 18 && (rows == 3 || narrowest(id) > 64)) continue;
        const size_t cols = blocks * narrowest(id);
        const Weight w(id, rows, cols, cols + rows);
        const std::vector<float> bias = normal(rows, 9);
        for (const Isa isa : isas())
          for (const size_t m : {1, 2, 5, 8}) {
            std::vector<float> x = normal(m * cols, m);
            for (size_t k = 0; k < 32; ++k) x[k] = 0;  // a block of zeros
            ++tested;
            expect_near(w, x, product(isa, w, x, bias.data()), bias.data(),
                        std::string(tensor::format(id).name) + " on " + isa_name(isa));
          }
      }
  if (!isas().empty()) {
    EXPECT_GE(tested, 400u * isas().size());
  }
}

TEST(FewRows, ARowsResultDependsOnNoOtherRow) {
  for (const auto id : formats()) {
    const size_t cols = 2 * narrowest(id), rows = 37, most = 8;
    const Weight w(id, rows, cols, 5);
    const std::vector<float> x = normal(most * cols, 6), bias = normal(rows, 7);
    for (const Isa isa : isas()) {
      std::vector<float> single;
      for (size_t i = 0; i < most; ++i) {
        const std::vector<float> y =
            product(isa, w, {x.begin() + i * cols, x.begin() + (i + 1) * cols}, bias.data());
        single.insert(single.end(), y.begin(), y.end());
      }
      for (size_t m = 2; m <= most; ++m) {
        const std::vector<float> y = product(isa, w, {x.begin(), x.begin() + m * cols}, bias.data());
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(single[i]))
              << tensor::format(id).name << " on " << isa_name(isa) << " m " << m << " at " << i;
      }
    }
  }
}

TEST(FewRows, WhatIsNotFiniteStaysInItsRow) {
  for (const auto id : formats()) {
    const size_t cols = 2 * narrowest(id), rows = 17;
    const Weight w(id, rows, cols, 3);
    for (const Isa isa : isas())
      for (const float bad : {INFINITY, -INFINITY, NAN}) {
        std::vector<float> x = normal(3 * cols, 4);
        x[cols + cols - 5] = bad;
        const std::vector<float> y = product(isa, w, x, nullptr);
        for (size_t r = 0; r < rows; ++r) {
          EXPECT_TRUE(std::isfinite(y[r]) && std::isfinite(y[2 * rows + r]));
          EXPECT_FALSE(std::isfinite(y[rows + r])) << tensor::format(id).name << " on " << isa_name(isa);
        }
      }
  }
}

TEST(FewRows, LargeAndSmallActivations) {
  for (const auto id : formats()) {
    const size_t cols = 2 * narrowest(id), rows = 16;
    const Weight w(id, rows, cols, 3);
    for (const Isa isa : isas())
      for (const float size : {1e30f, 1e-28f}) {
        std::vector<float> x = normal(2 * cols, 4);
        for (float& v : x) v *= size;
        x[3] = 100 * size;  // an outlier takes its block's precision, not the others'
        expect_near(w, x, product(isa, w, x, nullptr), nullptr,
                    std::string(tensor::format(id).name) + " on " + isa_name(isa));
      }
  }
}

}  // namespace
}  // namespace hone::kernels
