// Searches for x ~ scale * code, sixteen groups at once: symmetric integers and the float codes, with scales
// that are stored as floats, as powers of two (E8M0) or as E4M3.
#pragma once

#include "quant/codes.h"
#include "quant/layout_group.h"

namespace hone::quant::HONE_QUANT_ISA {

// Symmetric integers of `bits` bits: -2^(bits-1) .. 2^(bits-1) - 1. index() is the stored code.
struct MiddleCodes {
  float least, most;
  explicit MiddleCodes(int bits)
      : least(-static_cast<float>(1 << (bits - 1))), most(static_cast<float>((1 << (bits - 1)) - 1)) {}
  static constexpr bool kBothSigns = true;  // of the scale: the codes are not symmetric
  static constexpr int kTargets = 10;
  float peak() const { return -least; }
  // Where the largest element is placed, as shares of the peak code.
  float target(int k) const {
    return (most < 4 ? 0.5f : most < 8 ? 0.65f : most < 64 ? 0.8f : 0.95f) + spread() * static_cast<float>(k);
  }
  float spread() const { return most < 4 ? 0.2f : most < 8 ? 0.08f : most < 64 ? 0.04f : 0.008f; }
  Lanes nearest(Lanes t) const { return round_whole(min(max(t, all(least)), all(most))); }
  Lanes index(Lanes q) const { return q - all(least); }
};

// E2M1: 0 .5 1 1.5 2 3 4 6 and their negatives.
struct E2M1Codes {
  explicit E2M1Codes(int) {}
  static constexpr bool kBothSigns = false;
  static constexpr int kTargets = 10;
  float peak() const { return 6; }
  float target(int k) const { return 0.6f + 0.1f * static_cast<float>(k); }
  Lanes nearest(Lanes t) const { return Fp4Codes::nearest(t); }
  Lanes index(Lanes q) const {
    const Lanes a = magnitude(q);
    const Lanes k = select_less(a, all(2.5f), a + a, select_less(a, all(5.0f), a + all(2.0f), all(7.0f)));
    return k + select_less(q, all(0.0f), all(8.0f), all(0.0f));
  }
};

// Floats of a byte: kMantissa bits of mantissa, kLeast the smallest normal power, largest value kPeak.
template <int kMantissa, int kLeast, int kPeak>
struct ByteFloatCodes {
  explicit ByteFloatCodes(int) {}
  static constexpr bool kBothSigns = false;
  static constexpr int kTargets = 8;  // one octave: the codes repeat in each
  static constexpr float kSmallest = kLeast == -6 ? 0x1p-6f : 0x1p-14f;
  float peak() const { return kPeak; }
  float target(int k) const { return 0.53f + 0.067f * static_cast<float>(k); }
  Lanes nearest(Lanes t) const {
    const Lanes a = min(magnitude(t), all(kPeak));
    const Lanes spacing = power_part(max(a, all(kSmallest))) * all(1.0f / (1 << kMantissa));
    const Lanes q = round_whole(a / spacing) * spacing;
    return select_less(t, all(0.0f), all(0.0f) - q, q);
  }
  // The number of a value is that of its power of two and its mantissa in steps, from the smallest normal on.
  Lanes index(Lanes q) const {
    const Lanes a = magnitude(q), power = power_part(max(a, all(kSmallest)));
    float powers[kLanes], steps[kLanes], signs[kLanes];
    store(powers, power * all(1.0f / kSmallest));
    store(steps, a / power * all(1 << kMantissa));
    store(signs, select_less(q, all(0.0f), all(128.0f), all(0.0f)));
    for (int i = 0; i < kLanes; ++i) {
      const int exponent =
          static_cast<int>(__builtin_bit_cast(unsigned, powers[i]) >> 23) - 127;  // of the power
      steps[i] += static_cast<float>(exponent << kMantissa) + signs[i];
    }
    return load(steps);
  }
};
using E4M3Codes = ByteFloatCodes<3, -6, 448>;
using E5M2Codes = ByteFloatCodes<2, -14, 57344>;

// NF4. No two of the 15 midpoints lie within 1/16 of each other, so a bucket of that width holds at most one.
struct Nf4Buckets {
  float midpoint[32], below[32], above[32], middle[15];
};
constexpr Nf4Buckets make_nf4_buckets() {
  Nf4Buckets b{};
  for (int k = 0; k < 15; ++k) b.middle[k] = 0.5f * (tensor::kNf4Levels[k] + tensor::kNf4Levels[k + 1]);
  for (int i = 0; i < 32; ++i) {
    int k = 0;  // the level nearest to the bucket's lower end
    while (k < 15 && b.middle[k] < static_cast<float>(i - 16) / 16) ++k;
    b.midpoint[i] = k < 15 ? b.middle[k] : 1e9f;
    b.below[i] = tensor::kNf4Levels[k];
    b.above[i] = tensor::kNf4Levels[k < 15 ? k + 1 : 15];
  }
  return b;
}
inline constexpr Nf4Buckets kNf4Buckets = make_nf4_buckets();

struct Nf4Codes {
  explicit Nf4Codes(int) {}
  static constexpr bool kBothSigns = true;  // -1 and 1 differ in their neighbours
  static constexpr int kTargets = 8;
  float peak() const { return 1; }
  float target(int k) const { return 0.75f + 0.07f * static_cast<float>(k); }
  Lanes nearest(Lanes t) const {
    const Lanes bucket = min(max(t * all(16.0f) + all(15.5f), all(0.0f)), all(31.0f));
    return select_less(lookup32(kNf4Buckets.midpoint, bucket), t, lookup32(kNf4Buckets.above, bucket),
                       lookup32(kNf4Buckets.below, bucket));
  }
  Lanes index(Lanes q) const {
    Lanes k = all(0.0f);
    for (const float m : kNf4Buckets.middle) k = k + select_less(all(m), q, all(1.0f), all(0.0f));
    return k;
  }
};

struct ScaleSums {
  Lanes error, slope, power;  // sums of w r^2, w r q, w q^2 with r = x - d q
};
template <class Codes, bool kWeighted>
[[gnu::noinline]] inline ScaleSums scale_sums(const Groups<kWeighted>& g, const Codes& codes, Lanes d) {
  const Lanes inverse = inverse_or_zero(d);
  ScaleSums s{all(0.0f), all(0.0f), all(0.0f)};
#pragma GCC unroll 2
  for (int i = 0; i < g.n; ++i) {
    const Lanes q = codes.nearest(g.x[i] * inverse), r = g.x[i] - d * q, wr = g.weigh(i, r);
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.power = s.power + g.weigh(i, q) * q;
  }
  return s;
}

// Scales stored as floats. Every target is judged by what least squares makes of it, the best is improved.
template <class Codes, bool kWeighted>
inline Choice fit_float_scale(const Groups<kWeighted>& g, const Codes& codes, const Stored& stored) {
  Choice best, scan;
  const Lanes none = all(0.0f), unit = g.largest / all(codes.peak());
  const Lanes plain = Codes::kBothSigns && codes.peak() > 1 ? none - unit : magnitude(unit);
  for (const float sign : {1.0f, -1.0f}) {
    if (sign < 0 && !Codes::kBothSigns) break;
    for (int k = 0; k < Codes::kTargets; ++k) {
      const Lanes d = (Codes::kBothSigns ? unit * all(sign) : magnitude(unit)) * all(1.0f / codes.target(k));
      const ScaleSums s = scale_sums(g, codes, d);
      const Lanes change = quotient_or_zero(s.slope, s.power);
      scan.keep(d + change, none, s.error - change * s.slope);
    }
  }
  Lanes d = stored(scan.scale);
  for (int k = 0; k < 3; ++k) {
    const ScaleSums s = scale_sums(g, codes, d);
    best.keep(d, none, s.error);
    d = stored(d + quotient_or_zero(s.slope, s.power));
  }
  if (stored.type != ScaleType::kF32)
    for (const float move : {-1.0f, 1.0f}) {
      const Lanes near = stored(best.scale + all(move) * stored.step(best.scale));
      best.keep(near, none, scale_sums(g, codes, near).error);
    }
  const Lanes start = stored(plain);
  best.keep(start, none, scale_sums(g, codes, start).error);
  return best;
}

// Powers of two from 2^-127: the largest element lands between half of the peak code and five octaves above.
template <class Codes, bool kWeighted>
inline Choice fit_power_scale(const Groups<kWeighted>& g, const Codes& codes) {
  Choice best;
  const Lanes whole = power_part(max(magnitude(g.largest), all(0x1p-60f)));
  const Lanes peak = power_part(all(codes.peak())), least = all(0x1p-126f) * g.down;
  for (int k = 1; k >= -4; --k) {
    const Lanes d =
        max(whole / peak * all(k > 0 ? 2.0f : 1.0f / static_cast<float>(1 << -k)), least * all(0.5f));
    best.keep(d, all(0.0f), scale_sums(g, codes, d).error);
  }
  return best;
}

// The numbers of E4M3 near the plain scale: positive ones are 0 .. 126, eight to the octave. The largest
// element lands between three quarters and three times the peak code.
template <class Codes, bool kWeighted>
inline Choice fit_e4m3_scale(const Groups<kWeighted>& g, const Codes& codes) {
  Choice best;
  const E4M3Codes scales(8);
  const Lanes plain = scales.nearest(magnitude(g.largest) * g.unit * all(1.0f / codes.peak()));
  const Lanes first = max(min(scales.index(plain), all(122.0f)) - all(12.0f), all(0.0f));
  for (int k = 0; k <= 16; ++k) {
    float number[kLanes], value[kLanes];
    store(number, first + all(static_cast<float>(k)));
    for (int i = 0; i < kLanes; ++i) {
      const int n = static_cast<int>(number[i]);
      value[i] = n < 8 ? static_cast<float>(n) * 0x1p-9f
                       : __builtin_bit_cast(float, (static_cast<unsigned>(n) << 20) + (120u << 23));
    }
    const Lanes d = load(value) * g.down;
    best.keep(d, all(0.0f), scale_sums(g, codes, d).error);
  }
  return best;
}

}  // namespace hone::quant::HONE_QUANT_ISA
