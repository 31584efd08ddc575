// Plain element types. Integers and F64 round to the nearest F32 on decode; on encode floats round half
// to even and saturate, NaN becomes 0.
#include <bit>
#include <limits>
#include <type_traits>

#include "tensor/codec.h"

namespace hone::tensor {
namespace {

template <typename T>
void decode_numbers(const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = static_cast<float>(load<T>(src + i * sizeof(T)));
}

template <typename T>
T saturate(float value) {
  if constexpr (std::is_floating_point_v<T>) {
    return value;
  } else {
    using Limits = std::numeric_limits<T>;
    const float rounded = std::nearbyint(value);
    if (std::isnan(rounded)) return 0;
    if (rounded <= static_cast<float>(Limits::min())) return Limits::min();
    if (rounded >= static_cast<float>(Limits::max())) return Limits::max();  // max may round up to 2^k
    return static_cast<T>(rounded);
  }
}

template <typename T>
void encode_numbers(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) store(dst + i * sizeof(T), saturate<T>(src[i]));
}

}  // namespace

void decode_f32(const std::byte* src, float* dst, size_t n) {
  if (n > 0) std::memcpy(dst, src, n * sizeof(float));
}
void encode_f32(const float* src, std::byte* dst, size_t n) {
  if (n > 0) std::memcpy(dst, src, n * sizeof(float));
}
void decode_f16(const std::byte* src, float* dst, size_t n) {
  // Without branches, for the vectorizer: 2^112 corrects the exponent's bias, for subnormals too, and what had the
  // largest exponent gets the largest again.
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = load<uint16_t>(src + 2 * i), magnitude = (bits & 0x7FFFu) << 13;
    const uint32_t value = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    const uint32_t special = magnitude >= 0x0F800000u ? 0x7F800000u : 0u;
    dst[i] = std::bit_cast<float>((bits & 0x8000u) << 16 | value | special);
  }
}
void encode_f16(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) store(dst + 2 * i, f32_to_f16(src[i]));
}
void decode_bf16(const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(load<uint16_t>(src + 2 * i));
}
void encode_bf16(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) store(dst + 2 * i, f32_to_bf16(src[i]));
}
void decode_bool(const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = src[i] == std::byte{0} ? 0.0f : 1.0f;
}
void encode_bool(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = std::byte(src[i] != 0.0f);
}

#define HONE_NUMBER_CODEC(name, type)                              \
  void decode_##name(const std::byte* src, float* dst, size_t n) { \
    decode_numbers<type>(src, dst, n);                             \
  }                                                                \
  void encode_##name(const float* src, std::byte* dst, size_t n) { \
    encode_numbers<type>(src, dst, n);                             \
  }
HONE_NUMBER_CODEC(f64, double)
HONE_NUMBER_CODEC(i8, int8_t)
HONE_NUMBER_CODEC(i16, int16_t)
HONE_NUMBER_CODEC(i32, int32_t)
HONE_NUMBER_CODEC(i64, int64_t)
HONE_NUMBER_CODEC(u8, uint8_t)
HONE_NUMBER_CODEC(u16, uint16_t)
HONE_NUMBER_CODEC(u32, uint32_t)
HONE_NUMBER_CODEC(u64, uint64_t)
#undef HONE_NUMBER_CODEC

}  // namespace hone::tensor
