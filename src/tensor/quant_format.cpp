// The one table of storage formats; see quant_format.h.
#include "tensor/quant_format.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "tensor/codec.h"
#include "tensor/grouped.h"

namespace hone::tensor {
namespace {

#define CODEC(name) decode_##name, encode_##name
constexpr auto kNone = ScaleKind::kNone;
constexpr auto kOne = ScaleKind::kScale, kMin = ScaleKind::kScaleMin;
constexpr auto kSuper = ScaleKind::kSuperScale, kSuperMin = ScaleKind::kSuperScaleMin;
using F = FormatId;
using D = DType;

// clang-format off
// Rows stand in the order of FormatId.
constexpr std::array<QuantFormat, kNamedCount> kTable{{
    // id, name, dtype, block, bytes, scale, sub-block, ggml type, activation only, decode, encode
    {F::kF32, "F32", D::kF32, 1, 4, kNone, 1, 0, false, CODEC(f32)},
    {F::kF16, "F16", D::kF16, 1, 2, kNone, 1, 1, false, CODEC(f16)},
    {F::kBF16, "BF16", D::kBF16, 1, 2, kNone, 1, 30, false, CODEC(bf16)},
    {F::kF64, "F64", D::kF64, 1, 8, kNone, 1, 28, false, CODEC(f64)},
    {F::kI8, "I8", D::kI8, 1, 1, kNone, 1, 24, false, CODEC(i8)},
    {F::kI16, "I16", D::kI16, 1, 2, kNone, 1, 25, false, CODEC(i16)},
    {F::kI32, "I32", D::kI32, 1, 4, kNone, 1, 26, false, CODEC(i32)},
    {F::kI64, "I64", D::kI64, 1, 8, kNone, 1, 27, false, CODEC(i64)},
    {F::kU8, "U8", D::kU8, 1, 1, kNone, 1, -1, false, CODEC(u8)},
    {F::kU16, "U16", D::kU16, 1, 2, kNone, 1, -1, false, CODEC(u16)},
    {F::kU32, "U32", D::kU32, 1, 4, kNone, 1, -1, false, CODEC(u32)},
    {F::kU64, "U64", D::kU64, 1, 8, kNone, 1, -1, false, CODEC(u64)},
    {F::kBool, "BOOL", D::kBool, 1, 1, kNone, 1, -1, false, CODEC(bool)},
    {F::kF8E4M3, "F8_E4M3", D::kF8E4M3, 1, 1, kNone, 1, -1, false, CODEC(f8_e4m3)},
    {F::kF8E5M2, "F8_E5M2", D::kF8E5M2, 1, 1, kNone, 1, -1, false, CODEC(f8_e5m2)},
    {F::kF8E8M0, "F8_E8M0", D::kF8E8M0, 1, 1, kNone, 1, -1, false, CODEC(f8_e8m0)},
    {F::kF8E4M3Fnuz, "F8_E4M3FNUZ", D::kF8E4M3Fnuz, 1, 1, kNone, 1, -1, false, CODEC(f8_e4m3fnuz)},
    {F::kF8E5M2Fnuz, "F8_E5M2FNUZ", D::kF8E5M2Fnuz, 1, 1, kNone, 1, -1, false, CODEC(f8_e5m2fnuz)},
    // The bit order of the 6-bit floats is not specified by safetensors, so they are carried, not decoded.
    {F::kF6E2M3, "F6_E2M3", D::kF6E2M3, 4, 3, kNone, 4, -1, false, nullptr, nullptr},
    {F::kF6E3M2, "F6_E3M2", D::kF6E3M2, 4, 3, kNone, 4, -1, false, nullptr, nullptr},
    {F::kF4, "F4", D::kF4, 2, 1, kNone, 2, -1, false, CODEC(f4)},
    {F::kC64, "C64", D::kC64, 1, 8, kNone, 1, -1, false, nullptr, nullptr},
    {F::kQ8_0, "Q8_0", D::kF32, 32, 34, kOne, 32, 8, false, CODEC(q8_0)},
    {F::kQ4_0, "Q4_0", D::kF32, 32, 18, kOne, 32, 2, false, CODEC(q4_0)},
    {F::kQ4_1, "Q4_1", D::kF32, 32, 20, kMin, 32, 3, false, CODEC(q4_1)},
    {F::kQ5_0, "Q5_0", D::kF32, 32, 22, kOne, 32, 6, false, CODEC(q5_0)},
    {F::kQ5_1, "Q5_1", D::kF32, 32, 24, kMin, 32, 7, false, CODEC(q5_1)},
    {F::kQ2_K, "Q2_K", D::kF32, 256, 84, kSuperMin, 16, 10, false, CODEC(q2_k)},
    {F::kQ3_K, "Q3_K", D::kF32, 256, 110, kSuper, 16, 11, false, CODEC(q3_k)},
    {F::kQ4_K, "Q4_K", D::kF32, 256, 144, kSuperMin, 32, 12, false, CODEC(q4_k)},
    {F::kQ5_K, "Q5_K", D::kF32, 256, 176, kSuperMin, 32, 13, false, CODEC(q5_k)},
    {F::kQ6_K, "Q6_K", D::kF32, 256, 210, kSuper, 16, 14, false, CODEC(q6_k)},
    {F::kQ8_K, "Q8_K", D::kF32, 256, 292, kOne, 256, 15, true, CODEC(q8_k)},
    {F::kIQ4_NL, "IQ4_NL", D::kF32, 32, 18, kOne, 32, 20, false, CODEC(iq4_nl)},
    {F::kIQ4_XS, "IQ4_XS", D::kF32, 256, 136, kSuper, 32, 23, false, CODEC(iq4_xs)},
    {F::kMXFP4, "MXFP4", D::kF32, 32, 17, kOne, 32, 39, false, CODEC(mxfp4)},
    {F::kQ2_0, "Q2_0", D::kF32, 64, 18, kOne, 64, 42, false, CODEC(q2_0)},
    {F::kIQ1_S, "IQ1_S", D::kF32, 256, 50, kSuper, 32, 19, false, CODEC(iq1_s)},
    {F::kIQ1_M, "IQ1_M", D::kF32, 256, 56, kSuper, 16, 29, false, CODEC(iq1_m)},
    {F::kIQ2_XXS, "IQ2_XXS", D::kF32, 256, 66, kSuper, 32, 16, false, CODEC(iq2_xxs)},
    {F::kIQ2_XS, "IQ2_XS", D::kF32, 256, 74, kSuper, 16, 17, false, CODEC(iq2_xs)},
    {F::kIQ2_S, "IQ2_S", D::kF32, 256, 82, kSuper, 16, 22, false, CODEC(iq2_s)},
    {F::kIQ3_XXS, "IQ3_XXS", D::kF32, 256, 98, kSuper, 32, 18, false, CODEC(iq3_xxs)},
    {F::kIQ3_S, "IQ3_S", D::kF32, 256, 110, kSuper, 32, 21, false, CODEC(iq3_s)},
    {F::kTQ1_0, "TQ1_0", D::kF32, 256, 54, kOne, 256, 34, false, CODEC(tq1_0)},
    {F::kTQ2_0, "TQ2_0", D::kF32, 256, 66, kOne, 256, 35, false, CODEC(tq2_0)},
    {F::kNVFP4, "NVFP4", D::kF32, 64, 36, kOne, 16, 40, false, CODEC(nvfp4)},
    {F::kQ1_0, "Q1_0", D::kF32, 128, 18, kOne, 128, 41, false, CODEC(q1_0)},
}};
// clang-format on
#undef CODEC

constexpr bool in_order() {
  for (size_t i = 0; i < kTable.size(); ++i)
    if (static_cast<size_t>(kTable[i].id) != i) return false;
  return true;
}
static_assert(in_order());

struct DTypeRow {
  const char* name;
  int bits;
};
constexpr DTypeRow kDTypes[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F64", 64},    {"I8", 8},          {"I16", 16},
    {"I32", 32},    {"I64", 64},    {"U8", 8},      {"U16", 16},    {"U32", 32},        {"U64", 64},
    {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64}};
static_assert(std::size(kDTypes) == static_cast<size_t>(DType::kC64) + 1);

bool same_letters(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::toupper(x) == std::toupper(y); });
}

}  // namespace

const char* dtype_name(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].name;
}
int dtype_bits(DType dtype) {
  return kDTypes[static_cast<size_t>(dtype)].bits;
}

const QuantFormat& format(FormatId id) {
  HONE_CHECK(static_cast<size_t>(id) < kFormatCount);
  const auto i = static_cast<size_t>(id);
  return i < kNamedCount ? kTable[i] : grouped_formats()[i - kNamedCount];
}

std::span<const QuantFormat> all_formats() {
  return kTable;
}

const QuantFormat* find_format(std::string_view name) {
  for (const std::span<const QuantFormat> rows : {all_formats(), grouped_formats()})
    for (const QuantFormat& row : rows)
      if (same_letters(row.name, name)) return &row;
  return nullptr;
}

const QuantFormat* find_gguf_type(int type) {
  if (type < 0) return nullptr;
  const auto row = std::ranges::find(kTable, type, &QuantFormat::gguf_type);
  return row == kTable.end() ? nullptr : &*row;
}

uint64_t format_bytes(FormatId id, uint64_t n) {
  const QuantFormat& f = format(id);
  if (n % f.block != 0)
    fail(ErrorKind::kBadInput,
         "[tensor] {}: {} elements are no multiple of the block of {}; choose another format", f.name, n,
         f.block);
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(n / f.block, uint64_t{f.block_bytes}, &bytes))
    fail(ErrorKind::kBadInput, "[tensor] {}: the size of {} elements overflows; the shape is not plausible",
         f.name, n);
  return bytes;
}

bool divides(FormatId id, uint64_t row_length) {
  return row_length % format(id).block == 0;
}

}  // namespace hone::tensor
