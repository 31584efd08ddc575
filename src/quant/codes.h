// The code sets of the block formats: each gives the nearest code to a number, sixteen numbers at a time.
// A code is a number (what the scale multiplies), held as a float.
#pragma once

#include "quant/lanes.h"

namespace hone::quant::HONE_QUANT_ISA {

// Whole numbers from kLow to kHigh.
template <int kLow, int kHigh>
struct IntegerCodes {
  static constexpr float kMin = kLow, kMax = kHigh;
  static Lanes nearest(Lanes t) { return round_whole(min(max(t, all(kMin)), all(kMax))); }
};

// The sixteen values of IQ4_NL and IQ4_XS. No two of the 15 midpoints lie within 8 of each other, so a
// bucket of that width holds at most one: look up the midpoint and the codes on its two sides.
inline constexpr int kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
struct Iq4Buckets {
  float midpoint[32], below[32], above[32];
};
constexpr Iq4Buckets make_iq4_buckets() {
  Iq4Buckets b{};
  for (int i = 0; i < 32; ++i) {
    const int low = 8 * (i - 16);
    int k = 0;  // the code nearest to the bucket's lower end
    while (k < 15 && kIq4Values[k] + kIq4Values[k + 1] < 2 * low) ++k;
    b.midpoint[i] = k < 15 ? 0.5f * static_cast<float>(kIq4Values[k] + kIq4Values[k + 1]) : 1e9f;
    b.below[i] = static_cast<float>(kIq4Values[k]);
    b.above[i] = static_cast<float>(kIq4Values[k < 15 ? k + 1 : 15]);
  }
  return b;
}
inline constexpr Iq4Buckets kIq4Buckets = make_iq4_buckets();

struct Iq4Codes {
  static constexpr float kMin = -127, kMax = 113;
  static Lanes nearest(Lanes t) {
    const Lanes bucket = min(max(t * all(0.125f) + all(15.5f), all(0.0f)), all(31.0f));
    return select_less(lookup32(kIq4Buckets.midpoint, bucket), t, lookup32(kIq4Buckets.above, bucket),
                       lookup32(kIq4Buckets.below, bucket));
  }
};

// FP4 (E2M1): 0 .5 1 1.5 2 3 4 6 and their negatives.
struct Fp4Codes {
  static constexpr float kMin = -6, kMax = 6;
  static Lanes nearest(Lanes t) {
    const Lanes a = min(magnitude(t), all(6.0f));
    const Lanes fine = round_whole(a * all(2.0f)) * all(0.5f);
    const Lanes coarse = round_whole(a * all(0.5f)) * all(2.0f);
    const Lanes q = select_less(a, all(2.0f), fine, select_less(a, all(4.0f), round_whole(a), coarse));
    return select_less(t, all(0.0f), all(0.0f) - q, q);
  }
};

}  // namespace hone::quant::HONE_QUANT_ISA
