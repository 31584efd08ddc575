// Rows, reference decode and reference encode of the grouped formats; see grouped.h.
#include "tensor/grouped.h"

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

constexpr uint16_t kGroups[] = {16, 32, 64, 128};
constexpr ScaleType kFloatScales[] = {ScaleType::kF16, ScaleType::kBF16, ScaleType::kF32};

// Every combination that a published checkpoint can hold, in the order of the ids.
constexpr std::array<GroupedLayout, kGroupedCount> make_layouts() {
  std::array<GroupedLayout, kGroupedCount> out{};
  size_t i = 0;
  for (uint8_t bits = 1; bits <= 8; ++bits)
    for (const uint16_t group : kGroups)
      for (const ScaleType scale : kFloatScales)
        for (const ZeroKind zero : {ZeroKind::kMiddle, ZeroKind::kBias, ZeroKind::kZeroPoint})
          out[i++] = {CodeKind::kInt, bits, group, scale, zero};
  for (const CodeKind code : {CodeKind::kE4M3, CodeKind::kE5M2})
    for (const uint16_t group : kGroups) {
      for (const ScaleType scale : kFloatScales) out[i++] = {code, 8, group, scale, ZeroKind::kNone};
      out[i++] = {code, 8, group, ScaleType::kE8M0, ZeroKind::kNone};
    }
  for (const ScaleType scale :
       {ScaleType::kE4M3, ScaleType::kF32})  // NVFP4, alone or with a scale of the tensor
    out[i++] = {CodeKind::kE2M1, 4, 16, scale, ZeroKind::kNone};
  for (const ScaleType scale : {ScaleType::kE8M0, ScaleType::kF32})  // MXFP4 in MLX's order of nibbles
    out[i++] = {CodeKind::kE2M1, 4, 32, scale, ZeroKind::kNone};
  for (const uint16_t group : {uint16_t{32}, uint16_t{64}, uint16_t{128}})
    out[i++] = {CodeKind::kNF4, 4, group, ScaleType::kF32, ZeroKind::kNone};
  if (i != kGroupedCount) throw "kGroupedCount in quant_format.h is not the number of combinations";
  return out;
}
constexpr auto kLayouts = make_layouts();

void load_codes(const GroupedLayout& l, const std::byte* block, uint8_t* codes) {
  unpack_codes(l.bits, block + l.code_offset(), codes, l.group);
}

void decode_block(const GroupedLayout& l, const std::byte* block, float* dst) {
  uint8_t codes[128];
  load_codes(l, block, codes);
  const float scale = load_scale(l.scale, block);
  const std::byte* second = block + l.scale_bytes();
  switch (l.zero) {
    case ZeroKind::kNone:
      for (size_t i = 0; i < l.group; ++i) dst[i] = scale * code_value(l.code, codes[i]);
      return;
    case ZeroKind::kBias: {
      const float bias = load_scale(l.scale, second);
      for (size_t i = 0; i < l.group; ++i) {
        const float product = scale * static_cast<float>(codes[i]);
        dst[i] = product + bias;
      }
      return;
    }
    case ZeroKind::kMiddle:
    case ZeroKind::kZeroPoint: {
      const int zero = l.zero == ZeroKind::kMiddle ? 1 << (l.bits - 1) : std::to_integer<int>(*second);
      for (size_t i = 0; i < l.group; ++i) dst[i] = scale * static_cast<float>(codes[i] - zero);
      return;
    }
  }
}

// The scale that makes the extreme of the block representable, then rounding to nearest: no search.
void encode_int(const GroupedLayout& l, const float* x, std::byte* block, uint8_t* codes) {
  const int top = (1 << l.bits) - 1, middle = 1 << (l.bits - 1);
  float low = x[0], high = x[0];
  for (size_t i = 1; i < l.group; ++i) low = std::min(low, x[i]), high = std::max(high, x[i]);
  std::byte* second = block + l.scale_bytes();
  float zero = static_cast<float>(middle);
  if (l.zero == ZeroKind::kMiddle) {
    store_scale(l.scale, signed_peak(x, l.group) / static_cast<float>(-middle), block);
  } else if (l.zero == ZeroKind::kBias) {
    store_scale(l.scale, (high - low) / static_cast<float>(top), block);
    store_scale(l.scale, low, second);
  } else {
    low = std::min(low, 0.0f), high = std::max(high, 0.0f);
    store_scale(l.scale, (high - low) / static_cast<float>(top), block);
    const int z = clamp_to_int(std::nearbyint(-low * inverse(load_scale(l.scale, block))), 0, top);
    *second = static_cast<std::byte>(z);
    zero = static_cast<float>(z);
  }
  const float step = inverse(load_scale(l.scale, block));
  const float offset = l.zero == ZeroKind::kBias ? -load_scale(l.scale, second) : 0;
  if (l.zero == ZeroKind::kBias) zero = 0;
  for (size_t i = 0; i < l.group; ++i)
    codes[i] = static_cast<uint8_t>(clamp_to_int(std::nearbyint((x[i] + offset) * step + zero), 0, top));
}

uint8_t nearest_code(CodeKind kind, int count, float x) {
  int best = 0;
  float least = std::numeric_limits<float>::infinity();
  for (int c = 0; c < count; ++c) {
    const float distance = std::fabs(code_value(kind, static_cast<uint8_t>(c)) - x);
    if (distance < least) least = distance, best = c;  // false for codes without a finite value
  }
  return static_cast<uint8_t>(best);
}

void encode_float(const GroupedLayout& l, const float* x, std::byte* block, uint8_t* codes) {
  const float largest = l.code == CodeKind::kE4M3   ? 448.0f
                        : l.code == CodeKind::kE5M2 ? 57344.0f
                        : l.code == CodeKind::kE2M1 ? 6.0f
                                                    : 1.0f;
  store_scale(l.scale, std::fabs(signed_peak(x, l.group)) / largest, block);
  const float step = inverse(load_scale(l.scale, block));
  for (size_t i = 0; i < l.group; ++i) {
    const float v = x[i] * step;
    std::byte code{};
    if (l.code == CodeKind::kE4M3)
      encode_f8_e4m3(&v, &code, 1);
    else if (l.code == CodeKind::kE5M2)
      encode_f8_e5m2(&v, &code, 1);
    else
      code = static_cast<std::byte>(nearest_code(l.code, 16, v));
    codes[i] = std::to_integer<uint8_t>(code);
  }
}

// One pair of functions a row; they only carry the layout to the code above.
template <size_t I>
void decode_row(const std::byte* src, float* dst, size_t n) {
  constexpr GroupedLayout l = kLayouts[I];
  for (size_t b = 0; b < n / l.group; ++b) decode_block(l, src + b * l.block_bytes(), dst + b * l.group);
}
template <size_t I>
void encode_row(const float* src, std::byte* dst, size_t n) {
  constexpr GroupedLayout l = kLayouts[I];
  uint8_t codes[128];
  for (size_t b = 0; b < n / l.group; ++b) {
    std::byte* block = dst + b * l.block_bytes();
    if (l.code == CodeKind::kInt)
      encode_int(l, src + b * l.group, block, codes);
    else
      encode_float(l, src + b * l.group, block, codes);
    pack_codes(l.bits, codes, block + l.code_offset(), l.group);
  }
}

// "INT4_G64_BF16_BIAS", "E4M3_G128_F32", "NF4_G64_F32".
std::string row_name(const GroupedLayout& l) {
  static constexpr const char* kCodes[] = {"INT", "E4M3", "E5M2", "E2M1", "NF4"};
  static constexpr const char* kScales[] = {"F16", "BF16", "F32", "E8M0", "E4M3"};
  static constexpr const char* kZeros[] = {"", "_SYM", "_BIAS", "_ZERO"};
  std::string name = kCodes[static_cast<size_t>(l.code)];
  if (l.code == CodeKind::kInt) name += std::to_string(l.bits);
  return name + "_G" + std::to_string(l.group) + "_" + kScales[static_cast<size_t>(l.scale)] +
         kZeros[static_cast<size_t>(l.zero)];
}

struct Rows {
  std::array<std::string, kGroupedCount> names;
  std::array<QuantFormat, kGroupedCount> rows;

  template <size_t... I>
  explicit Rows(std::index_sequence<I...>) : names{row_name(kLayouts[I])...}, rows{make<I>()...} {}

  template <size_t I>
  QuantFormat make() const {
    const GroupedLayout& l = kLayouts[I];
    const bool minimum = l.zero == ZeroKind::kBias || l.zero == ZeroKind::kZeroPoint;
    return {static_cast<FormatId>(kNamedCount + I),
            names[I].c_str(),
            DType::kF32,
            l.group,
            l.block_bytes(),
            minimum ? ScaleKind::kScaleMin : ScaleKind::kScale,
            l.group,
            -1,
            false,
            decode_row<I>,
            encode_row<I>};
  }
};

}  // namespace

std::span<const QuantFormat> grouped_formats() {
  static const Rows rows{std::make_index_sequence<kGroupedCount>()};
  return rows.rows;
}

const GroupedLayout* grouped_layout(FormatId id) {
  const auto i = static_cast<size_t>(id);
  return i >= kNamedCount && i < kFormatCount ? &kLayouts[i - kNamedCount] : nullptr;
}

std::optional<FormatId> find_grouped(const GroupedLayout& layout) {
  for (size_t i = 0; i < kGroupedCount; ++i)
    if (kLayouts[i] == layout) return static_cast<FormatId>(kNamedCount + i);
  return std::nullopt;
}

float load_scale(ScaleType type, const std::byte* p) {
  float value = 0;
  switch (type) {
    case ScaleType::kF16:
      return f16_to_f32(load<uint16_t>(p));
    case ScaleType::kBF16:
      return bf16_to_f32(load<uint16_t>(p));
    case ScaleType::kF32:
      return load<float>(p);
    case ScaleType::kE8M0:
      decode_f8_e8m0(p, &value, 1);
      return value;
    case ScaleType::kE4M3:
      decode_f8_e4m3(p, &value, 1);
      return value;
  }
  return value;
}

void store_scale(ScaleType type, float value, std::byte* p) {
  switch (type) {
    case ScaleType::kF16:
      return store(p, f32_to_f16(value));
    case ScaleType::kBF16:
      return store(p, f32_to_bf16(value));
    case ScaleType::kF32:
      return store(p, value);
    case ScaleType::kE8M0: {
      int exponent = 0;
      const float fraction =
          std::frexp(value, &exponent);  // value = fraction * 2^exponent, fraction in [0.5, 1)
      const int power = fraction == 0.5f ? exponent - 1 : exponent;
      *p = static_cast<std::byte>(value > 0 ? std::clamp(power + 127, 0, 254) : 0);
      return;
    }
    case ScaleType::kE4M3:
      return encode_f8_e4m3(&value, p, 1);
  }
}

void unpack_codes(int bits, const std::byte* src, uint8_t* dst, size_t count) {
  HONE_CHECK(bits >= 1 && bits <= 8 && count % 8 == 0);
  const unsigned mask = (1u << bits) - 1;
  for (size_t i = 0; i < count; i += 8) {  // 8 codes are `bits` whole bytes
    uint64_t word = 0;
    std::memcpy(&word, src + i / 8 * static_cast<size_t>(bits), static_cast<size_t>(bits));
    for (int k = 0; k < 8; ++k)
      dst[i + static_cast<size_t>(k)] = static_cast<uint8_t>((word >> (k * bits)) & mask);
  }
}

void pack_codes(int bits, const uint8_t* src, std::byte* dst, size_t count) {
  HONE_CHECK(bits >= 1 && bits <= 8 && count % 8 == 0);
  for (size_t i = 0; i < count; i += 8) {
    uint64_t word = load<uint64_t>(src + i);  // neighbours close up: pairs of bytes, then of pairs, then halves
    constexpr uint64_t kBytes = 0x00FF00FF00FF00FFull, kPairs = 0x0000FFFF0000FFFFull;
    word = (word & kBytes) | ((word >> 8) & kBytes) << bits;
    word = (word & kPairs) | ((word >> 16) & kPairs) << (2 * bits);
    word = (word & 0xFFFFFFFFull) | (word >> 32) << (4 * bits);
    std::memcpy(dst + i / 8 * static_cast<size_t>(bits), &word, static_cast<size_t>(bits));
  }
}

float code_value(CodeKind kind, uint8_t code) {
  float value = 0;
  const auto byte = static_cast<std::byte>(code);
  switch (kind) {
    case CodeKind::kE4M3:
      decode_f8_e4m3(&byte, &value, 1);
      return value;
    case CodeKind::kE5M2:
      decode_f8_e5m2(&byte, &value, 1);
      return value;
    case CodeKind::kE2M1:
      return static_cast<float>(kF4Doubled[code & 15]) * 0.5f;
    case CodeKind::kNF4:
      return kNf4Levels[code & 15];
    case CodeKind::kInt:
      return code;
  }
  return value;
}

}  // namespace hone::tensor
