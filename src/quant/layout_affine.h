// Searches for x ~ scale * q + bias and x ~ scale * (q - zero) with codes q = 0 .. top, sixteen groups at
// once. The ends of the code range are placed inside the group's range by a few pairs of cuts; the best of
// them is improved by alternating nearest codes and least squares; then the neighbours that a block can store
// are tried.
#pragma once

#include "quant/layout_group.h"

namespace hone::quant::HONE_QUANT_ISA {

// Shares of the range that are cut off at one end; every pair of two of them is tried. One table for groups
// whose elements weigh the same, where the neighbours of one start find nearly all there is, and one for
// weighted groups.
struct Cuts {
  int count;
  float share[4];
  int rounds;      // of least squares
  int neighbours;  // rounds of neighbours of the best
  int reach;       // stored scales tried on each side, where they are coarse (BF16)
};
inline constexpr Cuts kPlainCuts[9] = {
    {0, {}, 0, 0, 0},
    {4, {0.1f, 0.2f, 0.3f, 0.42f}, 3, 0, 0},
    {2, {0.05f, 0.2f}, 2, 1, 1},
    {1, {0.08f}, 2, 1, 1},
    {1, {0.05f}, 2, 1, 1},
    {1, {0.025f}, 1, 1, 1},
    {1, {0.01f}, 1, 1, 1},
    {1, {0.006f}, 1, 0, 2},
    {1, {0.003f}, 1, 0, 2},
};
inline constexpr Cuts kWeightedCuts[9] = {
    {0, {}, 0, 0, 0},
    {4, {0.1f, 0.2f, 0.3f, 0.42f}, 2, 2, 0},
    {4, {-0.04f, 0.07f, 0.18f, 0.3f}, 2, 2, 1},
    {3, {0.0f, 0.1f, 0.2f}, 2, 2, 1},
    {3, {0.0f, 0.06f, 0.13f}, 2, 2, 1},
    {3, {0.0f, 0.03f, 0.07f}, 1, 2, 2},
    {2, {0.0f, 0.02f}, 1, 2, 2},
    {2, {0.0f, 0.01f}, 1, 2, 2},
    {2, {0.0f, 0.005f}, 1, 2, 2},
};
template <bool kWeighted>
inline constexpr const Cuts* kCuts = kWeighted ? kWeightedCuts : kPlainCuts;

// Least squares for the codes that each candidate chooses: scale, bias, and how much of the variance they
// explain.
struct Scan {
  Lanes scale = all(0.0f), bias = all(0.0f), gain = all(-1.0f);
};

template <bool kWeighted>
[[gnu::noinline]] inline void scan_affine(const Groups<kWeighted>& g, Lanes top, Lanes inverse, Lanes start,
                                          Scan& scan) {
  Lanes product = all(0.0f), power = all(0.0f), mass = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < g.n; ++i) {
    const Lanes q = round_whole(min(max((g.x[i] - start) * inverse, all(0.0f)), top)), wq = g.weigh(i, q);
    product = product + wq * (g.x[i] - g.mean);
    power = power + wq * q;
    mass = mass + wq;
  }
  const Lanes code_mean = mass / g.total;
  const Lanes scale = quotient_or_zero(product, power - mass * code_mean), gain = product * scale;
  scan.bias = select_less(scan.gain, gain, g.mean - scale * code_mean, scan.bias);
  scan.scale = select_less(scan.gain, gain, scale, scan.scale);
  scan.gain = max(gain, scan.gain);
}

// Values that lie on a lattice within the reach of the codes: the smallest distance from the lowest value, as
// the step, finds it. Otherwise just one more candidate.
template <bool kWeighted>
inline void scan_lattice(const Groups<kWeighted>& g, Lanes top, Scan& scan) {
  const Lanes far = all(4.0f), noise = (g.high - g.low) * all(1e-4f);
  Lanes gap = far;
  for (int i = 0; i < g.n; ++i) {
    const Lanes d = g.x[i] - g.low;
    gap = min(gap, select_less(noise, d, d, far));
  }
  scan_affine(g, top, inverse_or_zero(gap), g.low, scan);
}

// Both ends of the code range move by up to `reach` codes; then least squares again.
template <bool kWeighted>
inline void scan_neighbours(const Groups<kWeighted>& g, Lanes top, float reach, Scan& scan) {
  static constexpr float kMoves[3] = {-1.0f, 0.1f, 0.9f};
  const Lanes scale = scan.scale, bias = scan.bias, codes = all(1.0f) / top;
  for (const float low : kMoves)
    for (const float high : kMoves)
      scan_affine(g, top, inverse_or_zero(scale * (all(1.0f) + all(reach * (high - low)) * codes)),
                  bias + scale * all(reach * low), scan);
  scan_affine(g, top, inverse_or_zero(scan.scale), scan.bias, scan);
}

template <bool kWeighted>
inline Scan scan_cuts(const Groups<kWeighted>& g, Lanes top, const Cuts& cuts, Lanes low, Lanes high) {
  const Lanes range = high - low;
  Scan scan;
  for (int a = 0; a < cuts.count; ++a)
    for (int b = 0; b < cuts.count; ++b) {
      const Lanes width = range * all(1.0f - cuts.share[a] - cuts.share[b]);
      scan_affine(g, top, top * inverse_or_zero(width), low + range * all(cuts.share[a]), scan);
    }
  scan_lattice(g, top, scan);
  for (int k = 0; k < cuts.rounds; ++k) scan_affine(g, top, inverse_or_zero(scan.scale), scan.bias, scan);
  for (int k = 0; k < cuts.neighbours; ++k) scan_neighbours(g, top, k % 2 ? 0.3f : 0.8f, scan);
  return scan;
}

// q = nearest of 0 .. top to (x - bias) / scale; the scale may be negative.
template <bool kWeighted>
[[gnu::noinline]] inline Lanes bias_error(const Groups<kWeighted>& g, Lanes top, Lanes scale, Lanes bias) {
  const Lanes inverse = inverse_or_zero(scale);
  Lanes error = all(0.0f);
#pragma GCC unroll 4
  for (int i = 0; i < g.n; ++i) {
    const Lanes q = round_whole(min(max((g.x[i] - bias) * inverse, all(0.0f)), top));
    const Lanes r = g.x[i] - (scale * q + bias);
    error = error + g.weigh(i, r) * r;
  }
  return error;
}

// What MLX's quantizer chooses: the end of larger magnitude is stored exactly, and 0 gets a code. Its codes
// are the nearest to scale and bias before rounding, so ours are never worse.
template <bool kWeighted>
inline void try_mlx(const Groups<kWeighted>& g, Lanes top, const Stored& stored, Choice& best) {
  const Lanes zero = all(0.0f), depth = zero - g.low;
  const Lanes edge = select_less(magnitude(g.high), magnitude(g.low), g.low, g.high);
  Lanes scale = max((g.high + depth) / top, all(1e-7f) * g.down);
  scale = select_less(magnitude(g.high), magnitude(g.low), scale, zero - scale);
  const Lanes ratio = min(max(edge / scale, all(-4e6f)), all(4e6f)), code = round_whole(ratio);
  const Lanes some = magnitude(code);
  scale = select_less(zero, some, edge * inverse_or_zero(code), scale);
  const Lanes s = stored(scale), b = stored(select_less(zero, some, edge, zero));
  best.keep(s, b, bias_error(g, top, s, b));
}

// A group of one value: what the rounded bias misses becomes the scale.
template <bool kWeighted>
inline void try_constant(const Groups<kWeighted>& g, Lanes top, const Stored& stored, Choice& best) {
  const Lanes range = g.high - g.low;
  if (lane(range, argmin(range)) > 0) return;
  const Lanes b = stored(g.mean), s = stored(g.mean - b);
  best.keep(s, b, bias_error(g, top, s, b));
}

template <bool kWeighted>
inline Choice fit_bias(const Groups<kWeighted>& g, int bits, const Stored& stored) {
  const Cuts& cuts = kCuts<kWeighted>[bits];
  const Lanes top = all(static_cast<float>((1 << bits) - 1));
  const Scan scan = scan_cuts(g, top, cuts, g.low, g.high);
  const Lanes code_mean = (g.mean - scan.bias) * inverse_or_zero(scan.scale);
  Choice best;
  const int reach = stored.type == ScaleType::kBF16 ? cuts.reach : 0;
  for (int k = -reach; k <= reach; ++k) {
    const Lanes s = stored(scan.scale + all(static_cast<float>(k)) * stored.step(scan.scale));
    const Lanes b = stored(g.mean - s * code_mean);  // least squares for that scale
    best.keep(s, b, bias_error(g, top, s, b));
    if (stored.type == ScaleType::kF32) continue;
    // The same codes counted from the other end: another bias is rounded.
    const Lanes other = stored(g.mean + s * (top - code_mean)), t = all(0.0f) - s;
    best.keep(t, other, bias_error(g, top, t, other));
  }
  const Lanes plain = stored((g.high - g.low) / top), low = stored(g.low);
  best.keep(plain, low, bias_error(g, top, plain, low));
  try_mlx(g, top, stored, best);
  try_constant(g, top, stored, best);
  return best;
}

// The same with a zero point: codes from -zero to top - zero.
struct ZeroSums {
  Lanes error, slope, power;
};
template <bool kWeighted>
[[gnu::noinline]] inline ZeroSums zero_sums(const Groups<kWeighted>& g, Lanes top, Lanes scale, Lanes zero) {
  const Lanes inverse = inverse_or_zero(scale), least = all(0.0f) - zero, most = top - zero;
  ZeroSums s{all(0.0f), all(0.0f), all(0.0f)};
#pragma GCC unroll 4
  for (int i = 0; i < g.n; ++i) {
    const Lanes q = round_whole(min(max(g.x[i] * inverse, least), most)), r = g.x[i] - scale * q;
    const Lanes wr = g.weigh(i, r);
    s.error = s.error + wr * r;
    s.slope = s.slope + wr * q;
    s.power = s.power + g.weigh(i, q) * q;
  }
  return s;
}

template <bool kWeighted>
inline Choice fit_zero(const Groups<kWeighted>& g, int bits, const Stored& stored) {
  const Lanes none = all(0.0f), top = all(static_cast<float>((1 << bits) - 1));
  const Lanes low = min(g.low, none), high = max(g.high, none);
  const Scan scan = scan_cuts(g, top, kCuts<kWeighted>[bits], low, high);
  Choice best;
  const auto clamped = [&](Lanes zero) { return round_whole(min(max(zero, none), top)); };
  // Nearest zero points, each with a few scales that move the ends by parts of a code; least squares, then as
  // stored.
  const Lanes middle = (none - scan.bias) * inverse_or_zero(scan.scale);
  for (const float move : {0.0f, -1.0f, 1.0f}) {
    const Lanes zero = clamped(middle + all(move));
    for (const float stretch : {-1.2f, -0.4f, 0.4f, 1.2f}) {
      const Lanes start = scan.scale * (all(1.0f) + all(stretch) / top);
      const ZeroSums sums = zero_sums(g, top, start, zero);
      const Lanes s = stored(start + quotient_or_zero(sums.slope, sums.power));
      best.keep(s, zero, zero_sums(g, top, s, zero).error);
    }
  }
  const ZeroSums sums = zero_sums(g, top, best.scale, best.second);
  const Lanes better = stored(best.scale + quotient_or_zero(sums.slope, sums.power));
  best.keep(better, best.second, zero_sums(g, top, better, best.second).error);
  const Lanes plain = stored((high - low) / top), zero = clamped((none - low) * inverse_or_zero(plain));
  best.keep(plain, zero, zero_sums(g, top, plain, zero).error);
  return best;
}

}  // namespace hone::quant::HONE_QUANT_ISA
