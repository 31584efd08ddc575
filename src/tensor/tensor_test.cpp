// The format table, shapes, tensors, metadata, checkpoints.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "base/error.h"
#include "tensor/checkpoint.h"

namespace hone::tensor {
namespace {

TEST(FormatTable, RowsAreConsistent) {
  std::set<std::string> names;
  std::set<int> types;
  for (const QuantFormat& f : all_formats()) {
    EXPECT_TRUE(names.insert(f.name).second) << f.name;
    EXPECT_TRUE(f.gguf_type < 0 || types.insert(f.gguf_type).second) << f.name;
    EXPECT_EQ(&format(f.id), find_format(f.name));
    EXPECT_EQ(f.block % f.sub_block, 0u);
    EXPECT_EQ(f.decode == nullptr, f.encode == nullptr);
    if (f.quantized()) continue;
    EXPECT_EQ(f.block_bytes * 8, f.block * static_cast<uint32_t>(dtype_bits(f.dtype))) << f.name;
    EXPECT_STREQ(f.name, dtype_name(f.dtype));
  }
  EXPECT_EQ(find_format("q4_k")->id, FormatId::kQ4_K);
  EXPECT_EQ(find_format("q4_9"), nullptr);
  EXPECT_EQ(find_gguf_type(12)->id, FormatId::kQ4_K);
  EXPECT_EQ(find_gguf_type(-1), nullptr);
  EXPECT_EQ(find_gguf_type(4), nullptr);
  EXPECT_DOUBLE_EQ(format(FormatId::kQ4_K).bits_per_weight(), 4.5);
}

TEST(FormatTable, SizesAreChecked) {
  EXPECT_EQ(format_bytes(FormatId::kQ4_K, 512), 288u);
  EXPECT_EQ(format_bytes(FormatId::kQ4_K, 0), 0u);
  EXPECT_THROW(format_bytes(FormatId::kQ4_K, 500), Error);
  EXPECT_THROW(format_bytes(FormatId::kF32, uint64_t{1} << 62), Error);
  EXPECT_TRUE(divides(FormatId::kIQ4_NL, 576));
  EXPECT_FALSE(divides(FormatId::kIQ4_XS, 576));
  EXPECT_EQ(element_count({}), 1u);
  EXPECT_EQ(element_count({3, 0}), 0u);
  EXPECT_THROW(element_count({-1}), Error);
  EXPECT_THROW(element_count({int64_t{1} << 40, int64_t{1} << 40}), Error);
}

TEST(Tensor, OwnsAlignedZeroedBytesAndDecodesRows) {
  Tensor t(FormatId::kF32, {3, 4});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.bytes().data()) % 64, 0u);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(t.f32()[i], 0.0f);
    t.f32()[i] = static_cast<float>(i);
  }
  float rows[8];
  decode_rows(t.view(), 1, 2, rows);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(rows[i], static_cast<float>(i + 4));
  EXPECT_EQ(decode(t.view()).size(), 12u);
  EXPECT_THROW(decode_rows(t.view(), 2, 2, rows), std::logic_error);
  EXPECT_TRUE(decode(Tensor(FormatId::kF32, {0, 4}).view()).empty());
  EXPECT_THROW(decode(Tensor(FormatId::kC64, {1}).view()), Error);
  EXPECT_EQ(shape_text({576, 1536}), "[576, 1536]");
  TensorView lies{FormatId::kF32, {int64_t{1} << 50}, t.view().bytes};
  EXPECT_THROW(decode(lies), std::logic_error);
}

TEST(Metadata, KeepsOrderTypesAndWidensNumbers) {
  Metadata m;
  m.set("a", uint8_t{7});
  m.set("b", std::string("x"));
  m.set("c", make_array(std::vector<int32_t>{1, -2}));
  m.set("d", make_array(std::vector<std::string>{"p", "q"}));
  m.set("e", make_array(std::vector<bool>{true, false}));
  m.set("f", 1.5f);
  m.set("g", uint64_t{1} << 63);
  m.set("a", int16_t{-7});
  EXPECT_EQ(m.entries().front().first, "a");
  EXPECT_EQ(m.get_int("a"), -7);
  EXPECT_EQ(m.get_number_or("a", 0), -7.0);
  EXPECT_EQ(m.get_number_or("f", 0), 1.5);
  EXPECT_EQ(m.get_int_or("absent", 9), 9);
  EXPECT_EQ(m.get_ints("c"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(m.get_ints("a"), (std::vector<int64_t>{-7}));
  EXPECT_EQ(m.get_ints("e"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(m.get_numbers("c"), (std::vector<double>{1, -2}));
  EXPECT_TRUE(m.get_ints("absent").empty());
  EXPECT_EQ((*m.find_strings("d"))[1], "q");
  EXPECT_EQ(m.find_strings("absent"), nullptr);
  for (const char* key : {"b", "c", "f", "g", "absent"}) EXPECT_THROW(m.get_int(key), Error) << key;
  EXPECT_THROW(m.get_string("a"), Error);
  EXPECT_THROW(m.find_strings("c"), Error);
  EXPECT_THROW(m.get_ints("d"), Error);
  EXPECT_THROW(m.get_bool_or("a", true), Error);
  m.erase("b");
  EXPECT_EQ(m.find("b"), nullptr);
  EXPECT_EQ(m.get_ints("c").size(), 2u);
  EXPECT_EQ(m.entries().size(), 6u);
}

TEST(Checkpoint, RefusesDuplicates) {
  Checkpoint c;
  c.add({"w", {}});
  EXPECT_THROW(c.add({"w", {}}), Error);
  EXPECT_NE(c.find("w"), nullptr);
  EXPECT_EQ(c.find("v"), nullptr);
}

}  // namespace

// Doubles of the row number, made on demand.
class CountingRows : public RowSource {
 public:
  void read(uint64_t begin, uint64_t count, std::span<std::byte> dst) const override {
    ++reads;
    for (uint64_t r = 0; r < count; ++r)
      for (uint64_t c = 0; c < 4; ++c) {
        const float value = static_cast<float>((begin + r) * 10 + c);
        std::memcpy(dst.data() + (r * 4 + c) * sizeof(float), &value, sizeof(float));
      }
  }
  mutable int reads = 0;
};

TEST(RowSource, RowsAreReadWhereTheyAreMade) {
  CountingRows rows;
  const TensorView view{FormatId::kF32, {3, 4}, {}, &rows};
  EXPECT_EQ(view_bytes(view), 48u);
  EXPECT_EQ(rows.reads, 0);
  std::vector<float> two(8);
  decode_rows(view, 1, 2, two.data());
  EXPECT_EQ(two, (std::vector<float>{10, 11, 12, 13, 20, 21, 22, 23}));
  std::vector<float> all(12);
  read_all(view, std::as_writable_bytes(std::span(all)));
  EXPECT_EQ(decode(view), all);
}

}  // namespace hone::tensor
