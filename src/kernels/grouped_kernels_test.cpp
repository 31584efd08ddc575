// Kernels of the grouped formats, every row on every instruction set this host can run, against the reference
// decode (bit for bit) and against sums in double precision.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
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
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) list.push_back(isa);
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

// Random bytes hold every scale there is: infinities, NaN, subnormals, extreme codes and zero points. The
// buffer is exactly as long as the row, so that a sanitizer sees a kernel that reads further.
TEST(GroupedDecode, EqualsTheReferenceBitForBitOnRandomBytes) {
  Random random(1);
  for (const auto& f : tensor::grouped_formats()) {
    for (const size_t blocks : {1, 2, 3, 40}) {
      const size_t n = f.block * blocks, size = blocks * f.block_bytes;
      const auto bytes = std::make_unique<std::byte[]>(size);
      for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(random.next());
      std::vector<float> expected(n), got(n);
      f.decode(bytes.get(), expected.data(), n);
      for (const Isa isa : isas()) {
        std::fill(got.begin(), got.end(), -1.0f);
        decode_on(isa, f.id, bytes.get(), got.data(), n);
        size_t wrong = 0;
        for (size_t i = 0; i < n; ++i) wrong += !same(expected[i], got[i]);
        ASSERT_EQ(wrong, 0u) << f.name << " on " << isa_name(isa) << ", " << blocks << " blocks";
      }
    }
  }
}

struct Weights {
  std::unique_ptr<std::byte[]> bytes;
  std::vector<float> values;  // decoded by the reference
};
Weights make_weights(const tensor::QuantFormat& f, size_t rows, size_t cols, uint64_t seed) {
  const std::vector<float> x = normal(rows * cols, seed, 0.05f);
  Weights w{std::make_unique<std::byte[]>(tensor::format_bytes(f.id, rows * cols)),
            std::vector<float>(rows * cols)};
  f.encode(x.data(), w.bytes.get(), rows * cols);
  f.decode(w.bytes.get(), w.values.data(), rows * cols);
  return w;
}

// `step`: what an activation may be off by, relative to the largest of its 32 (the 16-bit codes), else 0.
void expect_product(const Weights& w, const std::vector<float>& x, const std::vector<float>& y, size_t m,
                    size_t rows, size_t cols, const std::vector<float>& bias, double step,
                    const std::string& what) {
  for (size_t i = 0; i < m; ++i)
    for (size_t r = 0; r < rows; ++r) {
      double exact = bias[r], magnitude = std::fabs(exact), allowed = 0;
      for (size_t k = 0; k < cols; ++k) {
        const double weight = w.values[r * cols + k], term = weight * x[i * cols + k];
        exact += term;
        magnitude += std::fabs(term);
        double peak = 0;
        for (size_t j = k / 32 * 32; step > 0 && j < std::min(cols, k / 32 * 32 + 32); ++j)
          peak = std::max<double>(peak, std::fabs(x[i * cols + j]));
        allowed += step * peak * std::fabs(weight);
      }
      ASSERT_NEAR(y[i * rows + r], exact, allowed + magnitude * 0x1p-21)
          << what << " m " << m << " row " << r;
    }
}

TEST(GroupedGemv, EveryRowOnEveryIsa) {
  for (const auto& f : tensor::grouped_formats()) {
    const auto& l = *tensor::grouped_layout(f.id);
    const size_t cols = 256, rows = 5;
    const Weights w = make_weights(f, rows, cols, 7);
    const std::vector<float> x = normal(2 * cols, 8), bias = normal(rows, 9);
    for (const Isa isa : isas()) {
      const std::string what = std::string(f.name) + " on " + isa_name(isa);
      for (const size_t m : {1, 2}) {
        std::vector<float> y(m * rows, NAN);
        ASSERT_TRUE(grouped_gemv_on(isa, {f.id, w.bytes.get(), rows, cols}, x.data(), m, y.data(),
                                    bias.data(), false))
            << what;
        expect_product(w, x, y, m, rows, cols, bias, 0, what);
      }
      std::vector<float> y(rows, NAN);
      const bool codes =
          grouped_gemv_on(isa, {f.id, w.bytes.get(), rows, cols}, x.data(), 1, y.data(), bias.data(), true);
      EXPECT_EQ(codes, table_for(isa).prepare_codes && (l.group >= 32 || l.zero == tensor::ZeroKind::kNone) &&
                           (l.code == tensor::CodeKind::kInt || l.code == tensor::CodeKind::kE2M1))
          << what;
      if (codes) expect_product(w, x, y, 1, rows, cols, bias, 1.0 / 65534, what + " codes");
    }
  }
}

TEST(GroupedMatmul, EveryRegime) {
  ThreadPool pool(2);
  for (const auto& f : tensor::grouped_formats()) {
    const size_t cols = 384, rows = 35;
    const Weights w = make_weights(f, rows, cols, 17);
    const std::vector<float> bias = normal(rows, 19);
    for (const size_t m : {1, 2, 5, 20}) {
      const std::vector<float> x = normal(m * cols, 18 + m);
      const WeightView view{f.id, w.bytes.get(), rows, cols};
      std::vector<std::byte> scratch(matmul_scratch_bytes(view, m, 2));
      std::vector<float> y(m * rows, NAN);
      matmul(view, x.data(), m, y.data(), bias.data(), pool, scratch);
      const std::string used = m == 20 ? activations_used(view) : "";
      const double step = used == "8-bit" ? 1.0 / 254 : m <= 8 || used == "16-bit" ? 1.0 / 16382 : 0;
      expect_product(w, x, y, m, rows, cols, bias, step, f.name);
    }
  }
}

}  // namespace
}  // namespace hone::kernels
