// Decoding against mlx: codes, scales and biases as mlx.core.quantize wrote them, put together into blocks,
// must give the values of mlx.core.dequantize bit for bit (tests/tools/make_mlx_fixtures.py). And the other
// checkpoint layouts against the arithmetic that defines them.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/half.h"
#include "base/json.h"
#include "tensor/grouped.h"

namespace hone::tensor {
namespace {

struct Fixture {
  std::string name;
  GroupedLayout layout;
  size_t rows = 0, cols = 0;
  std::vector<std::byte> blocks;  // interleaved as hone keeps them
  std::vector<float> values;
};

GroupedLayout layout_of(const Json& head) {
  const std::string mode = head.at("mode"), scale = head.at("scale");
  GroupedLayout l;
  l.bits = head.at("bits");
  l.group = head.at("group");
  if (mode == "affine") {
    l.scale = scale == "F16" ? ScaleType::kF16 : scale == "BF16" ? ScaleType::kBF16 : ScaleType::kF32;
    return l;
  }
  l.code = mode == "mxfp8" ? CodeKind::kE4M3 : CodeKind::kE2M1;
  l.scale = mode == "nvfp4" ? ScaleType::kE4M3 : ScaleType::kE8M0;
  l.zero = ZeroKind::kNone;
  return l;
}

Fixture read_fixture(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  const size_t newline = text.find('\n');
  const Json head = parse_json(text.substr(0, newline), path.filename().string());
  Fixture f{path.filename().string(), layout_of(head), head.at("rows"), head.at("cols"), {}, {}};
  const GroupedLayout& l = f.layout;
  const size_t groups = f.rows * f.cols / l.group, code_bytes = l.group * l.bits / 8u;
  const char* codes = text.data() + newline + 1;
  const char* scales = codes + groups * code_bytes;
  const char* biases = scales + groups * l.scale_bytes();
  const char* values = biases + groups * l.zero_bytes();
  f.values.resize(f.rows * f.cols);
  EXPECT_EQ(values + f.values.size() * sizeof(float), text.data() + text.size()) << f.name;
  std::memcpy(f.values.data(), values, f.values.size() * sizeof(float));
  f.blocks.resize(groups * l.block_bytes());
  for (size_t g = 0; g < groups; ++g) {
    std::byte* block = f.blocks.data() + g * l.block_bytes();
    std::memcpy(block, scales + g * l.scale_bytes(), l.scale_bytes());
    std::memcpy(block + l.scale_bytes(), biases + g * l.zero_bytes(), l.zero_bytes());
    std::memcpy(block + l.code_offset(), codes + g * code_bytes, code_bytes);
  }
  return f;
}

TEST(GroupedMlx, DecodesAsMlxDoes) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(HONE_SOURCE_DIR "/tests/data/tensor")) {
    if (!entry.path().filename().string().starts_with("mlx_")) continue;
    const Fixture f = read_fixture(entry.path());
    const auto id = find_grouped(f.layout);
    ASSERT_TRUE(id) << f.name;
    std::vector<float> got(f.values.size());
    format(*id).decode(f.blocks.data(), got.data(), got.size());
    size_t wrong = 0;
    for (size_t i = 0; i < got.size(); ++i)  // -0 stands for 0 where E2M1 has a code of its own for it
      wrong += std::bit_cast<uint32_t>(got[i] + 0.0f) != std::bit_cast<uint32_t>(f.values[i] + 0.0f);
    EXPECT_EQ(wrong, 0u) << f.name;
    ++files;
  }
  EXPECT_EQ(files, 24u);
}

// GGUF's MXFP4 pairs elements k and k + 16 in a byte, MLX's row has them in order: a permutation of nibbles.
TEST(GroupedMlx, Mxfp4IsGgufMxfp4InAnotherOrder) {
  const Fixture f = read_fixture(HONE_SOURCE_DIR "/tests/data/tensor/mlx_mxfp4.bin");
  std::vector<std::byte> gguf(f.blocks.size());
  for (size_t b = 0; b < f.blocks.size() / 17; ++b) {
    uint8_t codes[32];
    unpack_codes(4, f.blocks.data() + b * 17 + 1, codes, 32);
    gguf[b * 17] = f.blocks[b * 17];
    for (size_t k = 0; k < 16; ++k)
      gguf[b * 17 + 1 + k] = static_cast<std::byte>(codes[k] | codes[k + 16] << 4);
  }
  std::vector<float> got(f.values.size());
  format(FormatId::kMXFP4).decode(gguf.data(), got.data(), got.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], f.values[i]) << i;
}

std::vector<float> decode_one(const GroupedLayout& l, const std::vector<std::byte>& block) {
  const auto id = find_grouped(l);
  EXPECT_TRUE(id && block.size() == format(*id).block_bytes);
  std::vector<float> x(l.group);
  format(*id).decode(block.data(), x.data(), x.size());
  return x;
}

// GPTQ and AWQ: scale * (q - z), with every code and every zero point.
TEST(GroupedIntegers, ZeroPoints) {
  for (const uint8_t bits : {2, 3, 4, 8})
    for (int z = 0; z < 1 << bits; ++z) {
      const GroupedLayout l{CodeKind::kInt, bits, 128, ScaleType::kF16, ZeroKind::kZeroPoint};
      std::vector<std::byte> block(l.block_bytes());
      store_scale(l.scale, 0.0123f, block.data());
      block[2] = static_cast<std::byte>(z);
      uint8_t codes[128];
      for (int i = 0; i < 128; ++i) codes[i] = static_cast<uint8_t>((i * 7) & ((1 << bits) - 1));
      pack_codes(bits, codes, block.data() + 3, 128);
      const float scale = f16_to_f32(f32_to_f16(0.0123f));
      const std::vector<float> x = decode_one(l, block);
      for (size_t i = 0; i < 128; ++i)
        ASSERT_EQ(x[i], scale * static_cast<float>(codes[i] - z)) << int{bits} << " " << z;
    }
}

// FP8 by its definition (OCP 8-bit floating point): sign, 4 bits of exponent of bias 7, 3 of mantissa, 127 is
// NaN.
TEST(GroupedFloats, EveryE4M3Code) {
  const GroupedLayout l{CodeKind::kE4M3, 8, 128, ScaleType::kF32, ZeroKind::kNone};
  for (const int sign : {0, 128}) {
    std::vector<std::byte> block(l.block_bytes());
    store_scale(l.scale, 0.37f, block.data());
    for (int i = 0; i < 128; ++i) block[static_cast<size_t>(4 + i)] = static_cast<std::byte>(sign | i);
    const std::vector<float> x = decode_one(l, block);
    for (int i = 0; i < 127; ++i) {
      const int e = i >> 3, m = i & 7;
      const double value = e ? std::ldexp(1 + m / 8.0, e - 7) : std::ldexp(m / 8.0, -6);
      ASSERT_EQ(x[static_cast<size_t>(i)], 0.37f * static_cast<float>(sign ? -value : value)) << i;
    }
    EXPECT_TRUE(std::isnan(x[127]));
  }
}

TEST(GroupedFloats, Nf4Levels) {
  const GroupedLayout l{CodeKind::kNF4, 4, 64, ScaleType::kF32, ZeroKind::kNone};
  std::vector<std::byte> block(l.block_bytes());
  store_scale(l.scale, 1.7f, block.data());
  uint8_t codes[64];
  for (int i = 0; i < 64; ++i) codes[i] = static_cast<uint8_t>(i % 16);
  pack_codes(4, codes, block.data() + 4, 64);
  const std::vector<float> x = decode_one(l, block);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(x[i], 1.7f * kNf4Levels[i % 16]);
  // The levels are those of a normal distribution (the paper's rule): nearly even in probability, 1 and -1
  // the ends.
  EXPECT_EQ(kNf4Levels[7], 0.0f);
  for (int i = 1; i < 16; ++i) EXPECT_GT(kNf4Levels[i], kNf4Levels[i - 1]);
}

}  // namespace
}  // namespace hone::tensor
