// What the integer product of many rows (dense.inc) needs of an instruction set beyond vec_*.h; in plain C++, the
// definition of each word.
//   kDenseRows x 16 kDenseVectors   the register tile: activation rows x weight rows
//   Dot::step     adds the products of a step, 4 signed bytes (or 2 words) a lane of weights with those of one
//                 activation row, to 32-bit sums
//   kRaise        activation bytes are stored raised by reach + 1, so unsigned
//   kFlush        steps until partial sums must go to 32 bits; 0: sums are there at once
//   kByteKernels  pairs (bound of |weight code|, reach of activations) that have byte products, best first

inline constexpr int kDenseRows = 4, kDenseVectors = 1;
inline constexpr bool kRaise = true;

struct I32 {
  int32_t v[16];
};
HONE_INLINE I32 set1_int(int32_t x) {
  I32 r;
  for (int32_t& lane : r.v) lane = x;
  return r;
}
HONE_INLINE I32 load_int(const int32_t* p) {
  I32 r;
  std::memcpy(r.v, p, 64);
  return r;
}
// p[0..15] = -x
HONE_INLINE void store_negated(int32_t* p, I32 x) {
  for (int i = 0; i < 16; ++i) p[i] = -x.v[i];
}
HONE_INLINE F32 to_f32(I32 x) {
  return each([&](int i) { return static_cast<float>(x.v[i]); });
}
struct PlainDot {
  static constexpr int kFlush = 0;
  static HONE_INLINE const uint8_t* load(const uint8_t* p) { return p; }
  static HONE_INLINE const uint8_t* splat(const uint8_t* p) { return p; }
};
template <int kBound, int kReach>
struct ByteDot : PlainDot {
  static constexpr size_t kCodeBytes = 1;
  static HONE_INLINE I32 step(I32 sum, const uint8_t* w, const uint8_t* x) {
    for (int i = 0; i < 64; ++i) sum.v[i / 4] += int32_t{static_cast<int8_t>(w[i])} * x[i % 4];
    return sum;
  }
};
struct WordDot : PlainDot {
  static constexpr size_t kCodeBytes = 2;
  static HONE_INLINE I32 step(I32 sum, const uint8_t* w, const uint8_t* x) {
    int16_t weights[32], values[2];
    std::memcpy(weights, w, 64);
    std::memcpy(values, x, 4);
    for (int i = 0; i < 32; ++i) sum.v[i / 2] += int32_t{weights[i]} * values[i % 2];
    return sum;
  }
};
struct CodeSums {
  int first, second;
};
struct ByteKernel {
  int bound, reach;
};
inline constexpr ByteKernel kByteKernels[] = {{128, 127}};

// 64 bytes less `by`.
HONE_INLINE void lower_line(uint8_t* p, int by) {
  for (int i = 0; i < 64; ++i) p[i] = static_cast<uint8_t>(p[i] - by);
}
// 16 unsigned codes less `by`, as words.
HONE_INLINE void widen_line(const uint8_t* p, int by, int16_t* to) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<int16_t>(p[i] - by);
}

// The largest magnitude of 32; infinite where something is not finite.
HONE_INLINE float largest_magnitude(F32 low, F32 high) {
  float top = 0;
  for (int i = 0; i < 16; ++i)
    for (const float x : {std::fabs(low.v[i]), std::fabs(high.v[i])}) top = x <= top || top != top ? top : x;
  return top;
}
// Codes of 32 activations, raised by `raise` as bytes; sums of the first and last 16, not raised.
template <bool kWords>
HONE_INLINE CodeSums round_codes(F32 low, F32 high, float inverse, int raise, uint8_t* codes) {
  CodeSums sums{0, 0};
  for (int i = 0; i < 32; ++i) {
    const float x = (i < 16 ? low.v[i] : high.v[i - 16]) * inverse;
    const int code = x >= -32767.0f && x <= 32767.0f ? static_cast<int>(std::nearbyintf(x)) : 0;
    (i < 16 ? sums.first : sums.second) += code;
    if constexpr (kWords) {
      const auto word = static_cast<int16_t>(code);
      std::memcpy(codes + 2 * i, &word, 2);
    } else {
      codes[i] = static_cast<uint8_t>(code + raise);
    }
  }
  return sums;
}
