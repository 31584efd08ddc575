// The vector vocabulary on 64-bit ARM: a vector of 16 lanes is four 128-bit registers. Compiled three times: for
// what every such processor has (neon), with the dot product of bytes (neon_dot), and with products of small
// matrices of bytes as well (neon_i8mm); HONE_NEON names the variant. See vec_scalar.h for the meaning of each word.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define HONE_NEON(name) neon_i8mm##name
#define HONE_NEON_ISA Isa::kNeonI8mm
#elif defined(__ARM_FEATURE_DOTPROD)
#define HONE_NEON(name) neon_dot##name
#define HONE_NEON_ISA Isa::kNeonDot
#else
#define HONE_NEON(name) neon##name
#define HONE_NEON_ISA Isa::kNeon
#endif

namespace hone::kernels::HONE_NEON() {

#define HONE_INLINE inline __attribute__((always_inline))
#define HONE_LAMBDA __attribute__((always_inline))

inline constexpr int kDotTile = 2;                     // dot_rows: weight rows x activation rows
inline constexpr size_t kPrefetchBytes = 512;          // ahead of the weights being read
inline constexpr int kTileRows = 6, kTileVectors = 1;  // 24 of the 32 registers hold sums

struct F32 {  // members, not an array: the compiler keeps them in registers
  float32x4_t a, b, c, d;
};
using Bytes = uint8x16_t;

template <typename F>
HONE_INLINE F32 quarters(F f, F32 x) {
  return {f(x.a), f(x.b), f(x.c), f(x.d)};
}
template <typename F>
HONE_INLINE F32 quarters(F f, F32 x, F32 y) {
  return {f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d)};
}

HONE_INLINE F32 set1(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {v, v, v, v};
}
HONE_INLINE F32 zero() {
  return set1(0.0f);
}
// Lanes 0-7 are low, lanes 8-15 are high.
HONE_INLINE F32 pair_halves(float low, float high) {
  const float32x4_t l = vdupq_n_f32(low), h = vdupq_n_f32(high);
  return {l, l, h, h};
}
HONE_INLINE F32 load(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
HONE_INLINE F32 load_partial(const float* p, size_t n) {
  float t[16] = {};
  std::memcpy(t, p, n * 4);
  return load(t);
}
HONE_INLINE void store(float* p, F32 x) {
  vst1q_f32(p, x.a);
  vst1q_f32(p + 4, x.b);
  vst1q_f32(p + 8, x.c);
  vst1q_f32(p + 12, x.d);
}
HONE_INLINE void store_partial(float* p, F32 x, size_t n) {
  float t[16];
  store(t, x);
  std::memcpy(p, t, n * 4);
}
HONE_INLINE F32 add(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vaddq_f32(p, q); }, x, y);
}
HONE_INLINE F32 sub(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vsubq_f32(p, q); }, x, y);
}
HONE_INLINE F32 mul(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vmulq_f32(p, q); }, x, y);
}
HONE_INLINE F32 div(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vdivq_f32(p, q); }, x, y);
}
HONE_INLINE F32 fma(F32 x, F32 y, F32 z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
// NaN in either operand stays, where x86 keeps only that of the second.
HONE_INLINE F32 max(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vmaxq_f32(p, q); }, x, y);
}
HONE_INLINE F32 min(F32 x, F32 y) {
  return quarters([](float32x4_t p, float32x4_t q) HONE_LAMBDA { return vminq_f32(p, q); }, x, y);
}
HONE_INLINE F32 round_even(F32 x) {
  return quarters([](float32x4_t p) HONE_LAMBDA { return vrndnq_f32(p); }, x);
}
HONE_INLINE F32 scale_pow2(F32 x, F32 n) {
  return quarters(
      [](float32x4_t p, float32x4_t q) HONE_LAMBDA {
        const int32x4_t whole = vcvtq_s32_f32(q), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
        const int32x4_t bias = vdupq_n_s32(127);
        const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
        const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
        return vmulq_f32(vmulq_f32(p, first), second);
      },
      x, n);
}
HONE_INLINE float sum_lanes(float32x4_t x) {
  return vaddv_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)));
}
HONE_INLINE float reduce_add(F32 x) {
  return sum_lanes(vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d)));
}
HONE_INLINE float reduce_upper(F32 x) {
  return sum_lanes(vaddq_f32(x.c, x.d));
}  // lanes 8-15
HONE_INLINE float reduce_max(F32 x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.b), vmaxq_f32(x.c, x.d)));
}

HONE_INLINE float load_half(const uint8_t* p) {
  __fp16 h;
  std::memcpy(&h, p, 2);
  return h;
}
HONE_INLINE F32 set1_half(const uint8_t* p) {
  return set1(load_half(p));
}
struct TwoF32 {
  F32 first, second;
};
HONE_INLINE TwoF32 set1_halves(const uint8_t* p) {
  return {set1_half(p), set1_half(p + 2)};
}
HONE_INLINE F32 load_f16(const uint8_t* p) {
  const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(p)), high = vreinterpretq_f16_u8(vld1q_u8(p + 16));
  return {vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
          vcvt_high_f32_f16(high)};
}
HONE_INLINE F32 load_bf16(const uint8_t* p) {
  const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p)), high = vreinterpretq_u16_u8(vld1q_u8(p + 16));
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16)), vreinterpretq_f32_u32(vshll_high_n_u16(low, 16)),
          vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(high, 16))};
}
HONE_INLINE void store_f16(uint8_t* p, F32 x) {  // round to nearest even
  vst1q_u8(p, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.a), x.b)));
  vst1q_u8(p + 16, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.c), x.d)));
}

HONE_INLINE Bytes load_bytes(const uint8_t* p) {
  return vld1q_u8(p);
}
HONE_INLINE void store_bytes(uint8_t* p, Bytes a) {
  vst1q_u8(p, a);
}
// Bytes 0-7 and 8-15 as two little-endian numbers.
HONE_INLINE Bytes make_bytes(uint64_t low, uint64_t high) {
  return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
}
HONE_INLINE Bytes set1_byte(uint8_t x) {
  return vdupq_n_u8(x);
}
HONE_INLINE Bytes band(Bytes a, Bytes b) {
  return vandq_u8(a, b);
}
HONE_INLINE Bytes bor(Bytes a, Bytes b) {
  return vorrq_u8(a, b);
}
HONE_INLINE Bytes bsub(Bytes a, Bytes b) {
  return vsubq_u8(a, b);
}
template <int N>
HONE_INLINE Bytes shr(Bytes a) {
  if constexpr (N == 0)
    return a;
  else
    return vshrq_n_u8(a, N);
}
template <int N>
HONE_INLINE Bytes shl(Bytes a) {
  return vshlq_n_u8(a, N);
}
HONE_INLINE Bytes lookup(Bytes table, Bytes index) {  // an index from 16 on gives 0
  return vqtbl1q_u8(table, index);
}
HONE_INLINE Bytes spread_bits(uint16_t bits) {  // byte i is 255 where bit i is set
  const Bytes each = vcombine_u8(vdup_n_u8(static_cast<uint8_t>(bits)), vdup_n_u8(static_cast<uint8_t>(bits >> 8)));
  return vtstq_u8(each, vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ull)));
}
// Each byte of p[0..3] four times over the two bits at 2*(i%4): values 0..3 (Q2_0).
HONE_INLINE Bytes spread_crumbs(const uint8_t* p) {
  uint32_t u;
  std::memcpy(&u, p, 4);
  const Bytes each = lookup(vreinterpretq_u8_u32(vdupq_n_u32(u)), make_bytes(0x0101010100000000, 0x0303030302020202));
  return vandq_u8(vshlq_u8(each, vreinterpretq_s8_u32(vdupq_n_u32(0xFAFCFE00))), vdupq_n_u8(3));
}

// A table lookup puts byte 4 q + i into the top of lane i, and the conversion divides by 2^24: no widening.
template <int kQuarter>
HONE_INLINE Bytes to_tops(Bytes a) {
  constexpr uint64_t kFirst = 0x00FFFFFFull | uint64_t{4 * kQuarter} << 24 | 0x00FFFFFFull << 32 |
                              uint64_t{4 * kQuarter + 1} << 56;
  return lookup(a, make_bytes(kFirst, kFirst + 0x0200000002000000ull));
}
HONE_INLINE F32 from_u8(Bytes a) {
  return {vcvtq_n_f32_u32(vreinterpretq_u32_u8(to_tops<0>(a)), 24),
          vcvtq_n_f32_u32(vreinterpretq_u32_u8(to_tops<1>(a)), 24),
          vcvtq_n_f32_u32(vreinterpretq_u32_u8(to_tops<2>(a)), 24),
          vcvtq_n_f32_u32(vreinterpretq_u32_u8(to_tops<3>(a)), 24)};
}
HONE_INLINE F32 from_i8(Bytes a) {
  return {vcvtq_n_f32_s32(vreinterpretq_s32_u8(to_tops<0>(a)), 24),
          vcvtq_n_f32_s32(vreinterpretq_s32_u8(to_tops<1>(a)), 24),
          vcvtq_n_f32_s32(vreinterpretq_s32_u8(to_tops<2>(a)), 24),
          vcvtq_n_f32_s32(vreinterpretq_s32_u8(to_tops<3>(a)), 24)};
}

struct NibbleMap {
  Bytes codes;
  float32x4_t scale, offset;
  bool has_offset;
};
HONE_INLINE NibbleMap nibble_map(const int8_t* codes, const float*, F32 scale) {
  return {vreinterpretq_u8_s8(vld1q_s8(codes)), scale.a, vdupq_n_f32(0), false};
}
HONE_INLINE NibbleMap nibble_map(const int8_t* codes, const float*, F32 scale, F32 offset) {
  return {vreinterpretq_u8_s8(vld1q_s8(codes)), scale.a, offset.a, true};
}
HONE_INLINE F32 map_codes(const NibbleMap& m, Bytes index) {
  const F32 q = from_i8(lookup(m.codes, index));
  const F32 scale{m.scale, m.scale, m.scale, m.scale};
  if (m.has_offset)  // known at compile time; the product is exact, so one FMA rounds like mul and add
    return fma(q, scale, {m.offset, m.offset, m.offset, m.offset});
  return mul(q, scale);
}
HONE_INLINE F32 map_low(const NibbleMap& m, Bytes b) {
  return map_codes(m, band(b, set1_byte(15)));
}
HONE_INLINE F32 map_high(const NibbleMap& m, Bytes b) {
  return map_codes(m, shr<4>(b));
}

struct I32 {
  int32x4_t a, b, c, d;
};
HONE_INLINE I32 set1_int(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {v, v, v, v};
}
HONE_INLINE I32 to_int(F32 x) {  // of rounded floats; NaN becomes 0, what is too large the largest
  return {vcvtq_s32_f32(x.a), vcvtq_s32_f32(x.b), vcvtq_s32_f32(x.c), vcvtq_s32_f32(x.d)};
}
HONE_INLINE F32 to_f32(I32 x) {
  return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
struct Words16 {
  int16x8_t low, high;
};
HONE_INLINE Words16 to_words(F32 x) {
  const I32 i = to_int(x);
  return {vqmovn_high_s32(vqmovn_s32(i.a), i.b), vqmovn_high_s32(vqmovn_s32(i.c), i.d)};
}
HONE_INLINE void store_i8(uint8_t* p, F32 x) {
  const Words16 w = to_words(x);
  vst1q_u8(p, vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(w.low), w.high)));
}
HONE_INLINE void store_i16(int16_t* p, F32 x) {
  const Words16 w = to_words(x);
  vst1q_s16(p, w.low);
  vst1q_s16(p + 8, w.high);
}
HONE_INLINE void widen_codes(const uint8_t* p, int centre, int16_t* to) {
  const Bytes codes = load_bytes(p);
  const int16x8_t less = vdupq_n_s16(static_cast<int16_t>(centre));
  vst1q_s16(to, vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))), less));
  vst1q_s16(to + 8, vsubq_s16(vreinterpretq_s16_u16(vmovl_high_u8(codes)), less));
}

HONE_INLINE void prefetch(const void* p) {
  __builtin_prefetch(p);
}

HONE_INLINE void transpose4(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
  const auto pairs = [](float32x4_t x) HONE_LAMBDA { return vreinterpretq_f64_f32(x); };
  const auto floats = [](float64x2_t x) HONE_LAMBDA { return vreinterpretq_f32_f64(x); };
  const float64x2_t p = pairs(vtrn1q_f32(a, b)), q = pairs(vtrn2q_f32(a, b));
  const float64x2_t r = pairs(vtrn1q_f32(c, d)), s = pairs(vtrn2q_f32(c, d));
  a = floats(vtrn1q_f64(p, r));
  b = floats(vtrn1q_f64(q, s));
  c = floats(vtrn2q_f64(p, r));
  d = floats(vtrn2q_f64(q, s));
}
HONE_INLINE void transpose16(const float* src, size_t ld_src, float* dst, size_t ld_dst) {
  for (size_t i = 0; i < 16; i += 4)
    for (size_t j = 0; j < 16; j += 4) {
      const float* from = src + i * ld_src + j;
      float32x4_t a = vld1q_f32(from), b = vld1q_f32(from + ld_src), c = vld1q_f32(from + 2 * ld_src),
                  d = vld1q_f32(from + 3 * ld_src);
      transpose4(a, b, c, d);
      float* to = dst + j * ld_dst + i;
      vst1q_f32(to, a);
      vst1q_f32(to + ld_dst, b);
      vst1q_f32(to + 2 * ld_dst, c);
      vst1q_f32(to + 3 * ld_dst, d);
    }
}

inline constexpr int kRowsTogether = 3, kKeysTogether = 2, kValueVectors = 2;
inline constexpr size_t kAttentionAhead = 512;
using Partial = float32x4_t;
HONE_INLINE Partial no_partial() {
  return vdupq_n_f32(0);
}
HONE_INLINE Partial multiply_add(F32 x, F32 y, Partial sum) {
  return vfmaq_f32(vfmaq_f32(vfmaq_f32(vfmaq_f32(sum, x.a, y.a), x.b, y.b), x.c, y.c), x.d, y.d);
}
using Folded = float32x4_t;  // two parts of the first sum, two of the second
HONE_INLINE Folded fold(Partial a, Partial b) {
  return vpaddq_f32(a, b);
}
HONE_INLINE F32 sum_folded(const Folded (&f)[8]) {
  return {vpaddq_f32(f[0], f[1]), vpaddq_f32(f[2], f[3]), vpaddq_f32(f[4], f[5]), vpaddq_f32(f[6], f[7])};
}

}  // namespace hone::kernels::HONE_NEON()
