// Groups of products against their parts computed one by one: norm, products, residual, gate.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::kernels {
namespace {

using tensor::FormatId;

struct Weight {
  std::vector<std::byte> bytes;
  WeightView view;
  Weight(FormatId id, size_t rows, size_t cols, Random& random)
      : bytes(tensor::format_bytes(id, rows * cols)) {
    std::vector<float> values(rows * cols);
    for (float& v : values) v = static_cast<float>(random.normal()) / std::sqrt(static_cast<float>(cols));
    tensor::format(id).encode(values.data(), bytes.data(), values.size());
    view = {id, bytes.data(), rows, cols};
  }
};

std::vector<float> normal(size_t n, Random& random) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

// Reference in double, from the definition.
std::vector<float> norm_rows(const std::vector<float>& x, const std::vector<float>& gain, float epsilon) {
  std::vector<float> y(x.size());
  const size_t cols = gain.size();
  for (size_t i = 0; i < x.size(); i += cols) {
    double sum = 0;
    for (size_t k = 0; k < cols; ++k) sum += static_cast<double>(x[i + k]) * x[i + k];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(cols) + epsilon);
    for (size_t k = 0; k < cols; ++k) y[i + k] = static_cast<float>(x[i + k] * scale * gain[k]);
  }
  return y;
}
double gate_of(Gate gate, double x) {
  if (gate == Gate::kSilu) return x / (1 + std::exp(-x));
  if (gate == Gate::kGelu) return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

class ProductGroups : public testing::TestWithParam<size_t> {};

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) list.push_back(isa);
  return list;
}

TEST_P(ProductGroups, EqualTheirPartsOneByOne) {
  const size_t m = GetParam(), cols = 256;
  Random random(m);
  ThreadPool pool(3);
  const std::vector<float> x = normal(m * cols, random), gain = normal(cols, random),
                           bias = normal(96, random);
  const std::vector<float> add = normal(m * 100, random);
  const std::vector<float> rows = norm_rows(x, gain, 1e-5f);
  for (const Isa isa : isas())
    for (const FormatId id : {FormatId::kQ4_1, FormatId::kQ8_0, FormatId::kQ6_K, FormatId::kF32,
                              FormatId::kTQ1_0, tensor::find_format("INT4_G64_BF16_BIAS")->id})
      for (const bool normed : {false, true}) {
        const Weight a(id, 96, cols, random), b(FormatId::kQ8_0, 33, cols, random), c(id, 100, cols, random);
        const std::vector<float>& met = normed ? rows : x;
        std::vector<float> ya(m * 96), yb(m * 33), yc(m * 100), wa(m * 96), wb(m * 33), wc(m * 100);
        matmul_on(isa, Activations::kF32, a.view, met.data(), m, wa.data(), bias.data(), pool);
        matmul_on(isa, Activations::kF32, b.view, met.data(), m, wb.data(), nullptr, pool);
        matmul_on(isa, Activations::kF32, c.view, met.data(), m, wc.data(), nullptr, pool);
        for (size_t i = 0; i < wc.size(); ++i) wc[i] += add[i];
        const Product list[] = {
            {a.view, ya.data(), bias.data()}, {b.view, yb.data()}, {c.view, yc.data(), nullptr, add.data()}};
        const ActivationRows in{x.data(), m, normed ? gain.data() : nullptr, 1e-5f};
        matmul_group_on(isa, Activations::kF32, {list, in}, pool);
        const auto near = [&](const std::vector<float>& got, const std::vector<float>& want) {
          for (size_t i = 0; i < got.size(); ++i)
            ASSERT_NEAR(got[i], want[i], 3e-3) << isa_name(isa) << " " << i;
        };
        near(ya, wa), near(yb, wb), near(yc, wc);
      }
}

TEST_P(ProductGroups, GatesArePairs) {
  const size_t m = GetParam(), cols = 128, width = 203;
  Random random(m + 99);
  ThreadPool pool(2);
  const std::vector<float> x = normal(m * cols, random), gain = normal(cols, random);
  const std::vector<float> met = norm_rows(x, gain, 1e-6f);
  for (const Isa isa : isas())
    for (const Gate gate : {Gate::kSilu, Gate::kGelu, Gate::kGeluTanh}) {
      const Weight a(FormatId::kQ5_0, width, cols, random), b(FormatId::kQ4_0, width, cols, random);
      std::vector<float> wa(m * width), wb(m * width), y(m * width);
      matmul_on(isa, Activations::kF32, a.view, met.data(), m, wa.data(), nullptr, pool);
      matmul_on(isa, Activations::kF32, b.view, met.data(), m, wb.data(), nullptr, pool);
      const Product list[] = {{a.view}, {b.view}};
      matmul_group_on(isa, Activations::kF32, {list, {x.data(), m, gain.data(), 1e-6f}, gate, y.data()},
                      pool);
      for (size_t i = 0; i < y.size(); ++i)
        ASSERT_NEAR(y[i], gate_of(gate, wa[i]) * wb[i], 2e-3) << isa_name(isa) << " " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, ProductGroups, testing::Values(1, 2, 5, 8, 9, 40));

}  // namespace
}  // namespace hone::kernels
