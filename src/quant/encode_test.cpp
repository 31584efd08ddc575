// The encoders against llama.cpp's quantizer (recorded errors on matrices that both sides generate,
// tests/tools/make_quant_fixtures.py), against an exhaustive search, and against themselves: every
// instruction set and thread count must give the same bytes.
#include "quant/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "base/random.h"
#include "quant/encoders.h"

namespace hone::quant {
namespace {

using tensor::FormatId;
using Floats = std::vector<float>;

constexpr size_t kRows = 6, kCols = 512, kCount = kRows * kCols;

// The generators below repeat make_quant_fixtures.py operation by operation.
uint32_t hashed(uint64_t seed, size_t i) {
  uint32_t h = static_cast<uint32_t>(i + seed * 0x9E3779B9u);
  h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
  h = (h ^ (h >> 13)) * 0xC2B2AE35u;
  return h ^ (h >> 16);
}
float uniform(uint64_t seed, size_t i) { return static_cast<float>(hashed(seed, i) >> 8) * 0x1p-24f; }
float bell(uint64_t seed, size_t i) {
  int64_t total = 0;
  for (uint64_t k = 0; k < 8; ++k) total += hashed(seed + 1000 * k, i) >> 16;
  return static_cast<float>(total - 8 * 32768 + 4) * 0x1p-16f * 1.2247449f;
}

template <typename F>
Floats generate(size_t count, F one) {
  Floats x(count);
  for (size_t i = 0; i < count; ++i) x[i] = one(i);
  return x;
}

const std::map<std::string, Floats>& matrices() {
  static const std::map<std::string, Floats> all = [] {
    const auto make = [](auto one) { return generate(kCount, one); };
    const auto scaled_bell = [&](float factor) { return make([factor](size_t i) { return bell(1, i) * factor; }); };
    return std::map<std::string, Floats>{
        {"bell", scaled_bell(1)},
        {"uniform", make([](size_t i) { return uniform(2, i) + uniform(2, i) - 1.0f; })},
        {"positive", make([](size_t i) { return uniform(2, i) + 1.0f; })},
        {"negative", make([](size_t i) { return -1.0f - uniform(2, i); })},
        {"heavy tail", make([](size_t i) { return bell(1, i) / (uniform(2, i) + 0.0078125f); })},
        {"outlier column", make([](size_t i) { return i % kCols == 37 ? bell(1, i) * 60 : bell(1, i); })},
        {"varied blocks", make([](size_t i) { return bell(1, i) * static_cast<float>(1u << (hashed(3, i / 32) % 8)); })},
        {"constant", Floats(kCount, 0.7311f)},
        {"negative constant", Floats(kCount, -3.21f)},
        {"zeros", Floats(kCount, 0.0f)},
        {"negative zeros", Floats(kCount, -0.0f)},
        {"tiny", scaled_bell(1e-6f)},
        {"vanishing", scaled_bell(1e-30f)},
        {"large", scaled_bell(1e4f)},
        {"huge", scaled_bell(1e6f)},
        {"enormous", scaled_bell(1e30f)},
        {"ternary", make([](size_t i) { return (static_cast<float>(hashed(4, i) % 3) - 1) * 0.05f; })},
        {"lattice", make([](size_t i) { return (static_cast<float>(hashed(5, i) % 16) - 8) * 0.01f; })},
        {"sparse", make([](size_t i) { return hashed(6, i) % 16 == 0 ? bell(1, i) : 0.0f; })},
    };
  }();
  return all;
}

const std::map<std::string, Floats>& importances() {
  static const std::map<std::string, Floats> all{
      {"plain", {}},
      {"uniform", generate(kCols, [](size_t i) { return uniform(7, i) + 0.125f; })},
      {"heavy", generate(kCols, [](size_t i) { return std::ldexp(uniform(9, i) + 0.5f, static_cast<int>(hashed(8, i) % 11) - 5); })},
  };
  return all;
}

std::string fnv1a(const Floats& values) {
  uint64_t h = 0xCBF29CE484222325u;
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(float); ++i) h = (h ^ bytes[i]) * 0x100000001B3u;
  return values.empty() ? "" : fmt::format("{:016x}", h);
}

std::vector<std::byte> encode(FormatId format, const Floats& x, size_t cols, const Floats& importance, ThreadPool* pool = nullptr) {
  std::vector<std::byte> out(x.size() / cols * tensor::format_bytes(format, cols));
  encode_rows(format, x.data(), x.size() / cols, cols, importance, out.data(), pool);
  return out;
}

const FormatId kBlockFormats[] = {FormatId::kQ8_0, FormatId::kQ4_0, FormatId::kQ4_1, FormatId::kQ5_0, FormatId::kQ5_1,
                                  FormatId::kQ2_K, FormatId::kQ3_K, FormatId::kQ4_K, FormatId::kQ5_K, FormatId::kQ6_K,
                                  FormatId::kQ8_K, FormatId::kIQ4_NL, FormatId::kIQ4_XS, FormatId::kMXFP4, FormatId::kQ2_0,
                                  FormatId::kIQ1_S, FormatId::kIQ1_M, FormatId::kIQ2_XXS, FormatId::kIQ2_XS, FormatId::kIQ2_S,
                                  FormatId::kIQ3_XXS, FormatId::kIQ3_S, FormatId::kTQ1_0, FormatId::kTQ2_0, FormatId::kNVFP4,
                                  FormatId::kQ1_0};

TEST(Encode, NeverWorseThanLlamaCpp) {
  const Json fixture = parse_json(read_text_file(HONE_SOURCE_DIR "/tests/data/quant/llama_cpp_errors.json"), "fixture");
  std::map<FormatId, size_t> compared;
  for (const Json& c : fixture.at("cases")) {
    const std::string matrix = c.at("matrix"), weighting = c.at("importance");
    const Floats &x = matrices().at(matrix), &w = importances().at(weighting);
    ASSERT_EQ(fnv1a(x), c.at("x")) << matrix << ": the generators of the two sides differ";
    ASSERT_EQ(fnv1a(w), c.at("w")) << weighting;
    for (const auto& [name, recorded] : c.at("errors").items()) {
      const FormatId format = tensor::find_format(name)->id;
      const auto encoded = encode(format, x, kCols, w);
      const double error = weighted_error(format, x.data(), encoded.data(), kRows, kCols, w, nullptr);
      EXPECT_TRUE(std::isfinite(error)) << name << " " << matrix;
      // null: llama.cpp's own result is not finite.
      const double limit = recorded.is_null() ? std::numeric_limits<double>::max() : recorded.get<double>() * (1 + 1e-9);
      EXPECT_LE(error, limit) << name << " " << matrix << " " << weighting;
      ++compared[format];
    }
  }
  for (const FormatId format : kBlockFormats)
    EXPECT_EQ(compared[format], matrices().size() * (format == FormatId::kQ8_K ? 1 : 3)) << tensor::format(format).name;
}

TEST(Encode, SameBytesOnEveryInstructionSet) {
  constexpr size_t kFew = 2;  // rows: the scalar set is slow under sanitizers
  for (const FormatId format : kBlockFormats)
    for (const auto& [name, x] : matrices())
      for (const auto& [weighting, importance] : importances()) {
        const Floats w = importance.empty() ? Floats(kCols, 1.0f) : importance;
        std::vector<std::byte> first;
        for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
          if (!isa_supported(isa)) continue;
          std::vector<std::byte> out(kFew * tensor::format_bytes(format, kCols));
          for (size_t r = 0; r < kFew; ++r)
            find_encoder(format, isa)(x.data() + r * kCols, w.data(), kCols, out.data() + r * out.size() / kFew);
          if (first.empty()) first = out;
          ASSERT_TRUE(out == first) << tensor::format(format).name << " " << name << " " << weighting << " " << isa_name(isa);
        }
      }
}

// Rows by groups of sixteen blocks: the answer for a block may not depend on its neighbours or the instruction set.
TEST(Encode, GroupsGiveTheSameBytesOnEveryInstructionSetInAnySplit) {
  constexpr size_t kFew = 3;  // rows: 6 super-blocks, 48 blocks of 32
  size_t compared = 0;
  for (const tensor::QuantFormat& format : tensor::all_formats())
    for (const auto& [name, x] : matrices())
      for (const auto& [weighting, importance] : importances()) {
        if (!find_group_encoder(format.id, Isa::kScalar)) continue;
        const Floats w = importance.empty() ? Floats(kCols, 1.0f) : importance;
        const uint64_t row_bytes = tensor::format_bytes(format.id, kCols);
        std::vector<std::byte> first(kFew * row_bytes), out(first.size());
        find_group_encoder(format.id, Isa::kScalar)(x.data(), w.data(), kFew, kCols, first.data());
        for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
          if (!isa_supported(isa)) continue;
          find_group_encoder(format.id, isa)(x.data(), w.data(), kFew, kCols, out.data());
          ASSERT_TRUE(out == first) << format.name << " " << name << " " << weighting << " " << isa_name(isa);
          for (size_t r = 0; r < kFew; ++r)
            find_group_encoder(format.id, isa)(x.data() + r * kCols, w.data(), 1, kCols, out.data() + r * row_bytes);
          ASSERT_TRUE(out == first) << format.name << " " << name << " " << weighting << " row by row";
          ++compared;
        }
      }
  EXPECT_TRUE(compared > 0 || !isa_supported(Isa::kAvx2));
}

TEST(Encode, SameBytesForAnyThreadCount) {
  const Floats x = generate(700 * 256, [](size_t i) { return bell(11, i); });
  ThreadPool three(3);
  for (const FormatId format : {FormatId::kQ4_0, FormatId::kQ5_1, FormatId::kQ4_K}) {
    const auto one = encode(format, x, 256, {});
    EXPECT_EQ(encode(format, x, 256, {}, &three), one);
    EXPECT_EQ(weighted_error(format, x.data(), one.data(), 700, 256, {}, nullptr),
              weighted_error(format, x.data(), one.data(), 700, 256, {}, &three));
  }
}

// Every F16 scale, positive and negative, with the nearest codes: nothing can be better.
double least_error(const float* x, const float* w, size_t n, int low, int high) {
  double best = std::numeric_limits<double>::infinity();
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double d = f16_to_f32(static_cast<uint16_t>(bits));
    if (!std::isfinite(d) || std::abs(d) < 0.01 || std::abs(d) > 4) continue;
    double error = 0;
    for (size_t i = 0; i < n && error < best; ++i) {
      const double q = std::nearbyint(std::min<double>(std::max<double>(x[i] / d, low), high));
      error += w[i] * (x[i] - d * q) * (x[i] - d * q);
    }
    best = std::min(best, error);
  }
  return best;
}

TEST(Encode, CloseToTheExhaustiveOptimum) {
  struct Case {
    FormatId format;
    int low, high;
    double factor;  // Q2_0 tries few scales: it competes with an encoder that tries one
  };
  for (const Case& c : {Case{FormatId::kQ4_0, -8, 7, 1.01}, Case{FormatId::kQ5_0, -16, 15, 1.03}, Case{FormatId::kQ2_0, -1, 2, 1.05}}) {
    const size_t block = tensor::format(c.format).block;
    for (const char* weighting : {"uniform", "heavy"}) {
      const Floats& x = matrices().at("bell");
      const Floats& w = importances().at(weighting);
      double found = 0, best = 0;
      for (size_t b = 0; b < 6; ++b) {
        const Floats part(x.begin() + static_cast<long>(b * block), x.begin() + static_cast<long>((b + 1) * block));
        const Floats part_w(w.begin() + static_cast<long>(b * block), w.begin() + static_cast<long>((b + 1) * block));
        const auto encoded = encode(c.format, part, block, part_w);
        const double error = weighted_error(c.format, part.data(), encoded.data(), 1, block, part_w, nullptr);
        const double least = least_error(part.data(), part_w.data(), block, c.low, c.high);
        EXPECT_GE(error, least * (1 - 1e-6));
        found += error;
        best += least;
      }
      EXPECT_LE(found, best * c.factor) << tensor::format(c.format).name << " " << weighting;
    }
  }
}

TEST(Encode, LatticesComeBackExactly) {
  // Blocks made by decoding: scales that are exact in F16 and every code in use.
  for (const FormatId format : {FormatId::kQ8_0, FormatId::kQ4_0, FormatId::kQ4_1, FormatId::kQ5_0, FormatId::kQ5_1,
                                FormatId::kIQ4_NL, FormatId::kMXFP4, FormatId::kQ2_0}) {
    const Floats& x = matrices().at("bell");
    const auto once = encode(format, x, kCols, {});
    Floats decoded(kCount);
    tensor::format(format).decode(once.data(), decoded.data(), kCount);
    const auto twice = encode(format, decoded, kCols, {});
    EXPECT_LE(weighted_error(format, decoded.data(), twice.data(), kRows, kCols, {}, nullptr), 1e-9)
        << tensor::format(format).name;
  }
}

TEST(Encode, PlainFormatsRoundToTheNearestFiniteValue) {
  const Floats x{1.0f, -0.0f, 1.0009765625f, 3.14159265f, 7e4f, -3.4e38f, 1e-9f, 65519.0f};
  Floats decoded(x.size());
  const auto decode = [&](FormatId format) {
    const auto encoded = encode(format, x, x.size(), {});
    tensor::format(format).decode(encoded.data(), decoded.data(), x.size());
    return decoded;
  };
  EXPECT_EQ(decode(FormatId::kF32), x);
  EXPECT_EQ(decode(FormatId::kF16), (Floats{1.0f, -0.0f, 1.0009765625f, 3.140625f, 65504.0f, -65504.0f, 0.0f, 65504.0f}));
  EXPECT_TRUE(std::signbit(decode(FormatId::kF16)[1]));
  for (float v : decode(FormatId::kBF16)) EXPECT_TRUE(std::isfinite(v));
  EXPECT_EQ(decoded[3], 3.140625f);
}

TEST(Encode, ZeroImportanceStillGivesUsableCodes) {
  const Floats& x = matrices().at("bell");
  for (const FormatId format : kBlockFormats) {
    const auto encoded = encode(format, x, kCols, Floats(kCols, 0.0f));
    const auto plain = encode(format, x, kCols, {});
    EXPECT_EQ(weighted_error(format, x.data(), encoded.data(), kRows, kCols, {}, nullptr),
              weighted_error(format, x.data(), plain.data(), kRows, kCols, {}, nullptr))
        << tensor::format(format).name;
  }
}

TEST(Encode, WeightedErrorIsTheSumOfSquares) {
  const Floats& x = matrices().at("heavy tail");
  const Floats& w = importances().at("heavy");
  const auto encoded = encode(FormatId::kQ4_1, x, kCols, w);
  Floats decoded(kCount);
  tensor::format(FormatId::kQ4_1).decode(encoded.data(), decoded.data(), kCount);
  long double sum = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const long double r = static_cast<long double>(x[i]) - decoded[i];
    sum += r * r * w[i % kCols];
  }
  EXPECT_NEAR(weighted_error(FormatId::kQ4_1, x.data(), encoded.data(), kRows, kCols, w, nullptr), static_cast<double>(sum),
              1e-12 * static_cast<double>(sum));
}

TEST(Encode, RefusesWhatCannotBeEncoded) {
  const auto kind = [](FormatId format, Floats x, const Floats& w) {
    std::vector<std::byte> out(4096);
    try {
      encode_rows(format, x.data(), 1, x.size(), w, out.data(), nullptr);
    } catch (const Error& e) {
      return fmt::format("{}: {}", static_cast<int>(e.kind()), e.what());
    }
    return std::string("accepted");
  };
  const std::string bad = fmt::format("{}: ", static_cast<int>(ErrorKind::kBadInput));
  Floats x(64, 1.0f);
  EXPECT_EQ(kind(FormatId::kQ4_0, x, {}), "accepted");
  EXPECT_EQ(kind(FormatId::kQ4_0, Floats(48, 1.0f), {}).substr(0, 3), bad);
  EXPECT_EQ(kind(FormatId::kQ4_0, x, Floats(63, 1.0f)).substr(0, 3), bad);
  EXPECT_EQ(kind(FormatId::kQ4_0, x, Floats(64, -1.0f)).substr(0, 3), bad);
  for (float value : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    x[17] = value;
    EXPECT_EQ(kind(FormatId::kQ4_0, x, {}).substr(0, 3), bad) << value;
    EXPECT_EQ(kind(FormatId::kF16, x, {}).substr(0, 3), bad) << value;
  }
  EXPECT_FALSE(can_encode(FormatId::kI64));
  EXPECT_THROW(encode(FormatId::kI64, Floats(64, 1.0f), 64, {}), Error);
  for (const FormatId format : kBlockFormats) EXPECT_TRUE(can_encode(format));
}

// Weights that were Q4_1 before stay what they are in Q4_1 and Q5_1, whatever the importances.
TEST(Encode, ALatticeIsFoundAgain) {
  Random random(9);
  std::vector<float> x(8 * 512), lattice(x.size()), importance(512), back(x.size());
  for (float& v : x) v = static_cast<float>(0.05 * random.normal());
  for (float& v : importance) v = static_cast<float>(std::exp(2 * random.normal()));
  std::vector<std::byte> bytes(8 * tensor::format_bytes(FormatId::kQ4_1, 512));
  encode_rows(FormatId::kQ4_1, x.data(), 8, 512, {}, bytes.data(), nullptr);
  tensor::format(FormatId::kQ4_1).decode(bytes.data(), lattice.data(), lattice.size());
  for (const FormatId format : {FormatId::kQ4_1, FormatId::kQ5_1})
    for (const bool weighted : {false, true}) {
      bytes.resize(8 * tensor::format_bytes(format, 512));
      encode_rows(format, lattice.data(), 8, 512, weighted ? std::span<const float>(importance) : std::span<const float>(),
                  bytes.data(), nullptr);
      tensor::format(format).decode(bytes.data(), back.data(), back.size());
      EXPECT_EQ(back, lattice) << tensor::format(format).name << weighted;
    }
}

// The longer search is no worse on any kind of weight, over the formats that have two.
TEST(Encode, ThoroughIsNoWorse) {
  Random random(5);
  std::vector<float> x(16 * 512), importance(512);
  for (float& v : x) v = static_cast<float>(random.normal());
  for (float& v : importance) v = static_cast<float>(std::exp(random.normal()));
  for (const tensor::QuantFormat& f : tensor::all_formats()) {
    if (!f.quantized() || !find_group_encoder(f.id, Isa::kScalar)) continue;
    std::vector<std::byte> fast(16 * tensor::format_bytes(f.id, 512)), thorough(fast.size());
    encode_rows(f.id, x.data(), 16, 512, importance, fast.data(), nullptr);
    encode_rows(f.id, x.data(), 16, 512, importance, thorough.data(), nullptr, Effort::kThorough);
    EXPECT_LE(weighted_error(f.id, x.data(), thorough.data(), 16, 512, importance, nullptr),
              1.001 * weighted_error(f.id, x.data(), fast.data(), 16, 512, importance, nullptr))
        << f.name;
  }
}

}  // namespace
}  // namespace hone::quant
