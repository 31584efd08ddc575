// Sixteen blocks fitted at once, one per lane. The searches of fit_*.h put sixteen candidates of one block
// side by side, which finds the best scale there is; here all lanes try the same few candidates relative to
// their own block, about ten times fewer, with nothing that crosses lanes. Blocks for which that is not good
// enough (on a lattice, or of extreme magnitude) are left to the other search.
#pragma once

#include "quant/fit.h"

namespace hone::quant::HONE_QUANT_ISA {

// Element i of all sixteen blocks in x[i], its weights in w[i]. Without weights (kWeighted false) w is unused.
template <int kCount>
struct Group {
  Lanes x[kCount], w[kCount];
  Lanes largest;   // the element of largest magnitude, with its sign
  Lanes power;     // sum w x^2
  Lanes total;     // sum w
  Lanes low, high; // smallest and largest x
  Lanes ordinary;  // 1 where x and w are of such magnitudes that no sum overflows or vanishes, else 0
};

// 1 where all weights are equal, as they are for a plain encoding.
inline bool equal_weights(const float* w, size_t count) {
  for (size_t i = 1; i < count; ++i)
    if (w[i] != w[0]) return false;
  return true;
}

// True for a block with so few different values that it lies on a lattice: weights that were quantized before. A scale
// and an offset may exist that give every one of them exactly, which the few candidates of a group need not hit. Values are told
// apart by 64 hashes: 32 random numbers leave 25 of them, and 18 or fewer once in some thousand blocks, at no loss.
inline bool has_few_values(const float* x, int count) {
  unsigned long long seen = 0;
  for (int i = 0; i < count; ++i) {
    unsigned bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    seen |= 1ull << ((bits * 0x9E3779B1u) >> 26);
  }
  return __builtin_popcountll(seen) <= count / 2 + 2;
}

// blocks and weights: sixteen pointers each.
template <bool kWeighted, int kCount>
inline void load_group(const float* const* blocks, const float* const* weights, Group<kCount>& g) {
  const float* rows[kLanes];
  for (int i = 0; i < kCount; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) rows[k] = blocks[k] + i;
    transpose(rows, reinterpret_cast<float*>(g.x + i));
    if constexpr (!kWeighted) continue;
    for (int k = 0; k < kLanes; ++k) rows[k] = weights[k] + i;
    transpose(rows, reinterpret_cast<float*>(g.w + i));
  }
  Lanes low = g.x[0], high = g.x[0], power = all(0.0f), total = all(0.0f), heaviest = all(0.0f);
  for (int i = 0; i < kCount; ++i) {
    const Lanes x = g.x[i];
    low = min(low, x);
    high = max(high, x);
    if constexpr (kWeighted) {
      const Lanes w = g.w[i];
      power = power + w * x * x;
      total = total + w;
      heaviest = max(heaviest, w);
    } else {
      power = power + x * x;
    }
  }
  g.low = low;
  g.high = high;
  g.power = power;
  g.total = kWeighted ? total : all(kCount);
  const Lanes zero = all(0.0f), one = all(1.0f), depth = zero - low;
  g.largest = select_less(high, depth, low, high);
  const Lanes peak = max(high, depth);
  g.ordinary = select_less(all(0x1p-24f), peak, select_less(peak, all(0x1p20f), one, zero),
                           select_less(zero, peak, zero, one));
  if constexpr (kWeighted)
    g.ordinary = select_less(all(0x1p-40f), heaviest, select_less(heaviest, all(0x1p40f), g.ordinary, zero), zero);
}

template <bool kWeighted, int kCount>
inline Lanes weigh(const Group<kCount>& g, int i, Lanes a) {
  if constexpr (kWeighted) return g.w[i] * a;
  return a;
}

// What is stored as F16, without a change of units.
inline Lanes round_f16(Lanes d) {
  const Lanes v = min(max(d, all(-65504.0f)), all(65504.0f));
  const Lanes c = v * all(8193.0f);
  const Lanes small = (v + all(0.75f)) - all(0.75f);
  return select_less(magnitude(v), all(0x1p-14f), small, c - (c - v));
}

// Spacing of F16 numbers at normal a, about: half of it below each power of two is overlooked.
inline Lanes f16_step(Lanes a) { return max(power_part(max(magnitude(a), all(0x1p-30f))) * all(0x1p-10f), all(0x1p-24f)); }

// The sum of a's lanes over runs of kRun lanes (8 or 16), in every lane of the run.
template <int kRun>
inline Lanes sum_run(Lanes a) {
  a = a + swap_lanes<1>(a);
  a = a + swap_lanes<2>(a);
  a = a + swap_lanes<4>(a);
  if constexpr (kRun == 16) a = a + swap_lanes<8>(a);
  return a;
}
template <int kRun>
inline Lanes max_run(Lanes a) {
  a = max(a, swap_lanes<1>(a));
  a = max(a, swap_lanes<2>(a));
  a = max(a, swap_lanes<4>(a));
  if constexpr (kRun == 16) a = max(a, swap_lanes<8>(a));
  return a;
}

}  // namespace hone::quant::HONE_QUANT_ISA
