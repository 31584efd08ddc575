// The encoders of the grouped formats against mlx's quantizer (recorded errors,
// tests/tools/make_mlx_error_fixtures.py), against rounding to nearest without a search, and against
// themselves.
#include "quant/layout_encoders.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "quant/encode.h"

namespace hone::quant {
namespace {

using Bytes = std::vector<std::byte>;
using Floats = std::vector<float>;

struct Fixture {
  size_t rows, cols;
  std::vector<std::string> names;
  std::vector<Floats> matrices;
  Floats weights;
  Json errors;
};
const Fixture& fixture() {
  static const Fixture f = [] {
    const Json json =
        parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/quant/mlx_errors.json"), "fixture");
    Fixture r{json.at("rows"),    json.at("cols"),  json.at("matrices"), {},
              json.at("weights"), json.at("errors")};
    const std::string bytes = read_text_file(HONE_SOURCE_DIR "/tests/data/quant/mlx_matrices.f32");
    const size_t count = r.rows * r.cols;
    EXPECT_EQ(bytes.size(), r.names.size() * count * sizeof(float));
    for (size_t i = 0; i < r.names.size(); ++i) {
      r.matrices.emplace_back(count);
      std::memcpy(r.matrices.back().data(), bytes.data() + i * count * sizeof(float), count * sizeof(float));
    }
    return r;
  }();
  return f;
}

Bytes encode(tensor::FormatId id, const Floats& x, size_t cols, const Floats& weights,
             ThreadPool* pool = nullptr) {
  Bytes out(tensor::format_bytes(id, x.size()));
  encode_rows(id, x.data(), x.size() / cols, cols, weights, out.data(), pool);
  return out;
}

double error_of(tensor::FormatId id, const Floats& x, size_t cols, const Floats& weights,
                const Bytes& encoded) {
  return weighted_error(id, x.data(), encoded.data(), x.size() / cols, cols, weights, nullptr);
}

TEST(LayoutEncoders, CoverEveryGroupedFormat) {
  for (const auto& f : tensor::grouped_formats()) EXPECT_TRUE(can_encode(f.id)) << f.name;
  EXPECT_FALSE(LayoutEncoder(tensor::FormatId::kQ4_0, Isa::kScalar));
}

TEST(LayoutEncoders, NeverWorseThanMlx) {
  const Fixture& f = fixture();
  size_t compared = 0, better = 0;
  for (const auto& [name, recorded] : f.errors.items()) {
    const auto id = tensor::find_format(name)->id;
    for (size_t i = 0; i < f.matrices.size(); ++i)
      for (const bool weighted : {false, true}) {
        const Floats& weights = weighted ? f.weights : Floats{};
        const double limit = recorded[i][weighted];
        const double error =
            error_of(id, f.matrices[i], f.cols, weights, encode(id, f.matrices[i], f.cols, weights));
        EXPECT_LE(error, limit * (1 + 1e-6) + 1e-30)
            << name << " " << f.names[i] << (weighted ? " weighted" : "");
        ++compared;
        better += error < 0.97 * limit;
      }
  }
  EXPECT_EQ(compared, (7 * 3 * 3 + 3) * f.matrices.size() * 2);
  EXPECT_GT(better, compared / 2);  // the search finds more than rounding does
}

TEST(LayoutEncoders, NeverWorseThanRoundingToNearest) {
  const Fixture& f = fixture();
  for (const auto& row : tensor::grouped_formats())
    for (size_t i = 0; i < f.matrices.size(); ++i) {
      const Floats& x = f.matrices[i];
      Bytes plain(tensor::format_bytes(row.id, x.size()));
      row.encode(x.data(), plain.data(), x.size());
      for (const Floats& weights : {Floats{}, f.weights}) {
        const double limit = error_of(row.id, x, f.cols, weights, plain);
        EXPECT_LE(error_of(row.id, x, f.cols, weights, encode(row.id, x, f.cols, weights)),
                  limit * (1 + 1e-6) + 1e-30)
            << row.name << " " << f.names[i];
      }
    }
}

TEST(LayoutEncoders, SameBytesOnEveryInstructionSet) {
  const Fixture& f = fixture();
  const Floats equal(f.cols, 1.0f);
  for (const auto& row : tensor::grouped_formats())
    for (size_t i = 0; i < f.matrices.size(); ++i)
      for (const Floats& weights : {equal, f.weights}) {
        const size_t rows = 2;
        Bytes first;
        for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
          if (!isa_supported(isa)) continue;
          Bytes out(tensor::format_bytes(row.id, rows * f.cols));
          LayoutEncoder(row.id, isa)(f.matrices[i].data(), weights.data(), rows, f.cols, out.data());
          if (first.empty()) first = out;
          ASSERT_TRUE(out == first) << row.name << " " << f.names[i] << " on " << isa_name(isa);
        }
      }
}

// Sixteen groups are searched at a time: which others a group meets must not matter.
TEST(LayoutEncoders, RowsAndThreadsDoNotMatter) {
  Random random(3);
  const size_t rows = 37, cols = 384;
  Floats x(rows * cols), weights(cols);
  for (float& v : x) v = static_cast<float>(random.normal());
  for (float& v : weights) v = static_cast<float>(std::exp(random.normal()));
  ThreadPool pool(3);
  for (const char* name :
       {"INT4_G64_BF16_BIAS", "INT8_G128_F16_SYM", "INT3_G16_F16_ZERO", "E4M3_G32_E8M0", "NF4_G64_F32"}) {
    const auto id = tensor::find_format(name)->id;
    const Bytes together = encode(id, x, cols, weights);
    EXPECT_TRUE(together == encode(id, x, cols, weights, &pool)) << name;
    const size_t row_bytes = together.size() / rows;
    for (size_t r = 0; r < rows; ++r) {
      const Floats one(x.begin() + static_cast<ptrdiff_t>(r * cols),
                       x.begin() + static_cast<ptrdiff_t>((r + 1) * cols));
      const Bytes alone = encode(id, one, cols, weights);
      ASSERT_EQ(std::memcmp(alone.data(), together.data() + r * row_bytes, row_bytes), 0)
          << name << " row " << r;
    }
  }
}

// Numbers that the format holds come back (nearly) as they were: a checkpoint may be encoded again.
TEST(LayoutEncoders, WhatWasEncodedOnceStays) {
  const Fixture& f = fixture();
  for (const char* name : {"INT2_G32_BF16_BIAS", "INT4_G64_BF16_BIAS", "INT4_G128_F16_BIAS",
                           "INT4_G32_F16_SYM", "E2M1_G32_E8M0", "E2M1_G16_E4M3", "E4M3_G32_E8M0"}) {
    const auto& row = *tensor::find_format(name);
    const Floats& x = f.matrices[0];
    Floats decoded(x.size());
    row.decode(encode(row.id, x, f.cols, {}).data(), decoded.data(), decoded.size());
    double power = 0;
    for (const float v : decoded) power += double{v} * v;
    EXPECT_LE(error_of(row.id, decoded, f.cols, {}, encode(row.id, decoded, f.cols, {})), 1e-4 * power)
        << name;
  }
}

TEST(LayoutEncoders, ExtremeMagnitudesStayFinite) {
  Random random(4);
  for (const double unit : {1e30, 1e6, 1e-6, 1e-30, 1e-41})
    for (const auto& row : tensor::grouped_formats()) {
      Floats x(256);
      for (float& v : x) v = static_cast<float>(random.normal() * unit);
      const double error = error_of(row.id, x, x.size(), {}, encode(row.id, x, x.size(), {}));
      double power = 0;
      for (const float v : x) power += double{v} * v;
      EXPECT_LE(error, power * (1 + 1e-5)) << row.name << " " << unit;  // zeros would leave all of it
    }
}

}  // namespace
}  // namespace hone::quant
