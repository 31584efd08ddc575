// The measure of a conversion's error against sums worked out directly.
#include "quant/compare.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hone::quant {
namespace {

TEST(Difference, IsTheRelativeRootOfSquares) {
  tensor::Tensor x(tensor::FormatId::kF32, {300, 64}), y(tensor::FormatId::kF32, {300, 64});
  double error = 0, norm = 0;
  for (size_t i = 0; i < 300 * 64; ++i) {
    x.f32()[i] = static_cast<float>(std::sin(static_cast<double>(i)));
    y.f32()[i] = x.f32()[i] + (i % 3 == 0 ? 0.125f : 0.0f);
    const double d = double{x.f32()[i]} - double{y.f32()[i]};
    error += d * d;
    norm += double{x.f32()[i]} * double{x.f32()[i]};
  }
  ThreadPool pool(2);
  const Difference serial = difference(x.view(), y.view(), nullptr),
                   shared = difference(x.view(), y.view(), &pool);
  EXPECT_NEAR(serial.squared_error, error, 1e-9 * error);
  EXPECT_NEAR(serial.relative(), std::sqrt(error / norm), 1e-12);
  EXPECT_EQ(serial.squared_error, shared.squared_error);
  EXPECT_EQ(serial.squared_norm, shared.squared_norm);
  EXPECT_EQ(difference(x.view(), x.view(), &pool).relative(), 0);
}

TEST(Difference, ZeroesThatChangedAreInfinitelyOff) {
  tensor::Tensor zero(tensor::FormatId::kF32, {1, 4}), one(tensor::FormatId::kF32, {1, 4});
  one.f32()[2] = 1;
  EXPECT_EQ(difference(zero.view(), zero.view(), nullptr).relative(), 0);
  EXPECT_TRUE(std::isinf(difference(zero.view(), one.view(), nullptr).relative()));
}

}  // namespace
}  // namespace hone::quant
