// Scale search for x ~ d * code. A coarse scan scores many scales by the best that least squares can make
// of the codes they choose; the best of each lane is then refined with the scale as it will be stored.
#pragma once

#include "quant/codes.h"
#include "quant/fit.h"

namespace hone::quant::HONE_QUANT_ISA {

struct ScaleSums {
  Lanes error;  // sum w r^2 with r = x - d q
  Lanes slope;  // sum w r q
  Lanes power;  // sum w q^2
};

// The nearest codes at each lane's scale d and what they leave.
template <class Codes>
inline ScaleSums sum_at_scale(Part p, Lanes d, Lanes inverse) {
  ScaleSums s{all(0.0f), all(0.0f), all(0.0f)};
  for (int i = 0; i < p.n; ++i) {
    const Lanes x = all(p.x[i]), w = all(p.w[i]);
    const Lanes q = Codes::nearest(x * inverse);
    const Lanes r = x - d * q, wr = w * r;
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.power = s.power + w * q * q;
  }
  return s;
}

// One candidate per lane: the best scale so far and how much of sum w x^2 it explains.
struct Scan {
  Lanes scale = all(0.0f);
  Lanes gain = all(-1.0f);

  void keep(Lanes new_gain, Lanes new_scale) {
    const Lanes bar = scan_bar(gain);
    scale = select_less(bar, new_gain, new_scale, scale);
    gain = select_less(bar, new_gain, new_gain, gain);
  }
};

template <class Codes>
inline void scan_scales(Part p, Lanes inverse, Scan& scan) {
  Lanes product = all(0.0f), power = all(0.0f);
  for (int i = 0; i < p.n; ++i) {
    const Lanes x = all(p.x[i]), w = all(p.w[i]);
    const Lanes q = Codes::nearest(x * inverse), wq = w * q;
    product = product + wq * x;
    power = power + wq * q;
  }
  const Lanes scale = quotient_or_zero(product, power), gain = product * scale;
  scan.keep(gain, scale);
}

struct ScaleFit {
  float scale = 0;
  float error = 0;
};

struct ScaleLanes {
  Lanes scale, error;
};

// Alternates nearest codes and least-squares scales, rounded as stored; keeps each lane's best.
template <class Codes, class Rounding>
inline ScaleLanes refine_scales(Part p, Lanes scale, const Rounding& rounding, int rounds) {
  ScaleLanes best{all(0.0f), all(3e38f)};
  for (int k = 0; k < rounds; ++k) {
    const Lanes d = rounding(scale);
    const ScaleSums s = sum_at_scale<Codes>(p, d, inverse_or_zero(d));
    best.scale = select_less(s.error, best.error, d, best.scale);
    best.error = min(s.error, best.error);
    scale = d + quotient_or_zero(s.slope, s.power);
  }
  return best;
}

inline ScaleFit best_of(const ScaleLanes& lanes) {
  const int k = argmin(lanes.error);
  return {lane(lanes.scale, k), lane(lanes.error, k)};
}

inline constexpr float kLadder[kLanes] = {-17, -11, -7, -4, -3, -2, -1, 0, 1, 2, 3, 4, 7, 11, 17, 28};

// Neighbours of the best scale: the next stored values and some further off.
template <class Codes, class Rounding>
inline ScaleFit polish_scale(Part p, ScaleFit fit, const Rounding& rounding, int rounds) {
  for (int k = 0; k < rounds; ++k) {
    const Lanes near = all(fit.scale) + load(kLadder) * all(rounding.step(fit.scale));
    const ScaleFit found = best_of(refine_scales<Codes>(p, near, rounding, k == 0 ? 2 : 1));
    if (!(found.error < fit.error)) break;
    fit = found;
  }
  return fit;
}

// How far the coarse scan looks. The element with the largest w x^2 is placed exactly on each code. Then the
// element of largest magnitude is placed at the codes from low to high, given as fractions of the largest
// code; beyond 1 it is clipped.
struct ScaleSearch {
  float low, high;
  int grid;         // batches of 16 scales
  int exact;        // codes tried for the heaviest element, in batches of 16
  bool both_signs;  // of the scale: worth it where the codes are not symmetric
};

struct Landmarks {
  float largest = 0;   // the element of largest magnitude, with its sign
  float heaviest = 0;  // the element with the largest w x^2
};

inline Landmarks find_landmarks(Part p) {
  Landmarks marks;
  float magnitude = -1, weight = -1;
  for (int i = 0; i < p.n; ++i) {
    const float x = p.x[i], a = x < 0 ? -x : x, v = p.w[i] * x * x;
    if (a > magnitude) magnitude = a, marks.largest = x;
    if (v > weight) weight = v, marks.heaviest = x;
  }
  return marks;
}

// The codes on which the heaviest element is placed, spread over the whole set.
template <class Codes>
inline Lanes exact_codes(const ScaleSearch& search, int batch) {
  const float low = search.both_signs ? Codes::kMin : 1.0f;
  const float spacing = (Codes::kMax - low) / static_cast<float>(kLanes * search.exact - 1);
  return Codes::nearest(ramp(low + spacing * static_cast<float>(batch * kLanes), spacing));
}

template <class Codes>
inline Scan coarse_scan(Part p, const ScaleSearch& search) {
  const Landmarks marks = find_landmarks(p);
  Scan scan;
  if (marks.largest == 0) return scan;
  if (marks.heaviest != 0)
    for (int b = 0; b < search.exact; ++b)
      scan_scales<Codes>(p, exact_codes<Codes>(search, b) * all(1.0f / marks.heaviest), scan);
  const float top = Codes::kMax > -Codes::kMin ? Codes::kMax : -Codes::kMin;
  // Each lane owns a stretch of the range, so that the winners of the lanes differ.
  const int lanes_per_sign = search.both_signs ? kLanes / 2 : kLanes;
  const float span = top * (search.high - search.low), step = span / static_cast<float>(lanes_per_sign * search.grid);
  for (int b = 0; b < search.grid; ++b) {
    float target[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      const float c = top * search.low + step * (0.5f + static_cast<float>(k % lanes_per_sign * search.grid + b));
      target[k] = k < lanes_per_sign ? c : -c;
    }
    scan_scales<Codes>(p, load(target) * all(1.0f / marks.largest), scan);
  }
  return scan;
}

// Places the heaviest element on every code and rounds: which of the exact scales rounds best?
template <class Codes, class Rounding>
inline void settle_lattice(Part p, const ScaleSearch& search, const Rounding& rounding, ScaleFit& fit) {
  const float heaviest = find_landmarks(p).heaviest;
  if (heaviest == 0) return;
  for (int b = 0; b < search.exact; ++b) {
    const ScaleFit found = best_of(
        refine_scales<Codes>(p, all(heaviest) * inverse_or_zero(exact_codes<Codes>(search, b)), rounding, 2));
    if (found.error < fit.error) fit = found;
  }
}

// A sub-block fitted alone, not rounded: the smallest of equally good scales and, when it leaves nothing,
// the largest (otherwise the same).
struct FreeScale {
  float smallest, largest;
};

template <class Codes>
inline FreeScale fit_free_scale(Part p, const ScaleSearch& search) {
  const Scan scan = coarse_scan<Codes>(p, search);
  const ScaleLanes lanes = refine_scales<Codes>(p, scan.scale, NoRounding{}, 2);
  const float power = max_lanes(scan.gain);
  const int k = best_free_lane(lanes.scale, lanes.error, power, false);
  if (lane(lanes.error, k) > kLatticeShare * power) return {lane(lanes.scale, k), lane(lanes.scale, k)};
  return {lane(lanes.scale, k), lane(lanes.scale, best_free_lane(lanes.scale, lanes.error, power, true))};
}

template <class Codes, class Rounding>
inline ScaleFit fit_scale(Part p, const ScaleSearch& search, const Rounding& rounding) {
  const Scan scan = coarse_scan<Codes>(p, search);
  ScaleFit fit = best_of(refine_scales<Codes>(p, scan.scale, rounding, 2));
  fit = polish_scale<Codes>(p, fit, rounding, 2);
  if (fit.error > 0 && fit.error < kLatticeShare * max_lanes(scan.gain)) settle_lattice<Codes>(p, search, rounding, fit);
  return fit;
}

}  // namespace hone::quant::HONE_QUANT_ISA
