// Every instruction set this host can run, against the reference codecs (bit for bit) and against sums in
// double precision.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::kernels {
namespace {

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) list.push_back(isa);
  return list;
}

bool has_kernels(const tensor::QuantFormat& f) {
  return scalar_table().gemv[static_cast<size_t>(f.id)] != nullptr;
}

// Those with kernels of their own, and the block formats that go by the reference codec.
std::vector<tensor::FormatId> formats() {
  std::vector<tensor::FormatId> list;
  for (const auto& f : tensor::all_formats())
    if (f.encode && (has_kernels(f) || f.quantized())) list.push_back(f.id);
  return list;
}

std::vector<float> normal(size_t n, uint64_t seed, float scale = 1) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& v : x) v = scale * static_cast<float>(random.normal());
  return x;
}

bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

TEST(Decode, CoversTheFormatsOfTheSpine) {
  for (const char* name : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K",
                           "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ4_NL", "IQ4_XS", "MXFP4", "Q2_0"})
    EXPECT_TRUE(has_kernels(*tensor::find_format(name))) << name;
  for (const auto& f : tensor::all_formats()) EXPECT_EQ(matmul_supports(f.id), f.decode != nullptr) << f.name;
}

// Random bytes hold every scale there is: infinities, NaN, subnormals, extreme codes.
TEST(Decode, EqualsTheReferenceBitForBitOnRandomBytes) {
  Random random(1);
  for (const auto id : formats()) {
    const auto& f = tensor::format(id);
    const size_t n = f.block * (f.block == 1 ? 4099 : 400);
    std::vector<std::byte> bytes(n / f.block * f.block_bytes + 1);
    for (auto& b : bytes) b = static_cast<std::byte>(random.next());
    std::vector<float> expected(n), got(n);
    for (const size_t shift : {0, 1}) {  // unaligned too
      f.decode(bytes.data() + shift, expected.data(), n);
      for (const Isa isa : isas()) {
        std::fill(got.begin(), got.end(), -1.0f);
        decode_on(isa, id, bytes.data() + shift, got.data(), n);
        size_t wrong = 0;
        for (size_t i = 0; i < n; ++i) wrong += !same(expected[i], got[i]);
        EXPECT_EQ(wrong, 0u) << f.name << " on " << isa_name(isa);
      }
    }
  }
}

struct Weights {
  std::vector<std::byte> bytes;
  std::vector<float> values;  // decoded by the reference
};
Weights make_weights(tensor::FormatId id, size_t rows, size_t cols, uint64_t seed) {
  const auto& f = tensor::format(id);
  const std::vector<float> x = normal(rows * cols, seed, 0.05f);
  Weights w;
  w.bytes.resize(tensor::format_bytes(id, rows * cols));
  w.values.resize(rows * cols);
  f.encode(x.data(), w.bytes.data(), rows * cols);
  f.decode(w.bytes.data(), w.values.data(), rows * cols);
  return w;
}

// |got - exact| within the rounding of an F32 dot product of n terms.
// `codes`: the product may have gone through 16-bit codes of the activations.
void expect_product(const Weights& w, const std::vector<float>& x, const std::vector<float>& y, size_t m,
                    size_t rows, size_t cols, const float* bias, const std::string& what, bool codes = false,
                    bool integers = false) {
  for (size_t i = 0; i < m; ++i) {
    for (size_t r = 0; r < rows; ++r) {
      double exact = bias ? bias[r] : 0, magnitude = std::fabs(exact);
      for (size_t k = 0; k < cols; ++k) {
        const double term = static_cast<double>(w.values[r * cols + k]) * x[i * cols + k];
        exact += term;
        magnitude += std::fabs(term);
      }
      double tolerance = magnitude * 0x1p-24 * (8 + std::sqrt(static_cast<double>(cols)));
      const double step = integers ? 1.0 / 254 : codes ? 1.0 / (2 * kWordReach) : 0;
      for (size_t b = 0; step > 0 && b < cols; b += 32) {  // half a step of codes, see many_rows_test.cpp
        float peak = 0, weights = 0;
        for (size_t k = b; k < b + 32; ++k) {
          peak = std::max(peak, std::fabs(x[i * cols + k]));
          weights += std::fabs(w.values[r * cols + k]);
        }
        tolerance += peak * step * weights;
      }
      ASSERT_NEAR(y[i * rows + r], exact, tolerance) << what << " m " << m << " row " << i << ", " << r;
    }
  }
}

TEST(Gemv, EveryFormatOnEveryIsa) {
  for (const auto id : formats()) {
    const auto& f = tensor::format(id);
    if (!has_kernels(f)) continue;
    const size_t cols = f.block == 1 ? 333 : 512, rows = 11;
    const Weights w = make_weights(id, rows, cols, 7);
    const std::vector<float> x = normal(2 * cols, 8), bias = normal(rows, 9);
    for (const Isa isa : isas()) {
      for (const size_t m : {1, 2}) {
        std::vector<float> y(m * rows, NAN);
        table_for(isa).gemv[static_cast<size_t>(id)](reinterpret_cast<const uint8_t*>(w.bytes.data()),
                                                     w.bytes.size() / rows, rows, cols, x.data(), m, y.data(),
                                                     rows, bias.data());
        expect_product(w, x, y, m, rows, cols, bias.data(), std::string(f.name) + " on " + isa_name(isa));
      }
    }
  }
}

// Error of the 16-bit codes: half a step of each element, the step being the block's peak / 32767.
TEST(GemvCodes, StaysWithinTheRoundingOfItsCodes) {
  size_t tested = 0;
  for (const auto id : formats()) {
    const auto& f = tensor::format(id);
    for (const size_t cols :
         {size_t{f.block} * 1, size_t{f.block} * 2, size_t{f.block} * 3, size_t{f.block} * 6}) {
      const size_t rows = 9;
      const Weights w = f.block == 1 ? Weights{} : make_weights(id, rows, cols, 31 + cols);
      std::vector<float> x = normal(cols, 33);
      for (size_t k = 0; k < std::min<size_t>(cols, 32); ++k) x[k] = 0;  // a block of zeros
      const std::vector<float> bias = normal(rows, 34);
      for (const Isa isa : isas()) {
        const IsaTable& t = table_for(isa);
        if (!t.gemv_codes[static_cast<size_t>(id)]) continue;
        ++tested;
        std::vector<std::byte> prepared(prepared_bytes(cols));
        t.prepare_codes(x.data(), cols, prepared.data());
        std::vector<float> y(rows, NAN);
        t.gemv_codes[static_cast<size_t>(id)](reinterpret_cast<const uint8_t*>(w.bytes.data()),
                                              w.bytes.size() / rows, rows, cols, prepared.data(), y.data(),
                                              bias.data());
        for (size_t r = 0; r < rows; ++r) {
          double exact = bias[r], allowed = 1e-6, magnitude = 0;
          for (size_t b = 0; b < cols / 32; ++b) {
            double peak = 0, weights = 0;
            for (size_t k = 32 * b; k < 32 * b + 32; ++k) {
              exact += static_cast<double>(w.values[r * cols + k]) * x[k];
              magnitude += std::fabs(static_cast<double>(w.values[r * cols + k]) * x[k]);
              peak = std::max<double>(peak, std::fabs(x[k]));
              weights += std::fabs(w.values[r * cols + k]);
            }
            allowed += peak / 65534 * weights;
          }
          ASSERT_NEAR(y[r], exact, allowed + 4e-6 * magnitude)
              << f.name << " on " << isa_name(isa) << " cols " << cols;
        }
      }
    }
  }
  if (isa_supported(Isa::kAvx2)) {
    EXPECT_GE(tested, 48u);
  }
}

TEST(GemvCodes, WhatIsNotFiniteIsNotHidden) {
  for (const Isa isa : isas()) {
    const IsaTable& t = table_for(isa);
    if (!t.prepare_codes) continue;
    const Weights w = make_weights(tensor::FormatId::kQ4_K, 1, 512, 3);
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      std::vector<float> x = normal(512, 4);
      x[300] = bad;
      std::vector<std::byte> prepared(prepared_bytes(512));
      t.prepare_codes(x.data(), 512, prepared.data());
      float y = 0;
      t.gemv_codes[static_cast<size_t>(tensor::FormatId::kQ4_K)](
          reinterpret_cast<const uint8_t*>(w.bytes.data()), w.bytes.size(), 1, 512, prepared.data(), &y,
          nullptr);
      EXPECT_FALSE(std::isfinite(y)) << isa_name(isa) << " " << bad;
    }
  }
}

TEST(Matmul, EveryFormatEveryRegimeEveryThreadCount) {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (const auto id : formats()) {
      const auto& f = tensor::format(id);
      const size_t cols = f.block == 1 ? 147 : 256, rows = 67;
      const Weights w = make_weights(id, rows, cols, 17);
      const std::vector<float> bias = normal(rows, 19);
      for (const size_t m : {1, 2, 3, 5, 8, 9, 12, 13, 31, 64}) {
        const std::vector<float> x = normal(m * cols, 18 + m);
        const WeightView view{id, w.bytes.data(), rows, cols};
        std::vector<std::byte> scratch(matmul_scratch_bytes(view, m, threads));
        for (const float* b : {static_cast<const float*>(nullptr), bias.data()}) {
          std::vector<float> y(m * rows, NAN);
          matmul(view, x.data(), m, y.data(), b, pool, scratch);
          const bool integers = m > 8 && std::string(activations_used(view)) != "F32";
          expect_product(w, x, y, m, rows, cols, b, f.name, m <= 8 && f.quantized(), integers);
        }
      }
    }
  }
}

TEST(Matmul, LongRowsAreSplitAlongTheirDepth) {
  ThreadPool pool(2);
  const size_t cols = 2816, rows = 70, m = 25;  // three slices
  for (const auto id : {tensor::FormatId::kQ4_K, tensor::FormatId::kTQ1_0}) {
    const Weights w = make_weights(id, rows, cols, 3);
    const std::vector<float> x = normal(m * cols, 4), bias = normal(rows, 5);
    const WeightView view{id, w.bytes.data(), rows, cols};
    std::vector<std::byte> scratch(matmul_scratch_bytes(view, m, 2));
    std::vector<float> y(m * rows, NAN);
    matmul(view, x.data(), m, y.data(), bias.data(), pool, scratch);
    const bool integers = std::string(activations_used(view)) != "F32";
    expect_product(w, x, y, m, rows, cols, bias.data(), "depth", false, integers);
  }
}

TEST(Matmul, ScratchForTheLimitServesEverySmallerCount) {
  for (const size_t cols : {64, 576, 1536, 8192}) {
    const WeightView view{tensor::FormatId::kQ8_0, nullptr, 2000, cols};
    const size_t limit = matmul_scratch_bytes(view, 200, 3);
    for (size_t m = 1; m <= 200; ++m) EXPECT_LE(matmul_scratch_bytes(view, m, 3), limit) << cols << " " << m;
  }
}

TEST(Matmul, PlainFactorsWithRaggedEdges) {
  ThreadPool pool(2);
  for (const auto& [m, k, n] : {std::array<size_t, 3>{1, 1, 1}, {5, 40, 33}, {13, 7, 100}, {30, 65, 64}}) {
    const std::vector<float> a = normal(m * k, 1), b = normal(k * n, 2);
    std::vector<float> y(m * n, NAN);
    std::vector<std::byte> scratch(matmul_f32_scratch_bytes(m, k, 2));
    matmul_f32(a.data(), m, k, b.data(), n, y.data(), pool, scratch);
    for (size_t i = 0; i < m; ++i)
      for (size_t j = 0; j < n; ++j) {
        double exact = 0, magnitude = 0;
        for (size_t c = 0; c < k; ++c) {
          exact += static_cast<double>(a[i * k + c]) * b[c * n + j];
          magnitude += std::fabs(static_cast<double>(a[i * k + c]) * b[c * n + j]);
        }
        ASSERT_NEAR(y[i * n + j], exact, 1e-6 * magnitude + 1e-12);
      }
  }
}

// Tiles on each ISA directly, with every count of rows and ragged columns.
TEST(Tile, EveryRowCountAndWidth) {
  for (const Isa isa : isas()) {
    const IsaTable& t = table_for(isa);
    const size_t k = 37;
    const std::vector<float> b = normal(k * t.tile_cols, 1), bias = normal(t.tile_cols, 2);
    for (size_t rows = 1; rows <= t.tile_rows; ++rows) {
      const std::vector<float> x = normal(rows * k, rows);
      std::vector<float> packed(rows * k);
      t.pack(x.data(), k, rows, k, packed.data());
      for (const size_t cols : {size_t{1}, size_t{15}, size_t{16}, t.tile_cols - 1, t.tile_cols}) {
        for (const bool accumulate : {false, true}) {
          std::vector<float> c(rows * (cols + 3), 0.5f);
          t.tile(packed.data(), rows, k, b.data(), t.tile_cols, c.data(), cols + 3, cols, bias.data(),
                 accumulate);
          for (size_t i = 0; i < rows; ++i)
            for (size_t j = 0; j < cols + 3; ++j) {
              double exact = j < cols ? bias[j] + (accumulate ? 0.5 : 0.0) : 0.5;
              for (size_t d = 0; d < k && j < cols; ++d)
                exact += static_cast<double>(x[i * k + d]) * b[d * t.tile_cols + j];
              ASSERT_NEAR(c[i * (cols + 3) + j], exact, 2e-5) << isa_name(isa) << " " << rows << "x" << cols;
            }
        }
      }
    }
  }
}

TEST(Tile, TransposedPanelHasZerosForAbsentRows) {
  for (const Isa isa : isas()) {
    const IsaTable& t = table_for(isa);
    const std::vector<float> rows = normal(t.tile_cols * 48, 4);
    for (const size_t count : {size_t{1}, size_t{15}, t.tile_cols - 1, t.tile_cols}) {
      std::vector<float> panel(48 * (t.tile_cols + 5), NAN);
      t.transpose_panel(rows.data(), 48, count, 48, panel.data(), t.tile_cols + 5);
      for (size_t k = 0; k < 48; ++k)
        for (size_t r = 0; r < t.tile_cols; ++r)
          ASSERT_EQ(panel[k * (t.tile_cols + 5) + r], r < count ? rows[r * 48 + k] : 0.0f) << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace hone::kernels
