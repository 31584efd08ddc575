// The table of storage formats: how a row of numbers lies in bytes. One row per format; reading,
// writing, kernels, search and reports all go through it, and nothing else switches over formats.
//
// A quantized row is split into blocks of `block` consecutive elements, each `block_bytes` long. Layouts
// are those of GGUF (ggml tensor types); docs/formats.md repeats them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hone::tensor {

// Logical type of elements, as the IR and the kernels see them.
enum class DType : uint8_t { kF32, kF16, kBF16, kF64, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kBool, kF8E4M3, kF8E5M2,
                             kF8E8M0, kF8E4M3Fnuz, kF8E5M2Fnuz, kF6E2M3, kF6E3M2, kF4, kC64 };
const char* dtype_name(DType dtype);   // "F32", as safetensors spells it
int dtype_bits(DType dtype);

// Append only: the values are not stored in any file, but tables are indexed by them.
enum class FormatId : uint16_t {
  // plain
  kF32, kF16, kBF16, kF64, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kBool, kF8E4M3, kF8E5M2, kF8E8M0,
  kF8E4M3Fnuz, kF8E5M2Fnuz, kF6E2M3, kF6E3M2, kF4, kC64,
  // block formats of GGUF
  kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kQ8_K, kIQ4_NL, kIQ4_XS, kMXFP4, kQ2_0,
  kIQ1_S, kIQ1_M, kIQ2_XXS, kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kTQ1_0, kTQ2_0, kNVFP4, kQ1_0,
  kNamedCount
};
// Rows listed one by one; the ids after them are the grouped formats, generated from their axes (grouped.h):
// 8 widths x 4 groups x 3 scale types x 3 zero kinds, and the float codes.
inline constexpr size_t kNamedCount = static_cast<size_t>(FormatId::kNamedCount);
inline constexpr size_t kGroupedCount = 8 * 4 * 3 * 3 + 2 * 4 * 4 + 2 + 2 + 3;
inline constexpr size_t kFormatCount = kNamedCount + kGroupedCount;

// What the scale of a block looks like; drives the scale search (quant/) and reports.
enum class ScaleKind : uint8_t { kNone, kScale, kScaleMin, kSuperScale, kSuperScaleMin };

struct QuantFormat {
  FormatId id;
  const char* name;         // "Q4_K"; unique
  DType dtype;              // type of decoded elements; kF32 for block formats
  uint32_t block;           // elements per block (1 for plain formats; 4 for F6 and 2 for F4)
  uint32_t block_bytes;
  ScaleKind scale;
  uint32_t sub_block;       // elements that share one (sub-)scale; block when there is one level
  int gguf_type;            // ggml type id, -1: GGUF cannot carry it
  bool activation_only;     // Q8_K: never a weight format
  // Exact decode of n elements (n % block == 0) to F32; null for formats without a real value (I64...).
  void (*decode)(const std::byte* src, float* dst, size_t n);
  // Reference encode, round to nearest without a search; null where there is none.
  void (*encode)(const float* src, std::byte* dst, size_t n);

  double bits_per_weight() const { return 8.0 * block_bytes / block; }
  bool quantized() const { return scale != ScaleKind::kNone; }
};

const QuantFormat& format(FormatId id);
std::span<const QuantFormat> all_formats();  // the named rows; grouped_formats() are the others
const QuantFormat* find_format(std::string_view name);  // case-insensitive; null when unknown
const QuantFormat* find_gguf_type(int type);            // null when not in the table

// Bytes of n elements. Throws Error(kBadInput) when n is no multiple of the block or the size overflows.
uint64_t format_bytes(FormatId id, uint64_t n);
bool divides(FormatId id, uint64_t row_length);  // row_length is a multiple of the block

}  // namespace hone::tensor
