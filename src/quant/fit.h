// What every scale search shares: a block brought to unit size, the rounding of stored scales, and the
// weighted sums of one candidate per lane.
#pragma once

#include "quant/lanes.h"

namespace hone::quant::HONE_QUANT_ISA {

inline constexpr int kMaxBlock = 256;

inline float power_of_two(int exponent) {  // -126 <= exponent <= 127
  return __builtin_bit_cast(float, static_cast<unsigned>(exponent + 127) << 23);
}

inline float sum_lanes(Lanes a) {
  float k[kLanes], sum = 0;
  store(k, a);
  for (float v : k) sum += v;
  return sum;
}
inline float max_lanes(Lanes a) {
  float k[kLanes], best;
  store(k, a);
  best = k[0];
  for (float v : k) best = v > best ? v : best;
  return best;
}

inline float min_lanes(Lanes a) { return lane(a, argmin(a)); }

// A block of n elements (a multiple of 16) with weights, both multiplied by powers of two so that the
// largest magnitude lies in [1, 2): products neither overflow nor vanish whatever the model's units.
struct Block {
  int n = 0;
  int exponent = 0;   // x = original * 2^-exponent
  float peak = 0;     // largest |x|; 0 for a block of zeros
  alignas(64) float x[kMaxBlock];
  alignas(64) float w[kMaxBlock];
};

inline int exponent_of(float magnitude) {
  return static_cast<int>(__builtin_bit_cast(unsigned, magnitude) >> 23) - 127;
}

// Exponents below -100 are left in x: such values round to zero in every format with an F16 scale.
inline void load_block(const float* x, const float* w, int n, Block& block) {
  Lanes peak = all(0.0f), heaviest = all(0.0f);
  for (int i = 0; i < n; i += kLanes) {
    peak = max(peak, magnitude(load(x + i)));
    heaviest = max(heaviest, load(w + i));
  }
  const float x_peak = max_lanes(peak), w_peak = max_lanes(heaviest);
  int e = exponent_of(x_peak), ew = exponent_of(w_peak);
  e = e < -100 ? -100 : e > 126 ? 126 : e;
  ew = ew < -100 ? -100 : ew > 126 ? 126 : ew;
  const float xs = power_of_two(-e), ws = power_of_two(-ew);
  block.n = n;
  block.exponent = e;
  block.peak = x_peak * xs;
  for (int i = 0; i < n; i += kLanes) {
    store(block.x + i, load(x + i) * all(xs));
    // Where nothing matters the plain error decides: a floor too small to touch anything else.
    store(block.w + i, w_peak > 0 ? max(load(w + i) * all(ws), all(0x1p-50f)) : all(1.0f));
  }
}

// A part of a block as the sums see it.
struct Part {
  const float* x;
  const float* w;
  int n;
};

// Rounds to what an F16 field holds, in the block's units.
struct F16Rounding {
  float up, down;  // 2^exponent and its inverse
  explicit F16Rounding(int exponent) : up(power_of_two(exponent)), down(power_of_two(-exponent)) {}
  Lanes operator()(Lanes d) const {
    const Lanes v = min(max(d * all(up), all(-65504.0f)), all(65504.0f));
    const Lanes c = v * all(8193.0f);  // Veltkamp's split keeps 11 of 24 bits
    const Lanes normal = c - (c - v);
    const Lanes small = (v + all(0.75f)) - all(0.75f);  // multiples of 2^-24
    return select_less(magnitude(v), all(0x1p-14f), small, normal) * all(down);
  }
  float operator()(float d) const { return lane((*this)(all(d)), 0); }
  // Spacing of the stored values near d.
  float step(float d) const {
    const int e = exponent_of((d < 0 ? -d : d) * up) - 10;
    return power_of_two(e < -24 ? -24 : e) * down;
  }
};

// Errors below this share of sum w x^2 come from rounding the scales: the block lies on a lattice.
inline constexpr float kLatticeShare = 1e-6f;

// Scales that are not stored themselves, or stored as F32.
struct NoRounding {
  Lanes operator()(Lanes d) const { return d; }
  float step(float d) const { return (d < 0 ? -d : d) * 0x1p-11f; }
};

// What a later candidate of a scan must exceed: gains that differ by rounding only are equal.
inline Lanes scan_bar(Lanes gain) { return gain * all(1.000001f); }

// Which of the lanes a sub-block's free fit should be, of those that are as good as the best: the smallest
// scale, because the largest sub-scale of a super-block decides how fine the others are; or, when
// `lattice`, the largest, because on a lattice it is the same for all sub-blocks.
inline int best_free_lane(Lanes scale, Lanes error, float power, bool lattice) {
  float s[kLanes], e[kLanes];
  store(s, magnitude(scale));
  store(e, error);
  int best = argmin(error);
  const float share = kLatticeShare * power, limit = e[best] < share ? share : e[best] * 1.001f;
  for (int k = 0; k < kLanes; ++k)
    if (e[k] <= limit && s[k] > 0 && (lattice ? s[k] > s[best] : s[k] < s[best])) best = k;
  return best;
}

}  // namespace hone::quant::HONE_QUANT_ISA
