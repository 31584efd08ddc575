// The grouped formats: the table, the stream of codes, and values worked out by hand.
#include "tensor/grouped.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

namespace hone::tensor {
namespace {

TEST(Grouped, RowsAreConsistent) {
  std::set<std::string> names;
  for (const QuantFormat& f : grouped_formats()) {
    EXPECT_TRUE(names.insert(f.name).second) << f.name;
    EXPECT_EQ(&format(f.id), &f);
    EXPECT_EQ(find_format(f.name), &f);
    const GroupedLayout* layout = grouped_layout(f.id);
    ASSERT_NE(layout, nullptr) << f.name;
    EXPECT_EQ(find_grouped(*layout), f.id);
    EXPECT_EQ(f.block_bytes, layout->block_bytes());
  }
  EXPECT_EQ(names.size(), kGroupedCount);
  EXPECT_EQ(grouped_layout(FormatId::kQ4_0), nullptr);
  EXPECT_FALSE(find_grouped({CodeKind::kInt, 4, 48, ScaleType::kF16, ZeroKind::kBias}));
}

TEST(Grouped, CodesAreOneStreamOfBits) {
  for (int bits = 1; bits <= 8; ++bits) {
    std::vector<uint8_t> codes(64), back(64);
    for (size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<uint8_t>((i * 37 + 11) & ((1u << bits) - 1));
    std::vector<std::byte> packed(codes.size() * static_cast<size_t>(bits) / 8);
    pack_codes(bits, codes.data(), packed.data(), codes.size());
    for (size_t i = 0; i < codes.size(); ++i)
      for (int b = 0; b < bits; ++b) {
        const size_t at = i * static_cast<size_t>(bits) + static_cast<size_t>(b);
        EXPECT_EQ((std::to_integer<int>(packed[at / 8]) >> (at % 8)) & 1, (codes[i] >> b) & 1);
      }
    unpack_codes(bits, packed.data(), back.data(), codes.size());
    EXPECT_EQ(back, codes);
  }
}

// 3 bits, group 16, F16 scale 0.5 and bias -1: codes 0..7, 0..7 give -1 to 2.5.
TEST(Grouped, AffineByHand) {
  const auto id = find_grouped({CodeKind::kInt, 3, 16, ScaleType::kF16, ZeroKind::kBias});
  ASSERT_TRUE(id);
  const uint8_t block[] = {0x00, 0x38, 0x00, 0xBC, 0x88, 0xC6, 0xFA, 0x88, 0xC6, 0xFA};
  ASSERT_EQ(sizeof block, format(*id).block_bytes);
  float x[16];
  format(*id).decode(reinterpret_cast<const std::byte*>(block), x, 16);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(x[i], static_cast<float>(i % 8) * 0.5f - 1.0f) << i;
}

// Encoding to nearest stays within half a step of every value that the row can reach.
TEST(Grouped, EncodeThenDecodeIsNear) {
  std::vector<float> x(128), back(128);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i) * 0.7f) + 0.1f;
  for (const QuantFormat& f : grouped_formats()) {
    std::vector<std::byte> bytes(format_bytes(f.id, x.size()));
    f.encode(x.data(), bytes.data(), x.size());
    f.decode(bytes.data(), back.data(), x.size());
    const GroupedLayout& l = *grouped_layout(f.id);
    const float step = l.code == CodeKind::kInt ? 2.4f / static_cast<float>((1 << l.bits) - 1) : 0.6f;
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(back[i], x[i], step + 0.02f) << f.name << " " << i;
  }
}

}  // namespace
}  // namespace hone::tensor
