// Scale and offset for x ~ d * code + m with codes 0 .. kMax, sixteen blocks at once.
#pragma once

#include "quant/codes.h"
#include "quant/group.h"

namespace hone::quant::HONE_QUANT_ISA {

// Shares of the block's range cut off below and above before the codes are spread over the rest; tried in turn.
struct Cuts {
  int count;
  float below[64], above[64];
  int jitters;  // rounds of sixteen neighbours of the best
};

struct GroupAffineSums {
  Lanes error, slope, lift, power, mass;  // sums of w r^2, w r q, w r, w q^2, w q with r = x - m - d q
};

template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline GroupAffineSums group_affine_sums(const Group<kCount>& g, Lanes d, Lanes m) {
  const Lanes inverse = inverse_or_zero(d);
  GroupAffineSums s{all(0.0f), all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes x = g.x[i] - m, q = Codes::nearest(x * inverse), r = x - d * q;
    const Lanes wr = weigh<kWeighted>(g, i, r), wq = weigh<kWeighted>(g, i, q);
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.lift = s.lift + wr;
    s.power = s.power + wq * q;
    s.mass = s.mass + wq;
  }
  return s;
}

template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline Lanes group_affine_error(const Group<kCount>& g, Lanes d, Lanes m) {
  const Lanes inverse = inverse_or_zero(d);
  Lanes error = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes x = g.x[i] - m, r = x - d * Codes::nearest(x * inverse);
    error = error + weigh<kWeighted>(g, i, r) * r;
  }
  return error;
}

// The best least-squares fit to the codes of one candidate; code_mean and power belong to it, power about the mean.
struct GroupAffineScan {
  Lanes scale = all(0.0f), offset = all(0.0f), gain = all(-1.0f);
  Lanes code_mean = all(0.0f), power = all(0.0f);
};

// mean: weighted mean of x.
template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline void scan_group_affine(const Group<kCount>& g, Lanes mean, Lanes per_weight, Lanes inverse,
                                                     Lanes shift, GroupAffineScan& best) {
  Lanes product = all(0.0f), power = all(0.0f), mass = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes q = Codes::nearest(g.x[i] * inverse + shift), wq = weigh<kWeighted>(g, i, q);
    product = product + wq * (g.x[i] - mean);
    power = power + wq * q;
    mass = mass + wq;
  }
  const Lanes code_mean = mass * per_weight, spread = power - mass * code_mean;
  const Lanes scale = quotient_or_zero(product, spread), gain = product * scale;
  best.scale = select_less(best.gain, gain, scale, best.scale);
  best.offset = select_less(best.gain, gain, mean - scale * code_mean, best.offset);
  best.code_mean = select_less(best.gain, gain, code_mean, best.code_mean);
  best.power = select_less(best.gain, gain, spread, best.power);
  best.gain = max(gain, best.gain);
}

template <bool kWeighted, int kCount>
inline Lanes group_mean(const Group<kCount>& g) {
  Lanes sum = all(0.0f);
  for (int i = 0; i < kCount; ++i) sum = sum + weigh<kWeighted>(g, i, g.x[i]);
  return sum * inverse_or_zero(g.total);
}

// Neighbours of the best fit so far: both ends of the code range move by up to `reach` codes.
template <class Codes, bool kWeighted, int kCount>
inline void jitter_group(const Group<kCount>& g, Lanes mean, Lanes per_weight, float reach, GroupAffineScan& best) {
  static constexpr float kMoves[4] = {-1.0f, -0.35f, 0.3f, 0.9f};
  const Lanes inverse = inverse_or_zero(best.scale), offset = best.offset;
  for (const float below : kMoves)
    for (const float above : kMoves) {
      const float low = reach * below, high = reach * above;
      const Lanes narrow = inverse * all(1.0f / (1.0f + (high - low) / Codes::kMax));
      scan_group_affine<Codes, kWeighted>(g, mean, per_weight, narrow, all(0.0f) - offset * narrow - all(low) * (narrow * inverse_or_zero(inverse)), best);
    }
}

template <class Codes, bool kWeighted, int kCount>
inline GroupAffineScan scan_cuts(const Group<kCount>& g, const Cuts& cuts) {
  const Lanes mean = group_mean<kWeighted>(g), per_weight = inverse_or_zero(g.total);
  const Lanes range = g.high - g.low, per_range = inverse_or_zero(range);
  GroupAffineScan best;
  best.offset = mean;
  for (int t = 0; t < cuts.count; ++t) {
    const Lanes inverse = all(Codes::kMax / (1.0f - cuts.below[t] - cuts.above[t])) * per_range;
    const Lanes shift = all(0.0f) - (g.low + range * all(cuts.below[t])) * inverse;
    scan_group_affine<Codes, kWeighted>(g, mean, per_weight, inverse, shift, best);
  }
  for (int k = 0; k < cuts.jitters; ++k) jitter_group<Codes, kWeighted>(g, mean, per_weight, k % 2 ? 0.25f : 0.8f, best);
  return best;
}

struct GroupAffine {
  Lanes scale = all(0.0f), offset = all(0.0f), error = all(3e38f);

  void keep(Lanes d, Lanes m, Lanes new_error) {
    scale = select_less(new_error, error, d, scale);
    offset = select_less(new_error, error, m, offset);
    error = min(new_error, error);
  }
};

// As fit_group_scale. The scale is rounded first, then the offset that is best for the rounded scale.
template <class Codes, bool kWeighted, int kCount>
inline GroupAffine fit_group_affine(const Group<kCount>& g, const Cuts& cuts, int rounds) {
  const GroupAffineScan scan = scan_cuts<Codes, kWeighted>(g, cuts);
  const Lanes per_weight = inverse_or_zero(g.total);
  GroupAffine best;
  Lanes d = round_f16(scan.scale), m = round_f16(scan.offset + scan.code_mean * (scan.scale - d));
  for (int k = 0; k < rounds; ++k) {
    const GroupAffineSums s = group_affine_sums<Codes, kWeighted>(g, d, m);
    best.keep(d, m, s.error);
    const Lanes code_mean = s.mass * per_weight;
    const Lanes change = quotient_or_zero(s.slope - s.lift * code_mean, s.power - s.mass * code_mean);
    const Lanes next = round_f16(d + change);
    m = round_f16(m + s.lift * per_weight - code_mean * (next - d));
    d = next;
  }
  best.keep(d, m, group_affine_error<Codes, kWeighted>(g, d, m));
  return best;
}

}  // namespace hone::quant::HONE_QUANT_ISA
