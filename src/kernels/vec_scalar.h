// The vector vocabulary in plain C++: what every kernel source is written in. A vector is 16 lanes on every
// instruction set, so that block formats (multiples of 16 elements) unpack the same way everywhere.
//   F32    16 floats              Bytes  16 unsigned bytes (integer work before widening)
//   NibbleMap  16 values, one per 4-bit code, already scaled: value = scale * code_value (+ offset)
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hone::kernels::scalar {

// Not forced inline here: the reference needs no speed, and the compiler takes minutes otherwise.
#define HONE_INLINE inline
#define HONE_LAMBDA

inline constexpr int kDotTile = 2;                     // dot_rows: weight rows x activation rows
inline constexpr size_t kPrefetchBytes = 0;            // ahead of the weights being read
inline constexpr int kTileRows = 4, kTileVectors = 1;  // GEMM register tile: rows x 16*vectors

struct F32 {
  float v[16];
};
struct Bytes {
  uint8_t v[16];
};

template <typename F>
HONE_INLINE F32 each(F f) {
  F32 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
template <typename F>
HONE_INLINE Bytes each_byte(F f) {
  Bytes r;
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<uint8_t>(f(i));
  return r;
}

HONE_INLINE F32 zero() {
  return each([](int) { return 0.0f; });
}
HONE_INLINE F32 set1(float x) {
  return each([=](int) { return x; });
}
// Lanes 0-7 are low, lanes 8-15 are high.
HONE_INLINE F32 pair_halves(float low, float high) {
  return each([=](int i) { return i < 8 ? low : high; });
}
HONE_INLINE F32 load(const float* p) {  // weights in files may lie unaligned
  F32 r;
  std::memcpy(r.v, p, 64);
  return r;
}
HONE_INLINE F32 load_partial(const float* p, size_t n) {  // n < 16; the rest is zero
  return each([=](int i) { return static_cast<size_t>(i) < n ? p[i] : 0.0f; });
}
HONE_INLINE void store(float* p, F32 a) {
  std::memcpy(p, a.v, 64);
}
HONE_INLINE void store_partial(float* p, F32 a, size_t n) {
  std::memcpy(p, a.v, n * 4);
}
HONE_INLINE F32 add(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] + b.v[i]; });
}
HONE_INLINE F32 sub(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] - b.v[i]; });
}
HONE_INLINE F32 mul(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] * b.v[i]; });
}
HONE_INLINE F32 div(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] / b.v[i]; });
}
HONE_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return each([=](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
HONE_INLINE F32 max(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
HONE_INLINE F32 min(F32 a, F32 b) {
  return each([=](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
HONE_INLINE F32 round_even(F32 a) {
  return each([=](int i) { return std::nearbyintf(a.v[i]); });
}
// x * 2^n for integral n in [-252, 252], in two exact steps.
HONE_INLINE F32 scale_pow2(F32 x, F32 n) {
  return each([=](int i) {
    if (!(n.v[i] == n.v[i])) return n.v[i];
    const int half = static_cast<int>(n.v[i]) >> 1, rest = static_cast<int>(n.v[i]) - half;
    const uint32_t a = static_cast<uint32_t>(half + 127) << 23, b = static_cast<uint32_t>(rest + 127) << 23;
    float fa, fb;
    std::memcpy(&fa, &a, 4), std::memcpy(&fb, &b, 4);
    return x.v[i] * fa * fb;
  });
}
HONE_INLINE float reduce_add(F32 a) {
  float s[8];
  for (int i = 0; i < 8; ++i) s[i] = a.v[i] + a.v[i + 8];
  for (int n = 4; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) s[i] += s[i + n];
  return s[0];
}
HONE_INLINE float reduce_max(F32 a) {
  float m = a.v[0];
  for (float x : a.v) m = x > m ? x : m;
  return m;
}

HONE_INLINE float half_value(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  uint32_t u = sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (exponent == 31) u = sign | 0x7F800000u | (mantissa << 13);
  float f;
  if (exponent == 0) {
    f = static_cast<float>(mantissa) * 0x1p-24f;
    std::memcpy(&u, &f, 4);
    u |= sign;
  }
  std::memcpy(&f, &u, 4);
  return f;
}
HONE_INLINE float load_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return half_value(h);
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
  return each([=](int i) { return load_half(p + 2 * i); });
}
HONE_INLINE F32 load_bf16(const uint8_t* p) {
  return each([=](int i) {
    uint16_t h;
    std::memcpy(&h, p + 2 * i, 2);
    const uint32_t u = uint32_t{h} << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  });
}
HONE_INLINE void store_f16(uint8_t* p, F32 a) {  // round to nearest even
  for (int i = 0; i < 16; ++i) {
    uint32_t u;
    std::memcpy(&u, &a.v[i], 4);
    const uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
    uint32_t h;
    if (magnitude > 0x7F800000u) {
      h = 0x7E00u;
    } else if (magnitude >= 0x47800000u) {
      h = 0x7C00u;
    } else if (magnitude < 0x38800000u) {
      float f;
      std::memcpy(&f, &magnitude, 4);
      f += 0.5f;
      std::memcpy(&h, &f, 4);
      h -= 0x3F000000u;
    } else {
      h = (magnitude + 0xC8000FFFu + ((magnitude >> 13) & 1)) >> 13;
    }
    const uint16_t bits = static_cast<uint16_t>(sign | h);
    std::memcpy(p + 2 * i, &bits, 2);
  }
}

HONE_INLINE Bytes load_bytes(const uint8_t* p) {
  return each_byte([=](int i) { return p[i]; });
}
// Bytes 0-7 and 8-15 as two little-endian numbers.
HONE_INLINE Bytes make_bytes(uint64_t low, uint64_t high) {
  return each_byte([=](int i) { return (i < 8 ? low >> (8 * i) : high >> (8 * (i - 8))) & 255; });
}
HONE_INLINE Bytes set1_byte(uint8_t x) {
  return each_byte([=](int) { return x; });
}
HONE_INLINE Bytes band(Bytes a, Bytes b) {
  return each_byte([=](int i) { return a.v[i] & b.v[i]; });
}
HONE_INLINE Bytes bor(Bytes a, Bytes b) {
  return each_byte([=](int i) { return a.v[i] | b.v[i]; });
}
HONE_INLINE Bytes bsub(Bytes a, Bytes b) {
  return each_byte([=](int i) { return a.v[i] - b.v[i]; });
}
template <int N>
HONE_INLINE Bytes shr(Bytes a) {
  return each_byte([=](int i) { return a.v[i] >> N; });
}
template <int N>
HONE_INLINE Bytes shl(Bytes a) {
  return each_byte([=](int i) { return a.v[i] << N; });
}
HONE_INLINE Bytes spread_bits(uint16_t bits) {  // byte i is 255 where bit i is set
  return each_byte([=](int i) { return (bits >> i) & 1 ? 255 : 0; });
}
// Each byte of p[0..1] four times over the two bits at 2*(i%4): values 0..3 (Q2_0).
HONE_INLINE Bytes spread_crumbs(const uint8_t* p) {
  return each_byte([=](int i) { return (p[i / 4] >> (2 * (i % 4))) & 3; });
}
HONE_INLINE F32 from_u8(Bytes a) {
  return each([=](int i) { return static_cast<float>(a.v[i]); });
}
HONE_INLINE F32 from_i8(Bytes a) {
  return each([=](int i) { return static_cast<float>(static_cast<int8_t>(a.v[i])); });
}

struct NibbleMap {
  F32 table;
};
// codes: 16 integers; floats: the same as floats.
HONE_INLINE NibbleMap nibble_map(const int8_t*, const float* floats, F32 scale) {
  return {mul(load(floats), scale)};
}
HONE_INLINE NibbleMap nibble_map(const int8_t*, const float* floats, F32 scale, F32 offset) {
  return {add(mul(load(floats), scale), offset)};
}
HONE_INLINE F32 map_low(const NibbleMap& m, Bytes b) {
  return each([&](int i) { return m.table.v[b.v[i] & 15]; });
}
HONE_INLINE F32 map_high(const NibbleMap& m, Bytes b) {
  return each([&](int i) { return m.table.v[b.v[i] >> 4]; });
}

HONE_INLINE void store_bytes(uint8_t* p, Bytes a) {
  std::memcpy(p, a.v, 16);
}
HONE_INLINE Bytes lookup(Bytes table, Bytes index) {  // indices below 16
  return each_byte([&](int i) { return table.v[index.v[i]]; });
}
HONE_INLINE void store_i8(uint8_t* p, F32 a) {  // rounded floats within 8 bits
  for (int i = 0; i < 16; ++i) p[i] = static_cast<uint8_t>(std::isfinite(a.v[i]) ? static_cast<int>(a.v[i]) : 0);
}
HONE_INLINE void store_i16(int16_t* p, F32 a) {  // rounded floats within 16 bits
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(std::isfinite(a.v[i]) ? static_cast<int>(a.v[i]) : 0);
}
// 16 unsigned codes less their centre, as words.
HONE_INLINE void widen_codes(const uint8_t* p, int centre, int16_t* to) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<int16_t>(p[i] - centre);
}

struct I32 {
  int32_t v[16];
};
HONE_INLINE I32 set1_int(int32_t x) {
  I32 r;
  for (int32_t& lane : r.v) lane = x;
  return r;
}
HONE_INLINE F32 to_f32(I32 x) {
  return each([&](int i) { return static_cast<float>(x.v[i]); });
}
// The product of many rows (dense.inc): activation rows x 16*vectors weight rows, and how codes multiply.
// A step takes 4 bytes a lane: 4 unsigned bytes of weights times signed bytes, or 2 words times words.
// kFlush: steps until partial sums must go to 32 bits; 0: sums are there at once.
// kByteTops: bounds of weight codes that have byte products of their own, ascending.
inline constexpr int kDenseRows = 4, kDenseVectors = 1;
template <int kTop>
struct ByteDot {
  static constexpr size_t kCodeBytes = 1;
  static constexpr int kFlush = 0;
  static HONE_INLINE const uint8_t* load(const uint8_t* p) { return p; }
  static HONE_INLINE const uint8_t* splat(const uint8_t* p) { return p; }
  static HONE_INLINE I32 step(I32 sum, const uint8_t* w, const uint8_t* x) {
    for (int i = 0; i < 64; ++i) sum.v[i / 4] += int32_t{w[i]} * static_cast<int8_t>(x[i % 4]);
    return sum;
  }
};
struct WordDot {
  static constexpr size_t kCodeBytes = 2;
  static constexpr int kFlush = 0;
  static HONE_INLINE const uint8_t* load(const uint8_t* p) { return p; }
  static HONE_INLINE const uint8_t* splat(const uint8_t* p) { return p; }
  static HONE_INLINE I32 step(I32 sum, const uint8_t* w, const uint8_t* x) {
    int16_t weights[32], values[2];
    std::memcpy(weights, w, 64);
    std::memcpy(values, x, 4);
    for (int i = 0; i < 32; ++i) sum.v[i / 2] += int32_t{weights[i]} * values[i % 2];
    return sum;
  }
};
inline constexpr int kByteTops[] = {255};

HONE_INLINE void prefetch(const void*) {}

// dst[16][ld_dst] = transpose of src[16][ld_src], floats.
HONE_INLINE void transpose16(const float* src, size_t ld_src, float* dst, size_t ld_dst) {
  for (size_t r = 0; r < 16; ++r)
    for (size_t c = 0; c < 16; ++c) dst[c * ld_dst + r] = src[r * ld_src + c];
}

// Attention: sums of a row's products before they are added up across lanes. fold() joins two, sum_folded()
// turns eight (of 16 rows) into the 16 sums. kRowsTogether query rows share a loaded key.
inline constexpr int kRowsTogether = 4, kKeysTogether = 2, kValueVectors = 2;
using Partial = F32;
HONE_INLINE Partial no_partial() {
  return zero();
}
HONE_INLINE Partial multiply_add(F32 a, F32 b, Partial sum) {
  return fma(a, b, sum);
}
struct Folded {
  float v[2];
};
HONE_INLINE Folded fold(Partial a, Partial b) {
  return {{reduce_add(a), reduce_add(b)}};
}
HONE_INLINE F32 sum_folded(const Folded (&f)[8]) {
  return each([&](int i) { return f[i / 2].v[i % 2]; });
}

}  // namespace hone::kernels::scalar
