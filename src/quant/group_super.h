// Super-blocks of 256 with one sub-block per lane: one super-block of sixteen sub-blocks, or two of eight.
// As in fit_super.h the sub-blocks are fitted freely first. Super scales are then judged by what they take from
// those fits (a parabola about each), and the best is refined: sub-block numbers one step up or down, super
// scales by least squares.
#pragma once

#include "quant/group_affine.h"
#include "quant/group_scale.h"

namespace hone::quant::HONE_QUANT_ISA {

// What all lanes of a run agree on is held in every lane of the run.
struct GroupSuperScale {
  Lanes d, sub, error;  // error: of the whole super-block
};

// kLow, kHigh: range of the sub-block numbers.
template <class Codes, bool kWeighted, int kLow, int kHigh, int kCount>
struct SuperScaleSearch {
  static constexpr int kRun = 256 / kCount;
  const Group<kCount>& g;
  GroupScan free;
  GroupSuperScale best{all(0.0f), all(0.0f), all(3e38f)};

  SuperScaleSearch(const Group<kCount>& group, const Targets& targets, int candidates, int starts, int rounds) : g(group) {
    free = scan_targets<Codes, kWeighted>(g, targets);
    const Lanes high = max_run<kRun>(free.scale), low = max_run<kRun>(all(0.0f) - free.scale);
    const Lanes top = select_less(high, low, all(0.0f) - low, high);
    for (int k = 0; k < starts; ++k) {
      descend(best_super(top, static_cast<float>(kHigh - k * candidates), -1, candidates), rounds);
      descend(best_super(top, static_cast<float>(kLow + k * candidates), 1, candidates), rounds);
    }
  }

  Lanes nearest_sub(Lanes a) const { return round_whole(min(max(a, all(kLow)), all(kHigh))); }

  // The d of least loss among those that place the largest free scale on whole numbers from `first` on.
  Lanes best_super(Lanes top, float first, float step, int candidates) const {
    Lanes best_d = all(0.0f), least = all(3e38f);
    for (int k = 0; k < candidates; ++k) {
      const Lanes d = round_f16(top * all(1.0f / (first + step * static_cast<float>(k))));
      const Lanes miss = d * nearest_sub(free.scale * inverse_or_zero(d)) - free.scale;
      const Lanes loss = sum_run<kRun>(free.power * miss * miss);
      best_d = select_less(loss, least, d, best_d);
      least = min(loss, least);
    }
    return best_d;
  }

  void keep(Lanes d, Lanes sub, Lanes error) {
    best.d = select_less(error, best.error, d, best.d);
    best.sub = select_less(error, best.error, sub, best.sub);
    best.error = min(error, best.error);
  }

  void descend(Lanes d, int rounds) {
    Lanes sub = nearest_sub(free.scale * inverse_or_zero(d));
    for (int round = 0; round < rounds; ++round) {
      const Lanes middle = sub;
      GroupSums s = group_sums<Codes, kWeighted>(g, d * middle);
      for (const float move : {-1.0f, 1.0f}) {
        const Lanes other = min(max(middle + all(move), all(kLow)), all(kHigh));
        const GroupSums t = group_sums<Codes, kWeighted>(g, d * other);
        sub = select_less(t.error, s.error, other, sub);
        s.slope = select_less(t.error, s.error, t.slope, s.slope);
        s.power = select_less(t.error, s.error, t.power, s.power);
        s.error = min(t.error, s.error);
      }
      keep(d, sub, sum_run<kRun>(s.error));
      d = round_f16(d + quotient_or_zero(sum_run<kRun>(sub * s.slope), sum_run<kRun>(sub * sub * s.power)));
    }
    keep(d, sub, sum_run<kRun>(group_error<Codes, kWeighted>(g, d * sub)));
  }
};

struct GroupSuperAffine {
  Lanes d, dmin, sub, sub_min, error;
};

// x ~ d * S * q - dmin * M, 0 <= S, M <= kTop; the sign of dmin is chosen for the whole super-block.
template <class Codes, bool kWeighted, int kTop, int kCount>
struct SuperAffineSearch {
  static constexpr int kRun = 256 / kCount;
  const Group<kCount>& g;
  Lanes mean, per_weight;
  GroupAffineScan free;
  GroupSuperAffine best{all(0.0f), all(0.0f), all(0.0f), all(0.0f), all(3e38f)};

  SuperAffineSearch(const Group<kCount>& group, const Cuts& cuts, int candidates, int starts, int rounds) : g(group) {
    mean = group_mean<kWeighted>(g);
    per_weight = inverse_or_zero(g.total);
    free = scan_cuts<Codes, kWeighted>(g, cuts);
    const Lanes zero = all(0.0f);
    const Lanes highest = max_run<kRun>(free.offset);
    fit_sign(1, zero, candidates, starts, rounds);
    float above[kLanes];
    store(above, highest);
    // A penalty keeps the answer for one super-block from depending on its neighbour in the group.
    if (above[0] > 0 || above[kLanes - 1] > 0)
      fit_sign(-1, select_less(zero, highest, zero, all(3e38f)), candidates, starts, rounds);
  }

  static Lanes nearest_sub(Lanes a) { return round_whole(min(max(a, all(0.0f)), all(kTop))); }

  void fit_sign(float sign, Lanes penalty, int candidates, int starts, int rounds) {
    const Lanes zero = all(0.0f), wanted = free.offset * all(-sign);
    // Where the offset has the other sign it is zero, and the codes reach the largest element.
    const Lanes floor = max(wanted, zero);
    const Lanes scale = select_less(wanted, zero, max(g.high, zero) * all(1.0f / Codes::kMax), free.scale);
    const Lanes code_mean = (mean + floor * all(sign)) * inverse_or_zero(scale);
    const Lanes top_scale = max_run<kRun>(scale), top_floor = max_run<kRun>(floor) * all(sign);
    constexpr int kInward = kTop > 32 ? 2 : 1;
    for (int start = 0; start < starts; ++start) {
      Lanes d = zero, dmin = zero, sub = zero, sub_min = zero, least = all(3e38f);
      for (int a = start * candidates; a < (start + 1) * candidates; ++a) {
        const Lanes try_d = round_f16(top_scale * all(1.0f / static_cast<float>(kTop - kInward * a)));
        const Lanes s = nearest_sub(scale * inverse_or_zero(try_d)), miss = try_d * s - scale;
        const Lanes want = try_d * s * code_mean - mean, scale_loss = free.power * miss * miss;
        for (int b = 0; b < 4; ++b) {
          const Lanes try_min = round_f16(top_floor * all(1.0f / static_cast<float>(kTop - kInward * b)));
          const Lanes m = nearest_sub(want * inverse_or_zero(try_min)), lift = try_min * m - want;
          const Lanes loss = sum_run<kRun>(scale_loss + g.total * lift * lift);
          d = select_less(loss, least, try_d, d);
          dmin = select_less(loss, least, try_min, dmin);
          sub = select_less(loss, least, s, sub);
          sub_min = select_less(loss, least, m, sub_min);
          least = min(loss, least);
        }
      }
      descend(d, dmin, sub, sub_min, penalty, rounds);
    }
  }

  struct Choice {
    Lanes sub, sub_min;
    GroupAffineSums sums;
  };

  [[gnu::always_inline]] void consider(Lanes d, Lanes dmin, Lanes sub, Lanes sub_min, Choice& c) const {
    const GroupAffineSums t = group_affine_sums<Codes, kWeighted>(g, d * sub, all(0.0f) - dmin * sub_min);
    const Lanes before = c.sums.error;
    const auto take = [&](Lanes fresh, Lanes& old) { old = select_less(t.error, before, fresh, old); };
    take(sub, c.sub);
    take(sub_min, c.sub_min);
    take(t.slope, c.sums.slope);
    take(t.lift, c.sums.lift);
    take(t.power, c.sums.power);
    take(t.mass, c.sums.mass);
    c.sums.error = min(t.error, before);
  }

  void keep(Lanes d, Lanes dmin, Lanes sub, Lanes sub_min, Lanes error) {
    best.d = select_less(error, best.error, d, best.d);
    best.dmin = select_less(error, best.error, dmin, best.dmin);
    best.sub = select_less(error, best.error, sub, best.sub);
    best.sub_min = select_less(error, best.error, sub_min, best.sub_min);
    best.error = min(error, best.error);
  }

  void descend(Lanes d, Lanes dmin, Lanes sub, Lanes sub_min, Lanes penalty, int rounds) {
    for (int round = 0; round < rounds; ++round) {
      Choice c{sub, sub_min, group_affine_sums<Codes, kWeighted>(g, d * sub, all(0.0f) - dmin * sub_min)};
      const Lanes code_mean = c.sums.mass * per_weight, inverse_min = inverse_or_zero(dmin);
      for (const float move : {-1.0f, 0.0f, 1.0f}) {
        const Lanes s = min(max(sub + all(move), all(0.0f)), all(kTop));
        const Lanes m = move == 0 ? sub_min : nearest_sub((d * s * code_mean - mean) * inverse_min);
        for (const float lift : {-1.0f, 0.0f, 1.0f})
          if (move != 0 || lift != 0) consider(d, dmin, s, min(max(m + all(lift), all(0.0f)), all(kTop)), c);
      }
      sub = c.sub;
      sub_min = c.sub_min;
      keep(d, dmin, sub, sub_min, sum_run<kRun>(c.sums.error) + penalty);
      // Least squares in (d, dmin), whose columns are S q and -M.
      const Lanes uu = sum_run<kRun>(sub * sub * c.sums.power), vv = sum_run<kRun>(sub_min * sub_min * g.total);
      const Lanes uv = all(0.0f) - sum_run<kRun>(sub * sub_min * c.sums.mass);
      const Lanes gu = sum_run<kRun>(sub * c.sums.slope), gv = all(0.0f) - sum_run<kRun>(sub_min * c.sums.lift);
      const Lanes det = uu * vv - uv * uv, solvable = all(1e-6f) * uu * vv;
      const Lanes both = select_less(solvable, det, all(1.0f), all(0.0f)), per_det = inverse_or_zero(det * both);
      const Lanes one = quotient_or_zero(gu, uu);
      d = round_f16(d + select_less(all(0.0f), both, (gu * vv - gv * uv) * per_det, one));
      dmin = round_f16(dmin + (gv * uu - gu * uv) * per_det);
    }
    keep(d, dmin, sub, sub_min,
         sum_run<kRun>(group_affine_error<Codes, kWeighted>(g, d * sub, all(0.0f) - dmin * sub_min)) + penalty);
  }
};

// 1 where x is nowhere but at 0 and at plus and minus one number, else 0.
template <int kCount>
inline Lanes has_three_levels(const Group<kCount>& g) {
  const Lanes peak = magnitude(g.largest);
  Lanes off = all(0.0f);
  for (int i = 0; i < kCount; ++i) off = max(off, min(magnitude(g.x[i]), peak - magnitude(g.x[i])));
  return select_less(all(0.0f), off, all(0.0f), all(1.0f));
}

// 1 in every lane of a super-block that should go to the thorough search: of error (of the whole super-block) zero
// but for rounding, or with nothing but special sub-blocks.
template <int kRun, int kCount>
inline Lanes super_needs_thorough(const Group<kCount>& g, Lanes error, Lanes special) {
  const Lanes one = all(1.0f), zero = all(0.0f), ordinary = zero - max_run<kRun>(zero - g.ordinary);
  const Lanes limit = sum_run<kRun>(g.power) * all(kLatticeShare);
  const Lanes lattice = select_less(error, limit, select_less(zero, error, one, zero), zero);
  const Lanes other = zero - max_run<kRun>(zero - max(special, has_three_levels(g)));  // 1 when all sub-blocks have
  return select_less(ordinary, one, one, max(lattice, other));
}

}  // namespace hone::quant::HONE_QUANT_ISA
