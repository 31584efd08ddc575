// Reference codecs behind the QuantFormat table, one pair of functions a format; quant_format.cpp lists
// them. They work on bytes of any alignment. Float operations keep the order of ggml and gguf-py, so
// that decoded values are equal bit for bit; do not rearrange them.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

// A fused multiply-add would round once where the reference rounds twice.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

static_assert(std::endian::native == std::endian::little,
              "storage formats are little-endian and read in place");

namespace hone::tensor {

template <typename T>
T load(const void* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}
template <typename T>
void store(void* p, T value) {
  std::memcpy(p, &value, sizeof(T));
}
inline float load_f16(const uint8_t* p) {
  return f16_to_f32(load<uint16_t>(p));
}
inline void store_f16(uint8_t* p, float value) {
  store<uint16_t>(p, f32_to_f16(value));
}

// Float to integer in [low, high]; NaN gives low (a plain cast would be undefined).
inline int clamp_to_int(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  return static_cast<int>(value);
}
inline float inverse(float d) {
  return d == 0.0f ? 0.0f : 1.0f / d;
}

// Calls one(block bytes, block values) for each block of n values.
template <uint32_t kBlock, uint32_t kBytes, typename F>
void decode_blocks(const std::byte* src, float* dst, size_t n, F one) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(src);
  for (size_t i = 0; i < n / kBlock; ++i) one(bytes + i * kBytes, dst + i * kBlock);
}
template <uint32_t kBlock, uint32_t kBytes, typename F>
void encode_blocks(const float* src, std::byte* dst, size_t n, F one) {
  auto* bytes = reinterpret_cast<uint8_t*>(dst);
  for (size_t i = 0; i < n / kBlock; ++i) one(src + i * kBlock, bytes + i * kBytes);
}

// The signed value of largest magnitude (the first of equals).
inline float signed_peak(const float* x, size_t n) {
  float peak = 0, magnitude = 0;
  for (size_t i = 0; i < n; ++i)
    if (std::fabs(x[i]) > magnitude) magnitude = std::fabs(peak = x[i]);
  return peak;
}

// The 16 levels of the IQ4 formats.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
// The 16 values of F4 (E2M1), doubled so that they are whole; code 8 is plain zero.
inline constexpr int8_t kF4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#define HONE_CODEC(name)                                          \
  void decode_##name(const std::byte* src, float* dst, size_t n); \
  void encode_##name(const float* src, std::byte* dst, size_t n)

// codec_plain.cpp
HONE_CODEC(f32);
HONE_CODEC(f16);
HONE_CODEC(bf16);
HONE_CODEC(f64);
HONE_CODEC(i8);
HONE_CODEC(i16);
HONE_CODEC(i32);
HONE_CODEC(i64);
HONE_CODEC(u8);
HONE_CODEC(u16);
HONE_CODEC(u32);
HONE_CODEC(u64);
HONE_CODEC(bool);
// codec_minifloat.cpp
HONE_CODEC(f8_e4m3);
HONE_CODEC(f8_e5m2);
HONE_CODEC(f8_e8m0);
HONE_CODEC(f8_e4m3fnuz);
HONE_CODEC(f8_e5m2fnuz);
HONE_CODEC(f4);
HONE_CODEC(mxfp4);
// codec_simple.cpp
HONE_CODEC(q8_0);
HONE_CODEC(q4_0);
HONE_CODEC(q4_1);
HONE_CODEC(q5_0);
HONE_CODEC(q5_1);
HONE_CODEC(q2_0);
// codec_k.cpp
HONE_CODEC(q2_k);
HONE_CODEC(q3_k);
HONE_CODEC(q4_k);
HONE_CODEC(q5_k);
HONE_CODEC(q6_k);
HONE_CODEC(q8_k);
// codec_iq4.cpp
HONE_CODEC(iq4_nl);
HONE_CODEC(iq4_xs);
// codec_iq1.cpp
HONE_CODEC(iq1_s);
HONE_CODEC(iq1_m);
// codec_iq.cpp
HONE_CODEC(iq2_xxs);
HONE_CODEC(iq2_xs);
HONE_CODEC(iq2_s);
HONE_CODEC(iq3_xxs);
HONE_CODEC(iq3_s);
// codec_ternary.cpp
HONE_CODEC(tq1_0);
HONE_CODEC(tq2_0);
HONE_CODEC(q1_0);
HONE_CODEC(nvfp4);

#undef HONE_CODEC

}  // namespace hone::tensor
