// Sixteen groups of a grouped format side by side, one per lane, brought to unit size; and the rounding of
// their scales to what a block stores.
#pragma once

#include "quant/lanes.h"
#include "tensor/grouped.h"

namespace hone::quant::HONE_QUANT_ISA {

using tensor::ScaleType;

// x = original * down, so that the largest magnitude of each group lies in [1, 2); `unit` is the inverse.
// Without weights (kWeighted false) w is unused and every weight is 1.
template <bool kWeighted>
struct Groups {
  int n = 0;  // elements, a multiple of 16
  Lanes unit, down;
  Lanes low, high;    // smallest and largest
  Lanes largest;      // the element of largest magnitude, with its sign
  Lanes total, mean;  // sum of weights, weighted mean
  Lanes x[128], w[kWeighted ? 128 : 1];

  Lanes weigh(int i, Lanes a) const {
    if constexpr (kWeighted) return w[i] * a;
    return a;
  }
};

inline void transpose_groups(const float* const* rows, int n, Lanes* out) {
  const float* part[kLanes];
  for (int i = 0; i < n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) part[k] = rows[k] + i;
    transpose(part, reinterpret_cast<float*>(out + i));
  }
}

// Where no element of a group matters, the plain error decides; a floor keeps the others from vanishing.
template <bool kWeighted>
inline void load_weights(const float* const* weights, Groups<kWeighted>& g) {
  transpose_groups(weights, g.n, g.w);
  Lanes heaviest = all(0.0f);
  for (int i = 0; i < g.n; ++i) heaviest = max(heaviest, g.w[i]);
  const Lanes down = all(1.0f) / power_part(max(heaviest, all(0x1p-100f)));
  for (int i = 0; i < g.n; ++i)
    g.w[i] = select_less(all(0.0f), heaviest, max(g.w[i] * down, all(0x1p-50f)), all(1.0f));
}

template <bool kWeighted>
inline void load_groups(const float* const* groups, const float* const* weights, Groups<kWeighted>& g) {
  transpose_groups(groups, g.n, g.x);
  if constexpr (kWeighted) load_weights(weights, g);
  Lanes low = g.x[0], high = g.x[0];
  for (int i = 1; i < g.n; ++i) low = min(low, g.x[i]), high = max(high, g.x[i]);
  const Lanes depth = all(0.0f) - low, peak = max(high, depth);
  g.unit = power_part(min(max(peak, all(0x1p-100f)), all(0x1p126f)));
  g.down = all(1.0f) / g.unit;
  Lanes total = all(0.0f), sum = all(0.0f);
  for (int i = 0; i < g.n; ++i) {
    g.x[i] = g.x[i] * g.down;
    sum = sum + g.weigh(i, g.x[i]);
    total = total + g.weigh(i, all(1.0f));
  }
  g.low = low * g.down;
  g.high = high * g.down;
  g.largest = select_less(high, depth, low, high) * g.down;
  g.total = total;
  g.mean = sum / total;
}

// Scales as blocks store them, in the units of the groups.
struct Stored {
  ScaleType type;
  Lanes unit, down;

  Lanes operator()(Lanes d) const {
    if (type == ScaleType::kF32) return d;
    if (type == ScaleType::kBF16) {  // Veltkamp's split keeps 8 of 24 bits
      const Lanes c = d * all(65537.0f);
      return c - (c - d);
    }
    const Lanes v = min(max(d * unit, all(-65504.0f)), all(65504.0f));
    const Lanes c = v * all(8193.0f);                   // 11 of 24 bits
    const Lanes small = (v + all(0.75f)) - all(0.75f);  // multiples of 2^-24
    return select_less(magnitude(v), all(0x1p-14f), small, c - (c - v)) * down;
  }
  // Spacing of the stored values near d.
  Lanes step(Lanes d) const {
    if (type == ScaleType::kF32) return magnitude(d) * all(0x1p-12f);
    const Lanes power = power_part(max(magnitude(d), all(0x1p-30f)));
    if (type == ScaleType::kBF16) return power * all(0x1p-7f);
    return max(power * all(0x1p-10f), all(0x1p-24f) * down);
  }
};

// What is best so far: scale, bias or zero point, and what they leave.
struct Choice {
  Lanes scale = all(0.0f), second = all(0.0f), error = all(3e38f);

  void keep(Lanes s, Lanes b, Lanes e) {
    scale = select_less(e, error, s, scale);
    second = select_less(e, error, b, second);
    error = min(e, error);
  }
};

}  // namespace hone::quant::HONE_QUANT_ISA
