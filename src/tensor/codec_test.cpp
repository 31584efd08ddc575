// Codecs against fixtures made by the reference packages (tests/tools/make_format_fixtures.py).
#include "tensor/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "tensor/codec_grids.h"
#include "tensor/tensor.h"

namespace hone::tensor {
namespace {

const std::string kFolder = HONE_SOURCE_DIR "/tests/data/formats/codecs/";

struct Fixture {
  std::vector<std::byte> encoded;
  std::vector<float> values;
};

std::string contents(const std::string& name) {
  return read_text_file(kFolder + name);
}

Fixture fixture(const std::string& name) {
  const std::string text = contents(name);
  Fixture f;
  f.encoded.resize(load<uint32_t>(text.data()));
  f.values.resize(load<uint32_t>(text.data() + 4));
  EXPECT_EQ(text.size(), 8 + f.encoded.size() + 4 * f.values.size());
  std::memcpy(f.encoded.data(), text.data() + 8, f.encoded.size());
  if (!f.values.empty()) std::memcpy(f.values.data(), text.data() + 8 + f.encoded.size(), 4 * f.values.size());
  return f;
}

std::vector<float> input() {
  const std::string text = contents("input.f32");
  std::vector<float> x(text.size() / 4);
  std::memcpy(x.data(), text.data(), text.size());
  return x;
}

// Formats with a fixture: all that decode, but for the trivial ones.
std::vector<const QuantFormat*> fixture_formats() {
  std::vector<const QuantFormat*> rows;
  for (const QuantFormat& f : all_formats())
    if (f.quantized() || f.dtype == DType::kF16 || f.dtype == DType::kBF16 ||
        (f.dtype >= DType::kF8E4M3 && f.dtype <= DType::kF8E5M2Fnuz) || f.dtype == DType::kF4)
      rows.push_back(&f);
  return rows;
}

TEST(Codec, DecodeEqualsReferenceBitForBit) {
  size_t formats = 0;
  for (const QuantFormat* f : fixture_formats()) {
    SCOPED_TRACE(f->name);
    const Fixture expected = fixture(std::string(f->name) + ".dec");
    ASSERT_EQ(expected.encoded.size(), format_bytes(f->id, expected.values.size()));
    // At an odd address, because file data has no alignment.
    std::vector<std::byte> shifted(expected.encoded.size() + 1);
    std::memcpy(shifted.data() + 1, expected.encoded.data(), expected.encoded.size());
    std::vector<float> got(expected.values.size());
    f->decode(shifted.data() + 1, got.data(), got.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(expected.values[i])) {
        ASSERT_TRUE(std::isnan(got[i])) << i;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected.values[i]))
            << i << ": " << got[i];
      }
    }
    ++formats;
  }
  EXPECT_EQ(formats, 15u + 11 + 2 + 5 + 1);
}

TEST(Codec, PlainEncodeEqualsReferenceByteForByte) {
  const std::vector<float> x = input();
  for (const char* name :
       {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4", "Q2_0", "Q8_K", "F16", "BF16", "F4", "TQ1_0",
        "TQ2_0", "NVFP4", "Q1_0"}) {
    SCOPED_TRACE(name);
    const QuantFormat& f = *find_format(name);
    const Fixture expected = fixture(std::string(name) + ".enc");
    std::vector<std::byte> got(format_bytes(f.id, x.size()));
    f.encode(x.data(), got.data(), x.size());
    ASSERT_EQ(got.size(), expected.encoded.size());
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], expected.encoded[i])
          << "byte " << i % f.block_bytes << " of block " << i / f.block_bytes;
  }
}

TEST(Codec, MinifloatEncodeEqualsReference) {
  for (const char* name : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    SCOPED_TRACE(name);
    const QuantFormat& f = *find_format(name);
    std::vector<float> x = input();
    for (float& v : x) v = std::clamp(f.id == FormatId::kF8E8M0 ? std::fabs(v) : v, -200.0f, 200.0f);
    const Fixture expected = fixture(std::string(name) + ".enc");
    std::vector<std::byte> got(x.size());
    f.encode(x.data(), got.data(), x.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (f.id == FormatId::kF8E8M0 && x[i] == 0)
        continue;  // no zero: ml_dtypes has NaN there, torch and hone 2^-127
      ASSERT_EQ(got[i], expected.encoded[i]) << i << ": " << x[i];
    }
  }
}

TEST(Codec, EveryMinifloatCodeSurvivesARoundTrip) {
  for (const char* name : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    const QuantFormat& f = *find_format(name);
    for (int c = 0; c < 256; ++c) {
      const std::byte code{static_cast<uint8_t>(c)};
      float value, again;
      std::byte encoded;
      f.decode(&code, &value, 1);
      if (!std::isfinite(value)) continue;
      f.encode(&value, &encoded, 1);
      f.decode(&encoded, &again, 1);
      EXPECT_EQ(value, again) << name << " " << c;
    }
    const float huge[2] = {1e30f, -1e30f};  // saturates; E8M0 has no sign
    std::byte codes[2];
    float limits[2];
    f.encode(huge, codes, 2);
    f.decode(codes, limits, 2);
    EXPECT_TRUE(std::isfinite(limits[0])) << name;
  }
}

double squared_error(const QuantFormat& f, const std::vector<float>& x,
                     const std::vector<std::byte>& encoded) {
  std::vector<float> y(x.size());
  f.decode(encoded.data(), y.data(), y.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return sum;
}

// These formats have no canonical encoding; ggml searches for a small error. The plain encode must come near.
TEST(Codec, BlockEncodeErrorIsNearTheSearchOfGgml) {
  const std::vector<float> x = input();
  for (const char* name : {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"}) {
    const QuantFormat& f = *find_format(name);
    std::vector<std::byte> got(format_bytes(f.id, x.size()));
    f.encode(x.data(), got.data(), x.size());
    const double ours = squared_error(f, x, got),
                 theirs = squared_error(f, x, fixture(std::string(name) + ".enc").encoded);
    EXPECT_LT(ours, 2.0 * theirs) << name;
    EXPECT_GT(ours, 0.2 * theirs) << name;
  }
}

// Hashes of the tables that the package gguf expands (int8, row by row).
TEST(Codec, GridsAreThoseOfThePackageGguf) {
  const auto hash = [](const auto& grid) { return sha256_hex(std::as_bytes(std::span(&grid, 1))).substr(0, 16); };
  EXPECT_EQ(hash(kIq2XxsGrid), "05826b5d3e472a3a");
  EXPECT_EQ(hash(kIq2XsGrid), "06e47aaca60b4dc1");
  EXPECT_EQ(hash(kIq2SGrid), "e1aa1473412b0552");
  EXPECT_EQ(hash(kIq3XxsGrid), "46e35f5a997efdee");
  EXPECT_EQ(hash(kIq3SGrid), "bd1af4945a1717c6");
  EXPECT_EQ(hash(kIq1Grid), "07540ffc1aeaf6ad");
}

// Share of the sum of squares that the plain encoders of the IQ formats leave of a bell curve; a wrong bit
// anywhere in the layout would leave more than half.
TEST(Codec, GridEncodersKeepMostOfABellCurve) {
  const std::vector<float> all = input(), x(all.begin(), all.begin() + 512);
  double power = 0;
  for (float v : x) power += double(v) * v;
  for (const auto& [name, share] : {std::pair{"IQ1_S", 0.5}, {"IQ1_M", 0.45}, {"IQ2_XXS", 0.25}, {"IQ2_XS", 0.2},
                                    {"IQ2_S", 0.15}, {"IQ3_XXS", 0.06}, {"IQ3_S", 0.04}}) {
    const QuantFormat& f = *find_format(name);
    std::vector<std::byte> bytes(format_bytes(f.id, x.size()));
    f.encode(x.data(), bytes.data(), x.size());
    EXPECT_LT(squared_error(f, x, bytes), share * power) << name << " " << squared_error(f, x, bytes) / power;
  }
}

TEST(Codec, EncodersTakeAnyFloat) {
  const float specials[] = {NAN, -NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, 0.0f, -0.0f, 1.0f};
  std::vector<float> x(256);
  for (size_t i = 0; i < x.size(); ++i) x[i] = specials[i % std::size(specials)];
  for (const QuantFormat& f : all_formats()) {
    if (!f.encode) continue;
    std::vector<std::byte> bytes(format_bytes(f.id, x.size()));
    f.encode(x.data(), bytes.data(), x.size());
    std::vector<float> zeros(256), back(256, 1.0f);
    f.encode(zeros.data(), bytes.data(), zeros.size());
    f.decode(bytes.data(), back.data(), back.size());
    if (f.id == FormatId::kF8E8M0) continue;  // has no zero
    for (float v : back) EXPECT_EQ(v, 0.0f) << f.name;
  }
}

TEST(Codec, IntegersSaturateAndRoundHalfToEven) {
  const float x[] = {-300.0f, 300.0f, 2.5f, 3.5f, -0.4f, NAN};
  std::byte bytes[6];
  float back[6];
  find_format("i8")->encode(x, bytes, 6);
  find_format("i8")->decode(bytes, back, 6);
  const float expected[] = {-128, 127, 2, 4, 0, 0};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(back[i], expected[i]);
  const float big = 1e30f;
  std::byte wide[8];
  find_format("U64")->encode(&big, wide, 1);
  EXPECT_EQ(load<uint64_t>(wide), UINT64_MAX);
}

}  // namespace
}  // namespace hone::tensor
