// The vector vocabulary on AVX2 with FMA and F16C: a vector of 16 lanes is a pair of 256-bit registers.
// See vec_scalar.h for the meaning of each word.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hone::kernels::avx2 {

#define HONE_INLINE inline __attribute__((always_inline))
#define HONE_LAMBDA __attribute__((always_inline))

inline constexpr int kDotTile = 2;              // dot_rows: weight rows x activation rows
inline constexpr size_t kPrefetchBytes = 1024;  // ahead of the weights being read
inline constexpr int kTileRows = 6, kTileVectors = 1;

struct F32 {
  __m256 a, b;  // lanes 0-7, 8-15
};
using Bytes = __m128i;

HONE_INLINE F32 zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
HONE_INLINE F32 set1(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
// Lanes 0-7 are low, lanes 8-15 are high.
HONE_INLINE F32 pair_halves(float low, float high) {
  return {_mm256_set1_ps(low), _mm256_set1_ps(high)};
}
HONE_INLINE F32 load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
HONE_INLINE F32 load_partial(const float* p, size_t n) {
  float t[16] = {};
  std::memcpy(t, p, n * 4);
  return load(t);
}
HONE_INLINE void store(float* p, F32 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
HONE_INLINE void store_partial(float* p, F32 x, size_t n) {
  float t[16];
  store(t, x);
  std::memcpy(p, t, n * 4);
}
HONE_INLINE F32 add(F32 x, F32 y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
HONE_INLINE F32 sub(F32 x, F32 y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
HONE_INLINE F32 mul(F32 x, F32 y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
HONE_INLINE F32 div(F32 x, F32 y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
HONE_INLINE F32 fma(F32 x, F32 y, F32 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
HONE_INLINE F32 max(F32 x, F32 y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
HONE_INLINE F32 min(F32 x, F32 y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
HONE_INLINE F32 round_even(F32 x) {
  return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)};
}
HONE_INLINE __m256 scale_pow2(__m256 x, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1),
                rest = _mm256_sub_epi32(whole, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 p = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 q = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(x, p), q);
}
HONE_INLINE F32 scale_pow2(F32 x, F32 n) {
  return {scale_pow2(x.a, n.a), scale_pow2(x.b, n.b)};
}
HONE_INLINE float reduce_add(F32 x) {
  const __m256 s = _mm256_add_ps(x.a, x.b);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
HONE_INLINE float reduce_upper(F32 x) {
  return reduce_add({_mm256_setzero_ps(), x.b});
}  // lanes 8-15
HONE_INLINE float reduce_max(F32 x) {
  const __m256 s = _mm256_max_ps(x.a, x.b);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

HONE_INLINE float load_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return _cvtsh_ss(h);
}
struct TwoF32 {
  F32 first, second;
};
HONE_INLINE TwoF32 set1_halves(const uint8_t* p) {
  float both[4];
  _mm_storeu_ps(both, _mm_cvtph_ps(_mm_loadu_si32(p)));
  asm("" : "+m"(both));  // a broadcasting load spares the shuffle port
  return {set1(both[0]), set1(both[1])};
}
HONE_INLINE F32 set1_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  float one = _cvtsh_ss(h);
  asm("" : "+m"(one));
  return set1(one);
}
HONE_INLINE F32 load_f16(const uint8_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
HONE_INLINE __m256 widen_bf16(const uint8_t* p) {
  const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
HONE_INLINE F32 load_bf16(const uint8_t* p) {
  return {widen_bf16(p), widen_bf16(p + 16)};
}
HONE_INLINE void store_f16(uint8_t* p, F32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, 0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16), _mm256_cvtps_ph(x.b, 0));
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
  const __m128i two = _mm_set1_epi16(static_cast<short>(bits));
  const __m128i each = _mm_shuffle_epi8(two, _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  return _mm_cmpeq_epi8(_mm_and_si128(each, bit), bit);
}
HONE_INLINE Bytes spread_crumbs(const uint8_t* p) {
  uint32_t u;
  std::memcpy(&u, p, 4);
  const __m128i q = _mm_set1_epi32(static_cast<int>(u));
  const __m128i each = _mm_shuffle_epi8(q, _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
  // The field of byte i is at 2*(i%4); a 16-bit multiply by 64, 16, 4, 1 brings it to bits 6-7.
  const __m128i even =
      _mm_mullo_epi16(_mm_and_si128(each, _mm_set1_epi16(0xFF)), _mm_setr_epi16(64, 4, 64, 4, 64, 4, 64, 4));
  const __m128i odd = _mm_mullo_epi16(_mm_srli_epi16(each, 8), _mm_setr_epi16(16, 1, 16, 1, 16, 1, 16, 1));
  const __m128i three = _mm_set1_epi16(3);
  return _mm_or_si128(_mm_and_si128(_mm_srli_epi16(even, 6), three),
                      _mm_slli_epi16(_mm_and_si128(_mm_srli_epi16(odd, 6), three), 8));
}
HONE_INLINE F32 from_u8(Bytes a) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)))};
}
HONE_INLINE F32 from_i8(Bytes a) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(a)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(a, 8)))};
}

HONE_INLINE __m256i spread_32(uint32_t bits) {  // byte i is 255 where bit i is set
  const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i each = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), which);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  return _mm256_cmpeq_epi8(_mm256_and_si256(each, bit), bit);
}
// Rounded floats within 16 bits, as integers.
HONE_INLINE void store_i16(int16_t* p, F32 x) {
  const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(both, 0xD8));
}
// sum + products of 16-bit pairs.
HONE_INLINE __m256i dot_pairs(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

// Codes go through a byte shuffle, then widen and scale: no register table of 16 floats exists here.
struct NibbleMap {
  __m128i codes;
  __m256 scale, offset;
  bool has_offset;
};
HONE_INLINE NibbleMap nibble_map(const int8_t* codes, const float*, F32 scale) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)), scale.a, _mm256_setzero_ps(), false};
}
HONE_INLINE NibbleMap nibble_map(const int8_t* codes, const float*, F32 scale, F32 offset) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)), scale.a, offset.a, true};
}
HONE_INLINE F32 map_codes(const NibbleMap& m, __m128i index) {
  const F32 q = from_i8(_mm_shuffle_epi8(m.codes, index));
  if (m.has_offset) {  // known at compile time; the product is exact, so one FMA rounds like mul and add
    return {_mm256_fmadd_ps(q.a, m.scale, m.offset), _mm256_fmadd_ps(q.b, m.scale, m.offset)};
  }
  return {_mm256_mul_ps(q.a, m.scale), _mm256_mul_ps(q.b, m.scale)};
}
HONE_INLINE F32 map_low(const NibbleMap& m, Bytes b) {
  return map_codes(m, _mm_and_si128(b, _mm_set1_epi8(15)));
}
HONE_INLINE F32 map_high(const NibbleMap& m, Bytes b) {
  return map_codes(m, _mm_and_si128(_mm_srli_epi16(b, 4), _mm_set1_epi8(15)));
}

HONE_INLINE void store_bytes(uint8_t* p, Bytes a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a);
}
HONE_INLINE Bytes lookup(Bytes table, Bytes index) {
  return _mm_shuffle_epi8(table, index);
}
HONE_INLINE void store_i8(uint8_t* p, F32 x) {
  const __m256i words = _mm256_permute4x64_epi64(
      _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)), 0xD8);
  store_bytes(p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
HONE_INLINE void widen_codes(const uint8_t* p, int centre, int16_t* to) {
  const __m256i words = _mm256_cvtepu8_epi16(load_bytes(p));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_sub_epi16(words, _mm256_set1_epi16(static_cast<short>(centre))));
}

struct I32 {
  __m256i a, b;
};
HONE_INLINE I32 set1_int(int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
HONE_INLINE F32 to_f32(I32 x) {
  return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
inline constexpr int kDenseRows = 3, kDenseVectors = 1;
struct PairedDot {
  using Weights = I32;
  static HONE_INLINE Weights load(const uint8_t* p) {
    const auto* v = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static HONE_INLINE __m256i splat(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
};
// Keeps the compiler from collecting all products of a block before it adds them, which spills them.
HONE_INLINE I32 settled(__m256i a, __m256i b) {
  asm("" : "+x"(a), "+x"(b));
  return {a, b};
}
// Unsigned codes up to kTop times codes in [-127, 127]: pairs add up in 16 bits, without saturation for kFlush
// steps, and then in 32.
template <int kTop>
struct ByteDot : PairedDot {
  static constexpr size_t kCodeBytes = 1;
  static constexpr int kFlush = kTop <= 15 ? 8 : kTop <= 31 ? 4 : 2;
  static_assert(kFlush * kTop * 254 <= 32767);
  using Part = I32;
  static HONE_INLINE Part first(Weights w, __m256i x) {
    return {_mm256_maddubs_epi16(w.a, x), _mm256_maddubs_epi16(w.b, x)};
  }
  static HONE_INLINE Part step(Part part, Weights w, __m256i x) {
    const Part p = first(w, x);
    return settled(_mm256_add_epi16(part.a, p.a), _mm256_add_epi16(part.b, p.b));
  }
  static HONE_INLINE I32 flush(I32 sum, Part part) {
    const __m256i one = _mm256_set1_epi16(1);
    return settled(dot_pairs(sum.a, part.a, one), dot_pairs(sum.b, part.b, one));
  }
};
struct WordDot : PairedDot {
  static constexpr size_t kCodeBytes = 2;
  static constexpr int kFlush = 0;
  static HONE_INLINE I32 step(I32 sum, Weights w, __m256i x) {
    return settled(dot_pairs(sum.a, w.a, x), dot_pairs(sum.b, w.b, x));
  }
};
inline constexpr int kByteTops[] = {15, 31, 63};

HONE_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

HONE_INLINE void transpose8(const float* src, size_t ld_src, float* dst, size_t ld_dst) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(src + static_cast<size_t>(i) * ld_src);
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    r[4 * i + 0] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
  }
  for (int c = 0; c < 4; ++c) {
    _mm256_storeu_ps(dst + static_cast<size_t>(c) * ld_dst, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
    _mm256_storeu_ps(dst + static_cast<size_t>(c + 4) * ld_dst, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
  }
}
HONE_INLINE void transpose16(const float* src, size_t ld_src, float* dst, size_t ld_dst) {
  for (size_t i = 0; i < 16; i += 8)
    for (size_t j = 0; j < 16; j += 8) transpose8(src + i * ld_src + j, ld_src, dst + j * ld_dst + i, ld_dst);
}

inline constexpr int kRowsTogether = 3, kKeysTogether = 2, kValueVectors = 2;
using Partial = __m256;
HONE_INLINE Partial no_partial() {
  return _mm256_setzero_ps();
}
HONE_INLINE Partial multiply_add(F32 a, F32 b, Partial sum) {
  return _mm256_fmadd_ps(a.b, b.b, _mm256_fmadd_ps(a.a, b.a, sum));
}
using Folded = __m256;  // in each half: two parts of the first sum, two of the second
HONE_INLINE Folded fold(Partial a, Partial b) {
  const __m256 cross = _mm256_castpd_ps(_mm256_shuffle_pd(_mm256_castps_pd(a), _mm256_castps_pd(b), 0x5));
  return _mm256_add_ps(_mm256_blend_ps(a, b, 0xCC), cross);
}
HONE_INLINE __m256 sum_four_folded(const Folded* f) {
  const __m256 low = _mm256_add_ps(_mm256_shuffle_ps(f[0], f[1], 0x88), _mm256_shuffle_ps(f[0], f[1], 0xDD));
  const __m256 high = _mm256_add_ps(_mm256_shuffle_ps(f[2], f[3], 0x88), _mm256_shuffle_ps(f[2], f[3], 0xDD));
  return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}
HONE_INLINE F32 sum_folded(const Folded (&f)[8]) {
  return {sum_four_folded(f), sum_four_folded(f + 4)};
}

}  // namespace hone::kernels::avx2
