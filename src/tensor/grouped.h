// The grouped formats: codes of a fixed width in groups that share a scale, as MLX, GPTQ, AWQ,
// compressed-tensors, FP8 and bitsandbytes checkpoints store weights. Those files keep codes, scales and zero
// points in separate tensors; in hone a group is one block, [scale][bias or zero point][codes], so that every
// row of the format table works alike. A family of rows of the one table (quant_format.h), generated from the
// axes below instead of listed.
//
// Groups longer than 128 and scales per row, per block of rows or per tensor are stored with the scale
// repeated; the values are the same, and a writer that needs the original grouping finds it by comparing
// neighbours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tensor/quant_format.h"

namespace hone::tensor {

enum class CodeKind : uint8_t { kInt, kE4M3, kE5M2, kE2M1, kNF4 };  // kInt: unsigned, `bits` wide
enum class ScaleType : uint8_t { kF16, kBF16, kF32, kE8M0, kE4M3 };
enum class ZeroKind : uint8_t {
  kNone,       // scale * code value (float codes)
  kMiddle,     // scale * (q - 2^(bits-1)): symmetric
  kBias,       // scale * q + bias, bias in the type of the scale: MLX affine
  kZeroPoint,  // scale * (q - z), z one byte: GPTQ, AWQ, asymmetric compressed-tensors
};

struct GroupedLayout {
  CodeKind code = CodeKind::kInt;
  uint8_t bits = 4;     // 1 to 8; 8 for the E4M3 and E5M2 codes, 4 for E2M1 and NF4
  uint16_t group = 64;  // 16, 32, 64 or 128 elements
  ScaleType scale = ScaleType::kF16;
  ZeroKind zero = ZeroKind::kBias;
  bool operator==(const GroupedLayout&) const = default;

  constexpr uint32_t scale_bytes() const {
    return scale == ScaleType::kF32 ? 4 : scale == ScaleType::kF16 || scale == ScaleType::kBF16 ? 2 : 1;
  }
  constexpr uint32_t zero_bytes() const {
    return zero == ZeroKind::kBias ? scale_bytes() : zero == ZeroKind::kZeroPoint ? 1 : 0;
  }
  constexpr uint32_t code_offset() const {
    return scale_bytes() + zero_bytes();
  }  // codes begin here in a block
  constexpr uint32_t block_bytes() const { return code_offset() + group * bits / 8u; }
};

// The layout of a grouped row; null for every other format.
const GroupedLayout* grouped_layout(FormatId id);
// The row with this layout; nothing when the table has no such combination.
std::optional<FormatId> find_grouped(const GroupedLayout& layout);
std::span<const QuantFormat> grouped_formats();

// Scales and biases of a block as numbers. E8M0 255 and E4M3 NaN give NaN.
float load_scale(ScaleType type, const std::byte* p);
// Rounds to nearest even; E8M0 to the nearest power of two not below, E4M3 saturates.
void store_scale(ScaleType type, float value, std::byte* p);

// Codes are one stream of bits a block, lowest first: element i takes bits [i * bits, (i + 1) * bits). count
// is a multiple of 8.
void unpack_codes(int bits, const std::byte* src, uint8_t* dst, size_t count);
void pack_codes(int bits, const uint8_t* src, std::byte* dst, size_t count);

// Value of a float code (kE4M3 ... kNF4).
float code_value(CodeKind kind, uint8_t code);
// The 16 levels of NormalFloat-4 (Dettmers et al., QLoRA, arXiv 2305.14314), as bitsandbytes stores them.
inline constexpr float kNf4Levels[16] = {-1.0f,
                                         -0.6961928009986877f,
                                         -0.5250730514526367f,
                                         -0.39491748809814453f,
                                         -0.28444138169288635f,
                                         -0.18477343022823334f,
                                         -0.09105003625154495f,
                                         0.0f,
                                         0.07958029955625534f,
                                         0.16093020141124725f,
                                         0.24611230194568634f,
                                         0.33791524171829224f,
                                         0.44070982933044434f,
                                         0.5626170039176941f,
                                         0.7229568362236023f,
                                         1.0f};

}  // namespace hone::tensor
