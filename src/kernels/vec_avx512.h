// The vector vocabulary on AVX-512 (F, BW, DQ, VL, VBMI). See vec_scalar.h for the meaning of each word.
// A 4-bit code goes through one 16-entry register table that already holds the scaled values: two
// permutes give 32 weights, without conversions or multiplications.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hone::kernels::avx512 {

#define HONE_INLINE inline __attribute__((always_inline))
#define HONE_LAMBDA __attribute__((always_inline))

inline constexpr int kDotTile = 4;              // dot_rows: weight rows x activation rows
inline constexpr size_t kPrefetchBytes = 1024;  // ahead of the weights being read
inline constexpr int kTileRows = 12, kTileVectors = 2;

using F32 = __m512;
using Bytes = __m128i;

HONE_INLINE F32 zero() {
  return _mm512_setzero_ps();
}
HONE_INLINE F32 set1(float x) {
  return _mm512_set1_ps(x);
}
// Lanes 0-7 are low, lanes 8-15 are high.
HONE_INLINE F32 pair_halves(float low, float high) {
  return _mm512_mask_blend_ps(0xFF00, _mm512_set1_ps(low), _mm512_set1_ps(high));
}
HONE_INLINE F32 load(const float* p) {
  return _mm512_loadu_ps(p);
}
HONE_INLINE __mmask16 first(size_t n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
HONE_INLINE F32 load_partial(const float* p, size_t n) {
  return _mm512_maskz_loadu_ps(first(n), p);
}
HONE_INLINE void store(float* p, F32 a) {
  _mm512_storeu_ps(p, a);
}
HONE_INLINE void store_partial(float* p, F32 a, size_t n) {
  _mm512_mask_storeu_ps(p, first(n), a);
}
HONE_INLINE F32 add(F32 a, F32 b) {
  return _mm512_add_ps(a, b);
}
HONE_INLINE F32 sub(F32 a, F32 b) {
  return _mm512_sub_ps(a, b);
}
HONE_INLINE F32 mul(F32 a, F32 b) {
  return _mm512_mul_ps(a, b);
}
HONE_INLINE F32 div(F32 a, F32 b) {
  return _mm512_div_ps(a, b);
}
HONE_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return _mm512_fmadd_ps(a, b, c);
}
HONE_INLINE F32 max(F32 a, F32 b) {
  return _mm512_max_ps(a, b);
}
HONE_INLINE F32 min(F32 a, F32 b) {
  return _mm512_min_ps(a, b);
}
HONE_INLINE F32 round_even(F32 a) {
  return _mm512_roundscale_ps(a, 8);
}
HONE_INLINE F32 scale_pow2(F32 x, F32 n) {
  return _mm512_scalef_ps(x, n);
}
HONE_INLINE float reduce_add(F32 a) {
  const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
HONE_INLINE float reduce_upper(F32 a) {
  return _mm512_mask_reduce_add_ps(0xFF00, a);
}  // lanes 8-15
HONE_INLINE float reduce_max(F32 a) {
  return _mm512_reduce_max_ps(a);
}

HONE_INLINE float load_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return _cvtsh_ss(h);
}
// One or two adjacent halves in all lanes. They go through memory: a broadcasting load needs no shuffle
// port, and those are what unpacking is short of.
struct TwoF32 {
  F32 first, second;
};
HONE_INLINE TwoF32 set1_halves(const uint8_t* p) {
  float both[4];
  _mm_storeu_ps(both, _mm_cvtph_ps(_mm_loadu_si32(p)));
  asm("" : "+m"(both));
  return {_mm512_set1_ps(both[0]), _mm512_set1_ps(both[1])};
}
HONE_INLINE F32 set1_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  float one = _cvtsh_ss(h);
  asm("" : "+m"(one));
  return _mm512_set1_ps(one);
}
HONE_INLINE F32 load_f16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
HONE_INLINE F32 load_bf16(const uint8_t* p) {
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
HONE_INLINE void store_f16(uint8_t* p, F32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a, 0));
}

HONE_INLINE Bytes load_bytes(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
// Bytes 0-7 and 8-15 as two little-endian numbers.
HONE_INLINE Bytes make_bytes(uint64_t low, uint64_t high) {
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}
HONE_INLINE Bytes set1_byte(uint8_t x) {
  return _mm_set1_epi8(static_cast<char>(x));
}
HONE_INLINE Bytes band(Bytes a, Bytes b) {
  return _mm_and_si128(a, b);
}
HONE_INLINE Bytes bor(Bytes a, Bytes b) {
  return _mm_or_si128(a, b);
}
HONE_INLINE Bytes bsub(Bytes a, Bytes b) {
  return _mm_sub_epi8(a, b);
}
template <int N>
HONE_INLINE Bytes shr(Bytes a) {
  return _mm_and_si128(_mm_srli_epi16(a, N), _mm_set1_epi8(static_cast<char>(0xFF >> N)));
}
template <int N>
HONE_INLINE Bytes shl(Bytes a) {
  return _mm_and_si128(_mm_slli_epi16(a, N), _mm_set1_epi8(static_cast<char>(0xFF << N)));
}
HONE_INLINE Bytes spread_bits(uint16_t bits) {
  return _mm_movm_epi8(bits);
}
HONE_INLINE Bytes spread_crumbs(const uint8_t* p) {
  uint32_t u;
  std::memcpy(&u, p, 4);
  const __m128i offsets = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm_and_si128(_mm_multishift_epi64_epi8(offsets, _mm_set1_epi32(static_cast<int>(u))),
                       _mm_set1_epi8(3));
}
HONE_INLINE F32 from_u8(Bytes a) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(a));
}
HONE_INLINE F32 from_i8(Bytes a) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(a));
}

HONE_INLINE __m256i spread_32(uint32_t bits) {
  return _mm256_movm_epi8(bits);
}  // byte i is 255 where bit i is set
// Rounded floats within 16 bits, as integers.
HONE_INLINE void store_i16(int16_t* p, F32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(a)));
}
// sum + products of 16-bit pairs.
HONE_INLINE __m256i dot_pairs(__m256i sum, __m256i a, __m256i b) {
  return _mm256_dpwssd_epi32(sum, a, b);
}

struct NibbleMap {
  F32 table;
};
HONE_INLINE NibbleMap nibble_map(const int8_t*, const float* floats, F32 scale) {
  return {_mm512_mul_ps(_mm512_loadu_ps(floats), scale)};
}
HONE_INLINE NibbleMap nibble_map(const int8_t*, const float* floats, F32 scale, F32 offset) {
  return {_mm512_fmadd_ps(_mm512_loadu_ps(floats), scale, offset)};  // exact product: rounds like mul and add
}
// A permute reads the low four bits of each lane, so codes need no mask.
HONE_INLINE F32 map_low(const NibbleMap& m, Bytes b) {
  return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(b), m.table);
}
HONE_INLINE F32 map_high(const NibbleMap& m, Bytes b) {
  return _mm512_permutexvar_ps(_mm512_srli_epi32(_mm512_cvtepu8_epi32(b), 4), m.table);
}

HONE_INLINE void store_bytes(uint8_t* p, Bytes a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a);
}
HONE_INLINE Bytes lookup(Bytes table, Bytes index) {
  return _mm_shuffle_epi8(table, index);
}
HONE_INLINE void store_i8(uint8_t* p, F32 a) {
  store_bytes(p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a)));
}
HONE_INLINE void widen_codes(const uint8_t* p, int centre, int16_t* to) {
  const __m256i words = _mm256_cvtepu8_epi16(load_bytes(p));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_sub_epi16(words, _mm256_set1_epi16(static_cast<short>(centre))));
}

using I32 = __m512i;
HONE_INLINE I32 set1_int(int32_t x) {
  return _mm512_set1_epi32(x);
}
HONE_INLINE F32 to_f32(I32 x) {
  return _mm512_cvtepi32_ps(x);
}
inline constexpr int kDenseRows = 6, kDenseVectors = 2;
// Products of codes straight into 32-bit sums: 4 bytes or 2 words a lane.
struct DirectDot {
  static constexpr int kFlush = 0;
  using Part = I32;
  using Weights = __m512i;
  static HONE_INLINE Weights load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static HONE_INLINE Weights splat(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
};
template <int kTop>
struct ByteDot : DirectDot {
  static constexpr size_t kCodeBytes = 1;
  static HONE_INLINE I32 step(I32 sum, Weights w, Weights x) { return _mm512_dpbusd_epi32(sum, w, x); }
};
struct WordDot : DirectDot {
  static constexpr size_t kCodeBytes = 2;
  static HONE_INLINE I32 step(I32 sum, Weights w, Weights x) { return _mm512_dpwssd_epi32(sum, w, x); }
};
inline constexpr int kByteTops[] = {255};

HONE_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

HONE_INLINE void transpose16(const float* src, size_t ld_src, float* dst, size_t ld_dst) {
  __m512 r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(src + static_cast<size_t>(i) * ld_src);
  for (int i = 0; i < 8; ++i) {  // pairs of rows
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {  // r[4i + c] holds columns c, c+4, c+8, c+12 of rows 4i..4i+3
    const auto lo = [&](int k) { return _mm512_castps_pd(t[4 * i + k]); };
    r[4 * i + 0] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo(0), lo(2)));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo(0), lo(2)));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo(1), lo(3)));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo(1), lo(3)));
  }
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88),
                 b = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xDD),
                 e = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xDD);
    _mm512_storeu_ps(dst + static_cast<size_t>(c) * ld_dst, _mm512_shuffle_f32x4(a, b, 0x88));
    _mm512_storeu_ps(dst + static_cast<size_t>(c + 8) * ld_dst, _mm512_shuffle_f32x4(a, b, 0xDD));
    _mm512_storeu_ps(dst + static_cast<size_t>(c + 4) * ld_dst, _mm512_shuffle_f32x4(d, e, 0x88));
    _mm512_storeu_ps(dst + static_cast<size_t>(c + 12) * ld_dst, _mm512_shuffle_f32x4(d, e, 0xDD));
  }
}

inline constexpr int kRowsTogether = 4, kKeysTogether = 4, kValueVectors = 4;
using Partial = __m512;
HONE_INLINE Partial no_partial() {
  return _mm512_setzero_ps();
}
HONE_INLINE Partial multiply_add(F32 a, F32 b, Partial sum) {
  return _mm512_fmadd_ps(a, b, sum);
}
using Folded = __m512;  // in each quarter: two parts of the first sum, two of the second
HONE_INLINE Folded fold(Partial a, Partial b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_mask_blend_pd(0xAA, x, y)),
                       _mm512_castpd_ps(_mm512_shuffle_pd(x, y, 0x55)));
}
HONE_INLINE F32 sum_folded(const Folded (&f)[8]) {
  const auto four = [](F32 a, F32 b) HONE_LAMBDA {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
  };
  const auto across = [](F32 a, F32 b) HONE_LAMBDA {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  };
  return across(across(four(f[0], f[1]), four(f[2], f[3])), across(four(f[4], f[5]), four(f[6], f[7])));
}

}  // namespace hone::kernels::avx512
