// Lossless changes of format: values the same, bytes the same after going back, refusals with a reason.
#include "tensor/transcode.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tensor/codec.h"

namespace hone::tensor {
namespace {

FormatId grouped(CodeKind code, int bits, int group, ScaleType scale, ZeroKind zero) {
  return *find_grouped({code, static_cast<uint8_t>(bits), static_cast<uint16_t>(group), scale, zero});
}
FormatId integer(int bits, int group, ScaleType scale, ZeroKind zero) {
  return grouped(CodeKind::kInt, bits, group, scale, zero);
}

// Values that use every code, encoded in the format: what a file may hold.
Tensor sample(FormatId id, int64_t rows = 5, int64_t columns = 256) {
  Tensor t(id, {rows, columns});
  std::vector<float> x(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] =
        std::sin(static_cast<float>(i) * 0.37f) * (0.02f + 0.01f * static_cast<float>(i / 32 % 7)) + 0.003f;
  format(id).encode(x.data(), t.bytes().data(), x.size());
  return t;
}

void expect_there_and_back(FormatId from, FormatId to) {
  SCOPED_TRACE(std::string(format(from).name) + " -> " + format(to).name);
  const Tensor source = sample(from);
  Tensor middle(to, source.shape()), back(from, source.shape());
  std::string reason;
  ASSERT_TRUE(transcode(source.view(), to, middle.bytes(), &reason)) << reason;
  EXPECT_EQ(decode(source.view()), decode(middle.view()));
  ASSERT_TRUE(transcode(middle.view(), from, back.bytes(), &reason)) << reason;
  EXPECT_EQ(std::memcmp(source.view().bytes.data(), back.view().bytes.data(), back.view().bytes.size()), 0);
}

TEST(Transcode, ThereAndBackGivesTheSameBytes) {
  using enum FormatId;
  const auto f16 = ScaleType::kF16, bf16 = ScaleType::kBF16, f32 = ScaleType::kF32;
  const auto bias = ZeroKind::kBias, middle = ZeroKind::kMiddle, point = ZeroKind::kZeroPoint;
  // GGUF and MLX
  for (const auto& [id, bits] : {std::pair{kQ4_0, 4}, {kQ4_1, 4}, {kQ5_0, 5}, {kQ5_1, 5}, {kQ8_0, 8}}) {
    expect_there_and_back(id, integer(bits, 32, f16, bias));
    expect_there_and_back(id, integer(bits, 32, f32, bias));
  }
  expect_there_and_back(kQ2_0, integer(2, 64, f16, bias));
  expect_there_and_back(kMXFP4, grouped(CodeKind::kE2M1, 4, 32, ScaleType::kE8M0, ZeroKind::kNone));
  expect_there_and_back(kNVFP4, grouped(CodeKind::kE2M1, 4, 16, ScaleType::kE4M3, ZeroKind::kNone));
  // GGUF and GPTQ, compressed-tensors
  for (const auto& [id, bits] : {std::pair{kQ4_0, 4}, {kQ5_0, 5}, {kQ8_0, 8}}) {
    expect_there_and_back(id, integer(bits, 32, f16, middle));
    expect_there_and_back(id, integer(bits, 32, f16, point));
  }
  expect_there_and_back(kQ2_0, integer(2, 64, f16, point));
  for (const int group : {64, 128}) {  // groups repeat
    expect_there_and_back(integer(4, group, f16, middle), kQ4_0);
    expect_there_and_back(integer(8, group, bf16, middle), kQ8_0);
    expect_there_and_back(integer(3, group, f16, middle), kQ4_0);  // narrower codes fit
    expect_there_and_back(integer(4, group, bf16, bias), kQ4_1);   // bf16 of these sizes are exact in f16
    expect_there_and_back(integer(5, group, f16, bias), kQ5_1);
    expect_there_and_back(integer(4, group, f16, point),
                          integer(4, group, f32, bias));  // z * scale needs 15 bits
    expect_there_and_back(integer(4, group, bf16, middle), integer(4, 32, bf16, bias));
  }
}

std::string target_of(const TensorView& view, Container container) {
  std::string reason;
  const auto id = exact_target(view, container, &reason);
  return id ? format(*id).name : "none: " + reason;
}

TEST(Transcode, FewestBitsThatAreExact) {
  using enum FormatId;
  EXPECT_EQ(target_of(sample(kQ4_0).view(), Container::kMlx), "INT4_G32_F16_BIAS");
  EXPECT_EQ(target_of(sample(kQ4_0).view(), Container::kGguf), "Q4_0");
  EXPECT_EQ(target_of(sample(kQ4_0).view(), Container::kGptq), "INT4_G32_F16_SYM");
  EXPECT_EQ(target_of(sample(kQ5_0).view(), Container::kCompressedTensors), "INT5_G32_F16_SYM");
  EXPECT_EQ(target_of(sample(kQ5_0).view(), Container::kGptq), "INT8_G32_F16_SYM");  // GPTQ has no 5 bits
  EXPECT_EQ(target_of(sample(kMXFP4).view(), Container::kMlx), "E2M1_G32_E8M0");
  EXPECT_EQ(target_of(sample(kNVFP4).view(), Container::kMlx), "E2M1_G16_E4M3");
  EXPECT_EQ(target_of(sample(kQ4_1).view(), Container::kMlx), "INT4_G32_F16_BIAS");
  EXPECT_EQ(target_of(sample(integer(4, 128, ScaleType::kF16, ZeroKind::kZeroPoint)).view(), Container::kMlx),
            "INT4_G128_F32_BIAS");
  // Codes less zero points of 4 bits need 5.
  EXPECT_EQ(target_of(sample(integer(4, 64, ScaleType::kF16, ZeroKind::kZeroPoint)).view(), Container::kGguf),
            "Q5_0");
  // Coming back: biases of -8 scales are Q4_0, others Q4_1.
  for (const FormatId id : {kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_0, kMXFP4, kNVFP4}) {
    const Tensor source = sample(id);
    const FormatId there = *exact_target(source.view(), Container::kMlx);
    Tensor middle(there, source.shape());
    ASSERT_TRUE(transcode(source.view(), there, middle.bytes()));
    EXPECT_EQ(target_of(middle.view(), Container::kGguf), format(id).name);
  }
  EXPECT_EQ(target_of(sample(integer(4, 64, ScaleType::kBF16, ZeroKind::kBias)).view(), Container::kGguf),
            "Q4_1");
  EXPECT_EQ(target_of(sample(integer(4, 128, ScaleType::kF16, ZeroKind::kMiddle)).view(), Container::kGguf),
            "Q4_0");
}

TEST(Transcode, WhatCannotBeHeldIsRefusedWithItsReason) {
  using enum FormatId;
  const auto refused = [](const TensorView& view, Container container, const std::string& part) {
    const std::string text = target_of(view, container);
    EXPECT_EQ(text.substr(0, 6), "none: ") << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  refused(sample(kQ4_K).view(), Container::kMlx, "Q4_K has no counterpart");
  refused(sample(integer(4, 32, ScaleType::kF32, ZeroKind::kMiddle)).view(), Container::kGguf,
          "no exact value");
  refused(sample(integer(4, 32, ScaleType::kF16, ZeroKind::kBias)).view(), Container::kGptq, "bias");
  refused(sample(integer(8, 64, ScaleType::kF16, ZeroKind::kZeroPoint)).view(), Container::kGguf,
          "code does not fit");
  refused(sample(integer(8, 64, ScaleType::kF16, ZeroKind::kBias)).view(), Container::kGguf,
          "bias");  // there is no Q8_1 weight
  std::string reason;
  EXPECT_FALSE(
      transcode(sample(kQ4_0).view(), integer(4, 64, ScaleType::kF16, ZeroKind::kMiddle), {}, &reason));
  EXPECT_NE(reason.find("different scales"), std::string::npos) << reason;
  EXPECT_FALSE(transcode(sample(kQ4_0).view(), kF32, {}, &reason));
  // A bias past the range of F16, a NaN, and a bfloat16 scale between two F16.
  Tensor t = sample(kQ8_0);
  store_f16(reinterpret_cast<uint8_t*>(t.bytes().data()), 600.0f);
  EXPECT_FALSE(transcode(t.view(), integer(8, 32, ScaleType::kF16, ZeroKind::kBias), {}, &reason));
  EXPECT_TRUE(transcode(t.view(), integer(8, 32, ScaleType::kF32, ZeroKind::kBias), {}, &reason)) << reason;
  store_f16(reinterpret_cast<uint8_t*>(t.bytes().data()), NAN);
  EXPECT_FALSE(transcode(t.view(), integer(8, 32, ScaleType::kF32, ZeroKind::kBias), {}, &reason));
  Tensor small = sample(integer(4, 32, ScaleType::kBF16, ZeroKind::kBias));
  store_scale(ScaleType::kBF16, 1e-7f, small.bytes().data());
  EXPECT_FALSE(transcode(small.view(), kQ4_1, {}, &reason));
  for (size_t i = 4; i < 20; ++i)
    small.bytes()[i] = std::byte{0};  // but a scale that multiplies only zeros is no number
  Tensor held(kQ4_1, small.shape());
  ASSERT_TRUE(transcode(small.view(), kQ4_1, held.bytes(), &reason)) << reason;
  EXPECT_EQ(decode(held.view()), decode(small.view()));
}

// Zero points go into the codes of a symmetric format with one bit more, and come out again with the same
// numbers.
TEST(Transcode, ZeroPointsInsideCodes) {
  for (const int bits : {2, 3, 4}) {
    const FormatId from = integer(bits, 32, ScaleType::kF16, ZeroKind::kZeroPoint),
                   to = bits == 4 ? FormatId::kQ5_0 : FormatId::kQ4_0;
    const Tensor source = sample(from);
    Tensor middle(to, source.shape()), back(from, source.shape());
    std::string reason;
    ASSERT_TRUE(transcode(source.view(), to, middle.bytes(), &reason)) << reason;
    ASSERT_TRUE(transcode(middle.view(), from, back.bytes(), &reason)) << reason;
    EXPECT_EQ(decode(middle.view()), decode(source.view()));
    EXPECT_EQ(decode(back.view()), decode(source.view()));
  }
}

// Zeros keep their sign in the bytes: a Q4_1 tensor of zeros does not come back as Q4_0.
TEST(Transcode, ZerosKeepTheirFormat) {
  for (const FormatId id : {FormatId::kQ4_0, FormatId::kQ4_1}) {
    const Tensor zeros(id, {2, 64});
    const FormatId there = *exact_target(zeros.view(), Container::kMlx);
    Tensor middle(there, zeros.shape()), back(id, zeros.shape());
    ASSERT_TRUE(transcode(zeros.view(), there, middle.bytes()));
    EXPECT_EQ(exact_target(middle.view(), Container::kGguf), id);
    ASSERT_TRUE(transcode(middle.view(), id, back.bytes()));
    EXPECT_EQ(std::memcmp(zeros.view().bytes.data(), back.view().bytes.data(), back.view().bytes.size()), 0);
  }
}

}  // namespace
}  // namespace hone::tensor
