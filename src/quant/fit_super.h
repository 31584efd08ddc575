// Scale search for super-blocks of 256: one or two F16 numbers, and small whole numbers per sub-block
// that multiply them. Each sub-block is fitted freely first; then super scales are tried by rounding
// those fits, and the best is refined by coordinate descent: sub-block numbers with the super scales
// fixed, super scales by least squares with the sub-block numbers fixed.
#pragma once

#include "quant/fit_affine.h"
#include "quant/fit_scale.h"
#include "quant/pack.h"

namespace hone::quant::HONE_QUANT_ISA {

inline constexpr int kSuper = 256;
inline constexpr int kMaxSubs = 16;

inline Part sub_part(const Block& block, int sub, int size) { return {block.x + sub * size, block.w + sub * size, size}; }

inline float whole(float a) { return (a + 12582912.0f) - 12582912.0f; }
inline float clamped(float a, float low, float high) { return a < low ? low : a > high ? high : a; }

// x ~ d * S_j * q.
template <class Codes, int kSub, int kLow, int kHigh>
struct SuperScaleFit {
  static constexpr int kSubs = kSuper / kSub;
  const Block& block;
  F16Rounding rounding;
  float ideal[kMaxSubs];  // scale of each sub-block fitted alone
  float d = 0, error = 3e38f;
  float sub[kMaxSubs] = {};

  SuperScaleFit(const Block& b, const ScaleSearch& search) : block(b), rounding(b.exponent) {
    float largest[kMaxSubs], power = 0;
    bool lattice = false;
    for (int j = 0; j < kSubs; ++j) {
      const FreeScale fit = fit_free_scale<Codes>(sub_part(block, j, kSub), search);
      ideal[j] = fit.smallest;
      largest[j] = fit.largest;
      lattice |= fit.smallest != fit.largest;
      power += find_moments(sub_part(block, j, kSub)).power;
    }
    fit_super();
    if (!lattice) return;
    for (int j = 0; j < kSubs; ++j) ideal[j] = largest[j];
    fit_super();
    if (error > 0 && error < kLatticeShare * power) try_exact_codes(search);
  }

  // Only the rounding of d is left to gain: with every sub-block's heaviest element on each code in turn,
  // some d rounds better than others.
  void try_exact_codes(const ScaleSearch& search) {
    for (int k = 0; k < search.exact * kLanes; ++k) {
      const float code = lane(exact_codes<Codes>(search, k / kLanes), k % kLanes);
      if (code == 0) continue;
      for (int j = 0; j < kSubs; ++j) ideal[j] = find_landmarks(sub_part(block, j, kSub)).heaviest / code;
      fit_super();
    }
  }

  // The largest scale is placed at whole S from either end of the range inwards.
  void fit_super() {
    float top = 0;
    for (int j = 0; j < kSubs; ++j)
      if ((ideal[j] < 0 ? -ideal[j] : ideal[j]) > (top < 0 ? -top : top)) top = ideal[j];
    constexpr float kInward = kHigh > 64 ? 3 : 1;
    descend(best_super(top, ramp(kHigh, -kInward)));
    descend(best_super(top, ramp(kLow, kInward)));
  }

  // The lane whose d = top / target leaves least when every sub-block takes one of the two nearest S.
  float best_super(float top, Lanes target) const {
    const Lanes scale = rounding(all(top) / target), inverse = inverse_or_zero(scale);
    Lanes total = all(0.0f);
    for (int j = 0; j < kSubs; ++j) {
      const Lanes aim = min(max(all(ideal[j]) * inverse, all(kLow)), all(kHigh));
      const Lanes below = round_whole(aim - all(0.5f)), above = min(below + all(1.0f), all(kHigh));
      const Lanes s = scale * below, t = scale * above;
      const Part p = sub_part(block, j, kSub);
      total = total + min(sum_at_scale<Codes>(p, s, inverse_or_zero(s)).error,
                          sum_at_scale<Codes>(p, t, inverse_or_zero(t)).error);
    }
    return lane(scale, argmin(total));
  }

  static ScaleSums sum_at_sub_scales(Part p, float base, float scale) {
    const Lanes ds = ramp(base, 1) * all(scale);
    return sum_at_scale<Codes>(p, ds, inverse_or_zero(ds));
  }

  void descend(float start) {
    float s[kMaxSubs], scale = start;
    for (int round = 0; round < 3; ++round) {
      float slope = 0, power = 0, total = 0;
      for (int j = 0; j < kSubs; ++j) {
        const float aim = scale == 0 ? 0 : round == 0 ? ideal[j] / scale : s[j];
        const Part p = sub_part(block, j, kSub);
        // Six-bit scales are all tried at first, eight-bit ones only near the aim.
        const bool whole_range = round == 0 && kHigh - kLow < 64;
        float base = whole_range ? kLow : clamped(whole(aim) - 7, kLow, kHigh - 15);
        ScaleSums sums = sum_at_sub_scales(p, base, scale);
        int k = argmin(sums.error);
        float least = lane(sums.error, k), first = base;
        for (; whole_range && base + 2 * kLanes <= kHigh + 1; ) {
          base += kLanes;
          const ScaleSums next = sum_at_sub_scales(p, base, scale);
          const int n = argmin(next.error);
          if (lane(next.error, n) < least) sums = next, k = n, least = lane(next.error, n), first = base;
        }
        s[j] = first + static_cast<float>(k);
        total += least;
        slope += s[j] * lane(sums.slope, k);
        power += s[j] * s[j] * lane(sums.power, k);
      }
      if (!keep_if_better(scale, total, s)) break;
      if (!(power > 0)) break;
      const float next = scale + slope / power;
      const Lanes ladder = rounding(all(next) + load(kLadder) * all(rounding.step(next) * 0.6f));
      Lanes errors = all(0.0f);
      for (int j = 0; j < kSubs; ++j) {
        const Lanes ds = ladder * all(s[j]);
        errors = errors + sum_at_scale<Codes>(sub_part(block, j, kSub), ds, inverse_or_zero(ds)).error;
      }
      const int k = argmin(errors);
      scale = lane(ladder, k);
      keep_if_better(scale, lane(errors, k), s);
    }
  }

  bool keep_if_better(float scale, float total, const float* s) {
    if (!(total < error)) return false;
    error = total;
    d = scale;
    for (int j = 0; j < kSubs; ++j) sub[j] = s[j];
    return true;
  }
};

// x ~ d * S_j * q - dmin * M_j, 0 <= S, M <= kTop. The sign of dmin is chosen for the whole super-block.
template <class Codes, int kSub, int kTop>
struct SuperAffineFit {
  static constexpr int kSubs = kSuper / kSub;
  const Block& block;
  F16Rounding rounding;
  Moments moments[kMaxSubs];
  AffineFit free[kMaxSubs];   // each sub-block fitted alone
  float scale[kMaxSubs], floor[kMaxSubs];  // the same with offset = -sign * floor, floor >= 0
  float code_mean[kMaxSubs];
  float d = 0, dmin = 0, error = 3e38f;
  float sub[kMaxSubs] = {}, sub_min[kMaxSubs] = {};

  SuperAffineFit(const Block& b, const AffineSearch& search) : block(b), rounding(b.exponent) {
    bool up = false, down = false;
    for (int j = 0; j < kSubs; ++j) {
      const Part p = sub_part(block, j, kSub);
      moments[j] = find_moments(p);
      free[j] = fit_free_affine<Codes>(p, moments[j], search);
      (free[j].offset > 0 ? up : down) = true;
    }
    if (down) fit_sign(1);
    if (up) fit_sign(-1);
  }

  void fit_sign(float sign) {
    float top_scale = 0, top_floor = 0;
    for (int j = 0; j < kSubs; ++j) {
      scale[j] = free[j].scale;
      floor[j] = -sign * free[j].offset;
      if (floor[j] < 0) {  // not expressible: start at zero and let the descent find the scale
        floor[j] = 0;
        scale[j] = max_lanes(peak_of(sub_part(block, j, kSub))) / Codes::kMax;
      }
      code_mean[j] = scale[j] > 0 ? (moments[j].mean + sign * floor[j]) / scale[j] : 0;
      if (scale[j] > top_scale) top_scale = scale[j];
      if (floor[j] > top_floor) top_floor = floor[j];
    }
    for (int batch = 0; batch < 2; ++batch) descend(best_supers(sign, top_scale, top_floor, batch, batch));
    // Where only the rounding of the super scales is left to gain, all pairs of whole numbers are tried.
    const float power = total_power();
    for (int pair = 0; pair < 16 && error > 0 && error < kLatticeShare * power; ++pair)
      descend(best_supers(sign, top_scale, top_floor, pair / 4, pair % 4));
  }

  float total_power() const {
    float power = 0;
    for (int j = 0; j < kSubs; ++j) power += moments[j].power;
    return power;
  }

  static Lanes peak_of(Part p) {  // largest x, or 0
    Lanes peak = all(0.0f);
    for (int i = 0; i < p.n; i += kLanes) peak = max(peak, load(p.x + i));
    return peak;
  }

  // The offset best suited to scale ds when the codes keep their weighted mean; as a number for M.
  Lanes nearest_min(int j, Lanes ds, Lanes inverse_min) const {
    const Lanes m = (ds * all(code_mean[j]) - all(moments[j].mean)) * inverse_min;
    return round_whole(min(max(m, all(0.0f)), all(kTop)));
  }

  struct Supers {
    float scale, min;
  };

  // Tries four d and four dmin, which place the largest sub-scale and the largest offset on whole numbers
  // from kTop downwards, further down with each batch.
  Supers best_supers(float sign, float top_scale, float top_floor, int scale_batch, int min_batch) const {
    constexpr int kInward = kTop > 32 ? 2 : 1;
    float ds[kLanes], ms[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      ds[k] = top_scale / whole_target(kInward * (4 * scale_batch + k / 4));
      ms[k] = sign * top_floor / whole_target(kInward * (4 * min_batch + k % 4));
    }
    const Lanes super = rounding(load(ds)), super_min = rounding(load(ms));
    const Lanes inverse = inverse_or_zero(super), inverse_min = inverse_or_zero(super_min);
    Lanes total = all(0.0f);
    for (int j = 0; j < kSubs; ++j) {
      const Lanes s = super * round_whole(min(all(scale[j]) * inverse, all(kTop)));
      const Lanes m = super_min * nearest_min(j, s, inverse_min);
      total = total + sum_at_affine<Codes>(sub_part(block, j, kSub), s, inverse_or_zero(s), all(0.0f) - m).error;
    }
    const int k = argmin(total);
    return {lane(super, k), lane(super_min, k)};
  }

  static float whole_target(int inward) { return inward < kTop ? static_cast<float>(kTop - inward) : 1.0f; }

  // Sums over the super-block for least squares in (d, dmin).
  struct Normal {
    float uu = 0, uv = 0, vv = 0, gu = 0, gv = 0;
  };

  // Four S and four M about the last (or, first, about the free fit); returns the total error.
  float choose_subs(bool first, float super, float super_min, float* s, float* m, Normal& normal) const {
    float total = 0;
    const float inverse = super == 0 ? 0 : 1 / super, inverse_min = super_min == 0 ? 0 : 1 / super_min;
    for (int j = 0; j < kSubs; ++j) {
      const float aim = first ? scale[j] * inverse : s[j];
      const float base = clamped(whole(aim - (first ? 0.5f : 0.0f)) - 1, 0, kTop - 3);
      float codes[kLanes];
      for (int k = 0; k < kLanes; ++k) codes[k] = base + static_cast<float>(k / 4);
      const Lanes sub_scale = load(codes), ds = sub_scale * all(super);
      const Lanes centre = first ? nearest_min(j, ds, all(inverse_min)) : all(m[j]);
      for (int k = 0; k < kLanes; ++k) codes[k] = static_cast<float>(k % 4);
      const Lanes mins = min(max(centre - all(1.0f), all(0.0f)), all(kTop - 3)) + load(codes);
      const AffineSums sums = sum_at_affine<Codes>(sub_part(block, j, kSub), ds, inverse_or_zero(ds),
                                                   all(0.0f) - mins * all(super_min));
      const int k = argmin(sums.error);
      s[j] = lane(sub_scale, k);
      m[j] = lane(mins, k);
      total += lane(sums.error, k);
      normal.uu += s[j] * s[j] * lane(sums.power, k);
      normal.uv -= s[j] * m[j] * lane(sums.mass, k);
      normal.vv += m[j] * m[j] * moments[j].total;
      normal.gu += s[j] * lane(sums.slope, k);
      normal.gv -= m[j] * lane(sums.lift, k);
    }
    return total;
  }

  void descend(Supers start) {
    float super = start.scale, super_min = start.min;
    float s[kMaxSubs], m[kMaxSubs];
    static constexpr float kMoves[4] = {-1, 0, 1, 2};
    for (int round = 0; round < 4; ++round) {
      Normal n;
      const float total = choose_subs(round == 0, super, super_min, s, m, n);
      if (!keep_if_better(super, super_min, total, s, m)) break;
      const float det = n.uu * n.vv - n.uv * n.uv;
      float dd = 0, dm = 0;
      if (det > 1e-6f * n.uu * n.vv) {
        dd = (n.gu * n.vv - n.gv * n.uv) / det;
        dm = (n.gv * n.uu - n.gu * n.uv) / det;
      } else if (n.uu > 0) {
        dd = n.gu / n.uu;
      } else if (n.vv > 0) {
        dm = n.gv / n.vv;
      }
      float ds[kLanes], ms[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        ds[k] = super + dd + kMoves[k / 4] * rounding.step(super + dd);
        ms[k] = super_min + dm + kMoves[k % 4] * rounding.step(super_min + dm);
      }
      const Lanes supers = rounding(load(ds)), super_mins = rounding(load(ms));
      Lanes errors = all(0.0f);
      for (int j = 0; j < kSubs; ++j) {
        const Lanes sd = supers * all(s[j]);
        errors = errors + sum_at_affine<Codes>(sub_part(block, j, kSub), sd, inverse_or_zero(sd),
                                               all(0.0f) - super_mins * all(m[j])).error;
      }
      const int k = argmin(errors);
      super = lane(supers, k);
      super_min = lane(super_mins, k);
      keep_if_better(super, super_min, lane(errors, k), s, m);
    }
  }

  bool keep_if_better(float super, float super_min, float total, const float* s, const float* m) {
    if (!(total < error)) return false;
    error = total;
    d = super;
    dmin = super_min;
    for (int j = 0; j < kSubs; ++j) sub[j] = s[j], sub_min[j] = m[j];
    return true;
  }
};

}  // namespace hone::quant::HONE_QUANT_ISA
