// Search for x ~ d * code + m with codes 0 .. kMax: as fit_scale.h, with both numbers at once.
#pragma once

#include "quant/codes.h"
#include "quant/fit.h"

namespace hone::quant::HONE_QUANT_ISA {

struct Moments {
  float total, mean;  // sum of weights, weighted mean
  float power;        // sum w x^2
};
inline Moments find_moments(Part p) {
  Lanes total = all(0.0f), sum = all(0.0f), power = all(0.0f);
  for (int i = 0; i < p.n; i += kLanes) {
    const Lanes x = load(p.x + i), w = load(p.w + i), wx = w * x;
    total = total + w;
    sum = sum + wx;
    power = power + wx * x;
  }
  const float t = sum_lanes(total);  // positive: load_block sees to it
  return {t, sum_lanes(sum) / t, sum_lanes(power)};
}

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

// centred: x minus its weighted mean, so that little cancels.
template <class Codes>
inline void scan_affine(Part p, const float* centred, const Moments& moments, Lanes inverse, Lanes shift,
                        AffineScan& scan) {
  Lanes product = all(0.0f), power = all(0.0f), mass = all(0.0f);
  for (int i = 0; i < p.n; ++i) {
    const Lanes x = all(centred[i]), w = all(p.w[i]);
    const Lanes q = Codes::nearest(x * inverse + shift), wq = w * q;
    product = product + wq * x;
    power = power + wq * q;
    mass = mass + wq;
  }
  const Lanes code_mean = mass * all(1.0f / moments.total);
  const Lanes scale = quotient_or_zero(product, power - mass * code_mean), gain = product * scale;
  const Lanes bar = scan_bar(scan.gain);
  scan.offset = select_less(bar, gain, all(moments.mean) - scale * code_mean, scan.offset);
  scan.scale = select_less(bar, gain, scale, scan.scale);
  scan.gain = select_less(bar, gain, gain, scan.gain);
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

// Neighbours of a fit: both ends of the code range move by up to `reach` codes, each lane another pair.
template <class Codes, class Rounding>
inline bool jitter_affine(Part p, float total, float reach, int rounds, const Rounding& rounding, AffineFit& fit) {
  static constexpr float kMoves[4] = {-1.0f, -0.35f, 0.3f, 0.9f};
  float scales[kLanes], offsets[kLanes];
  for (int k = 0; k < kLanes; ++k) {
    const float low = reach * kMoves[k / 4], high = reach * kMoves[k % 4];
    scales[k] = fit.scale * (1 + (high - low) / Codes::kMax);
    offsets[k] = fit.offset + fit.scale * low;
  }
  const AffineFit found = best_of(refine_affine<Codes>(p, total, load(scales), load(offsets), rounding, rounds));
  if (!(found.error < fit.error)) return false;
  fit = found;
  return true;
}

// The next stored values: five scales from `first` to `first + 4` steps away, each with the three offsets
// nearest to the one that suits it.
template <class Codes, class Rounding>
inline void settle_affine(Part p, const Moments& moments, float first, const Rounding& rounding, AffineFit& fit) {
  // The codes' weighted mean is about (mean - m) / d.
  const float pivot = fit.scale > 0 ? (moments.mean - fit.offset) / fit.scale : 0;
  const float step = rounding.step(fit.scale), offset_step = rounding.step(fit.offset);
  float scales[kLanes], offsets[kLanes];
  for (int k = 0; k < kLanes; ++k) {
    const float move = (first + static_cast<float>(k / 3)) * step;
    scales[k] = fit.scale + move;
    offsets[k] = fit.offset - move * pivot + static_cast<float>(k % 3 - 1) * offset_step;
  }
  const AffineFit found =
      best_of(refine_affine<Codes>(p, moments.total, load(scales), load(offsets), rounding, 1));
  if (found.error < fit.error) fit = found;
}

// A block of one value: what the rounded offset misses becomes a (tiny) scale.
template <class Codes, class Rounding>
inline AffineFit fit_constant(Part p, const Rounding& rounding) {
  const Lanes m = rounding(all(p.x[0]));
  const Lanes scale = (all(p.x[0]) - m) * all(1.0f / Codes::kMax);
  AffineFit fit = best_of(refine_affine<Codes>(p, 1, all(0.0f), m, rounding, 1));
  const AffineFit two = best_of(refine_affine<Codes>(p, 1, scale, m, rounding, 1));
  if (two.error < fit.error) fit = two;
  return fit;
}

// The ends of the code range are placed inside (or a little outside) the block's own range: fractions
// of the range cut off below and above, one pair per lane and batch. One batch more puts the smallest value
// on code 0 and the largest on each code of the upper half, which finds every exact lattice.
struct AffineSearch {
  float low, high;  // smallest and largest cut
  int steps;        // cuts per end, a multiple of 4
  int jitters;      // rounds of neighbours
};

template <class Codes>
inline AffineScan coarse_affine(Part p, const Moments& moments, const AffineSearch& search) {
  alignas(64) float centred[kMaxBlock];
  Lanes lowest = all(3e38f), highest = all(-3e38f);
  for (int i = 0; i < p.n; i += kLanes) {
    const Lanes x = load(p.x + i) - all(moments.mean);
    store(centred + i, x);
    lowest = min(lowest, x);
    highest = max(highest, x);
  }
  const float low = -max_lanes(all(0.0f) - lowest), high = max_lanes(highest), range = high - low;
  AffineScan scan;
  float inverse[kLanes], shift[kLanes];
  for (int k = 0; k < kLanes; ++k) {
    const float top = Codes::kMax - static_cast<float>(k);
    inverse[k] = (top < 1 ? 1 : top) / range;
    shift[k] = -low * inverse[k];
  }
  scan_affine<Codes>(p, centred, moments, load(inverse), load(shift), scan);
  const int side = search.steps / 4;  // batches per axis: each lane owns a square of side * side pairs
  // Cuts lie closer together near the ends.
  const auto cut = [&](int k) {
    const float t = static_cast<float>(k) / static_cast<float>(search.steps - 1);
    return search.low + (search.high - search.low) * t * (0.3f + 0.7f * t);
  };
  for (int b = 0; b < side * side; ++b) {
    for (int k = 0; k < kLanes; ++k) {
      const float below = cut(k / 4 * side + b / side), above = cut(k % 4 * side + b % side);
      inverse[k] = Codes::kMax / (range * (1.0f - below - above));
      shift[k] = -(low + range * below) * inverse[k];
    }
    scan_affine<Codes>(p, centred, moments, load(inverse), load(shift), scan);
  }
  return scan;
}

inline bool is_constant(Part p) {
  Lanes difference = all(0.0f);
  for (int i = 0; i < p.n; i += kLanes) difference = max(difference, magnitude(load(p.x + i) - all(p.x[0])));
  return !(max_lanes(difference) > 0);
}

// A sub-block fitted alone, not rounded.
template <class Codes>
inline AffineFit fit_free_affine(Part p, const Moments& moments, const AffineSearch& search) {
  if (is_constant(p)) return {0, p.x[0], 0};
  const AffineScan scan = coarse_affine<Codes>(p, moments, search);
  const AffineLanes lanes = refine_affine<Codes>(p, moments.total, scan.scale, scan.offset, NoRounding{}, 3);
  const int k = best_free_lane(lanes.scale, lanes.error, moments.power,
                               min_lanes(lanes.error) < kLatticeShare * moments.power);
  AffineFit fit{lane(lanes.scale, k), lane(lanes.offset, k), lane(lanes.error, k)};
  if (fit.error > kLatticeShare * moments.power)
    for (int j = 0; j < search.jitters; ++j)
      jitter_affine<Codes>(p, moments.total, j % 2 ? 0.25f : 0.8f, 2, NoRounding{}, fit);
  return fit;
}

template <class Codes, class Rounding>
inline AffineFit fit_affine(Part p, const AffineSearch& search, const Rounding& rounding) {
  if (is_constant(p)) return fit_constant<Codes>(p, rounding);
  const Moments moments = find_moments(p);
  const AffineScan scan = coarse_affine<Codes>(p, moments, search);
  AffineFit fit = best_of(refine_affine<Codes>(p, moments.total, scan.scale, scan.offset, rounding, 3));
  for (int k = 0; k < search.jitters; ++k)
    jitter_affine<Codes>(p, moments.total, k % 2 ? 0.25f : 0.8f, 2, rounding, fit);
  settle_affine<Codes>(p, moments, -2, rounding, fit);
  if (fit.error > 0 && fit.error < kLatticeShare * moments.power)
    for (int k = 0; k < 6; ++k) settle_affine<Codes>(p, moments, static_cast<float>(5 * (k < 3 ? k - 3 : k - 2) - 2), rounding, fit);
  return fit;
}

}  // namespace hone::quant::HONE_QUANT_ISA
