// Search for x ~ d * code + m with codes 0 .. kMax: as fit_scale.h, with both numbers at once.
#pragma once

#include "quant/codes.h"
#include "quant/fit.h"

namespace hone::quant::HONE_QUANT_ISA {

struct AffineSums {
  Lanes error;        // sum w r^2 with r = x - m - d q
  Lanes slope, lift;  // sum w r q, sum w r
  Lanes power, mass;  // sum w q^2, sum w q
};

template <class Codes>
inline AffineSums sum_at_affine(Part p, Lanes d, Lanes inverse, Lanes m) {
  AffineSums s{all(0.0f), all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
  for (int i = 0; i < p.n; ++i) {
    const Lanes x = all(p.x[i]) - m, w = all(p.w[i]);
    const Lanes q = Codes::nearest(x * inverse);
    const Lanes r = x - d * q, wr = w * r, wq = w * q;
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.lift = s.lift + wr;
    s.power = s.power + wq * q;
    s.mass = s.mass + wq;
  }
  return s;
}

struct AffineScan {
  Lanes scale = all(0.0f), offset = all(0.0f);
  Lanes gain = all(-1.0f);
};

// centred: x minus its weighted mean, so that little cancels. total: sum of weights.
template <class Codes>
inline void scan_affine(Part p, const float* centred, float mean, float total, Lanes inverse, Lanes shift,
                        AffineScan& scan) {
  Lanes product = all(0.0f), power = all(0.0f), mass = all(0.0f);
  for (int i = 0; i < p.n; ++i) {
    const Lanes x = all(centred[i]), w = all(p.w[i]);
    const Lanes q = Codes::nearest(x * inverse + shift), wq = w * q;
    product = product + wq * x;
    power = power + wq * q;
    mass = mass + wq;
  }
  const Lanes code_mean = mass * all(1.0f / total);
  const Lanes scale = quotient_or_zero(product, power - mass * code_mean), gain = product * scale;
  scan.offset = select_less(scan.gain, gain, all(mean) - scale * code_mean, scan.offset);
  scan.scale = select_less(scan.gain, gain, scale, scan.scale);
  scan.gain = select_less(scan.gain, gain, gain, scan.gain);
}

struct AffineFit {
  float scale = 0, offset = 0;
  float error = 0;
};
struct AffineLanes {
  Lanes scale, offset, error;
};

inline AffineFit best_of(const AffineLanes& lanes) {
  const int k = argmin(lanes.error);
  return {lane(lanes.scale, k), lane(lanes.offset, k), lane(lanes.error, k)};
}

// Alternates nearest codes and least squares. The scale is rounded first, then the offset that is best
// for the rounded scale.
template <class Codes, class Rounding>
inline AffineLanes refine_affine(Part p, float total, Lanes scale, Lanes offset, const Rounding& rounding, int rounds) {
  AffineLanes best{all(0.0f), all(0.0f), all(3e38f)};
  Lanes d = rounding(scale), m = rounding(offset);
  for (int k = 0; k < rounds; ++k) {
    const AffineSums s = sum_at_affine<Codes>(p, d, inverse_or_zero(d), m);
    best.scale = select_less(s.error, best.error, d, best.scale);
    best.offset = select_less(s.error, best.error, m, best.offset);
    best.error = min(s.error, best.error);
    if (k + 1 == rounds) break;
    const Lanes code_mean = s.mass * all(1.0f / total);
    const Lanes change = quotient_or_zero(s.slope - s.lift * code_mean, s.power - s.mass * code_mean);
    const Lanes next = rounding(d + change);
    m = rounding(m + s.lift * all(1.0f / total) - code_mean * (next - d));
    d = next;
  }
  return best;
}

// Neighbours of a fit: scales around it turn about the weighted mean of the codes, then offsets move.
template <class Codes, class Rounding>
inline AffineFit polish_affine(Part p, float total, float mean, AffineFit fit, const Rounding& rounding) {
  static constexpr float kTurns[kLanes] = {-24, -12, -6, -3, -2, -1, 0, 1, 2, 3, 6, 12, 24, 40, -40, 64};
  static constexpr float kMoves[4] = {-1.5f, -0.5f, 0.5f, 1.5f};
  const float step = rounding.step(fit.scale);
  // The codes' weighted mean is about (mean - m) / d.
  const float pivot = fit.scale > 0 ? (mean - fit.offset) / fit.scale : 0;
  const Lanes turned = all(fit.scale) + load(kTurns) * all(step);
  AffineFit found =
      best_of(refine_affine<Codes>(p, total, turned, all(mean) - turned * all(pivot), rounding, 3));
  if (found.error < fit.error) fit = found;
  float scales[kLanes], offsets[kLanes];
  for (int k = 0; k < kLanes; ++k) {
    scales[k] = fit.scale + kMoves[k / 4] * rounding.step(fit.scale);
    offsets[k] = fit.offset + kMoves[k % 4] * 2 * rounding.step(fit.offset);
  }
  found = best_of(refine_affine<Codes>(p, total, load(scales), load(offsets), rounding, 1));
  return found.error < fit.error ? found : fit;
}

// The ends of the code range are placed inside (or a little outside) the block's own range: fractions of
// the range cut off below and above, one pair per lane and batch.
struct AffineSearch {
  float low, high;  // smallest and largest cut
  int steps;        // cuts per end, a multiple of 4
};

template <class Codes>
inline AffineScan coarse_affine(Part p, float mean, float total, const AffineSearch& search) {
  alignas(64) float centred[kMaxBlock];
  Lanes lowest = all(3e38f), highest = all(-3e38f);
  for (int i = 0; i < p.n; i += kLanes) {
    const Lanes x = load(p.x + i) - all(mean);
    store(centred + i, x);
    lowest = min(lowest, x);
    highest = max(highest, x);
  }
  const float low = -max_lanes(all(0.0f) - lowest), high = max_lanes(highest), range = high - low;
  AffineScan scan;
  scan.offset = all(mean);
  if (!(range > 0)) return scan;
  const int side = search.steps / 4;  // batches per axis: each lane owns a square of side * side pairs
  const float step = (search.high - search.low) / static_cast<float>(search.steps - 1);
  for (int b = 0; b < side * side; ++b) {
    float inverse[kLanes], shift[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      const float below = search.low + step * static_cast<float>(k / 4 * side + b / side);
      const float above = search.low + step * static_cast<float>(k % 4 * side + b % side);
      const float span = range * (1.0f - below - above);
      inverse[k] = Codes::kMax / span;
      shift[k] = -(low + range * below) * inverse[k];
    }
    scan_affine<Codes>(p, centred, mean, total, load(inverse), load(shift), scan);
  }
  return scan;
}

struct Moments {
  float total, mean;
};
inline Moments find_moments(Part p) {
  Lanes total = all(0.0f), sum = all(0.0f);
  for (int i = 0; i < p.n; i += kLanes) {
    total = total + load(p.w + i);
    sum = sum + load(p.w + i) * load(p.x + i);
  }
  const float t = sum_lanes(total);  // positive: load_block sees to it
  return {t, sum_lanes(sum) / t};
}

template <class Codes, class Rounding>
inline AffineFit fit_affine(Part p, const AffineSearch& search, const Rounding& rounding) {
  const Moments moments = find_moments(p);
  const AffineScan scan = coarse_affine<Codes>(p, moments.mean, moments.total, search);
  const AffineFit fit = best_of(refine_affine<Codes>(p, moments.total, scan.scale, scan.offset, rounding, 3));
  return polish_affine<Codes>(p, moments.total, moments.mean, fit, rounding);
}

}  // namespace hone::quant::HONE_QUANT_ISA
