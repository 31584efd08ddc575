// Scales for x ~ d * code, sixteen blocks at once.
#pragma once

#include "quant/codes.h"
#include "quant/group.h"

namespace hone::quant::HONE_QUANT_ISA {

// Codes on which the element of largest magnitude is placed in turn; beyond the last code it is clipped.
struct Targets {
  int count;
  float code[64];
  bool neighbours = false;  // then scales a little off the best are tried as well
};

struct GroupSums {
  Lanes error, slope, power;  // sums of w r^2, w r q, w q^2 with r = x - d q
};

template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline GroupSums group_sums(const Group<kCount>& g, Lanes d) {
  const Lanes inverse = inverse_or_zero(d);
  GroupSums s{all(0.0f), all(0.0f), all(0.0f)};
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes q = Codes::nearest(g.x[i] * inverse), r = g.x[i] - d * q;
    const Lanes wr = weigh<kWeighted>(g, i, r);
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.power = s.power + weigh<kWeighted>(g, i, q) * q;
  }
  return s;
}

template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline Lanes group_error(const Group<kCount>& g, Lanes d) {
  const Lanes inverse = inverse_or_zero(d);
  Lanes error = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes r = g.x[i] - d * Codes::nearest(g.x[i] * inverse);
    error = error + weigh<kWeighted>(g, i, r) * r;
  }
  return error;
}

// Least squares for the codes that each target chooses: the scale, how much of `power` it explains, and the
// sum of squared codes.
struct GroupScan {
  Lanes scale = all(0.0f), gain = all(-1.0f), power = all(0.0f);
};

template <class Codes, bool kWeighted, int kCount>
[[gnu::always_inline]] inline void scan_group(const Group<kCount>& g, Lanes inverse, GroupScan& best) {
  Lanes product = all(0.0f), power = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const Lanes q = Codes::nearest(g.x[i] * inverse), wq = weigh<kWeighted>(g, i, q);
    product = product + wq * g.x[i];
    power = power + wq * q;
  }
  const Lanes scale = quotient_or_zero(product, power), gain = product * scale;
  best.scale = select_less(best.gain, gain, scale, best.scale);
  best.power = select_less(best.gain, gain, power, best.power);
  best.gain = max(gain, best.gain);
}

template <class Codes, bool kWeighted, int kCount>
inline GroupScan scan_targets(const Group<kCount>& g, const Targets& targets) {
  const Lanes unit = inverse_or_zero(g.largest);
  GroupScan best;
  for (int t = 0; t < targets.count; ++t) scan_group<Codes, kWeighted>(g, all(targets.code[t]) * unit, best);
  if (!targets.neighbours) return best;
  const Lanes centre = inverse_or_zero(best.scale);
  for (const float factor : {0.958f, 0.972f, 0.984f, 0.994f, 1.006f, 1.016f, 1.028f, 1.042f})
    scan_group<Codes, kWeighted>(g, centre * all(factor), best);
  return best;
}

struct GroupScale {
  Lanes scale = all(0.0f), error = all(3e38f);

  void keep(Lanes d, Lanes new_error) {
    scale = select_less(new_error, error, d, scale);
    error = min(new_error, error);
  }
};

// kRound: to the stored scale. Alternates nearest codes and least squares from the best of the scan.
template <class Codes, bool kWeighted, Lanes (*kRound)(Lanes), int kCount>
inline GroupScale fit_group_scale(const Group<kCount>& g, const Targets& targets, int rounds) {
  const GroupScan scan = scan_targets<Codes, kWeighted>(g, targets);
  GroupScale best;
  Lanes d = kRound(scan.scale);
  for (int k = 0; k < rounds; ++k) {
    const GroupSums s = group_sums<Codes, kWeighted>(g, d);
    best.keep(d, s.error);
    d = kRound(d + quotient_or_zero(s.slope, s.power));
  }
  best.keep(d, group_error<Codes, kWeighted>(g, d));
  return best;
}

// Many codes: the gain of least squares is less than that of trying a few scales exactly as stored.
template <class Codes, bool kWeighted, Lanes (*kRound)(Lanes), int kCount>
inline GroupScale try_group_scales(const Group<kCount>& g, const Targets& targets) {
  GroupScale best;
  for (int t = 0; t < targets.count; ++t) {
    const Lanes d = kRound(g.largest * all(1.0f / targets.code[t]));
    best.keep(d, group_error<Codes, kWeighted>(g, d));
  }
  return best;
}

// 1 where all x lie on one side and far from zero: such blocks use half of the codes, and the best scale is a
// narrow peak among many.
template <int kCount>
inline Lanes is_one_sided(const Group<kCount>& g) {
  const Lanes peak = magnitude(g.largest), nearest = max(g.low, all(0.0f) - g.high);
  return select_less(all(0.25f) * peak, nearest, all(1.0f), all(0.0f));
}

// 1 where the block should go to the thorough search.
template <int kCount>
inline Lanes needs_thorough(const Group<kCount>& g, Lanes error) {
  const Lanes one = all(1.0f), zero = all(0.0f);
  const Lanes lattice = select_less(error, g.power * all(kLatticeShare), select_less(zero, error, one, zero), zero);
  return select_less(g.ordinary, one, one, lattice);
}
template <int kCount>
inline Lanes scale_needs_thorough(const Group<kCount>& g, Lanes error) {
  return max(needs_thorough(g, error), is_one_sided(g));
}

}  // namespace hone::quant::HONE_QUANT_ISA
