// Nearest points of a code book for the 256 values of a super-block, sixteen vectors side by side. The search
// is exhaustive (grid_lists.h says why that is cheap): no vector's distance depends on another's.
#pragma once

#include "quant/fit_super.h"
#include "quant/grid_lists.h"

// GCC 12 takes calls that fill a local object for dead and drops them (ipa-modref); it must not look inside.
#if defined(__GNUC__) && !defined(__clang__)
#define HONE_OPAQUE [[gnu::noipa]]
#else
#define HONE_OPAQUE
#endif

namespace hone::quant::HONE_QUANT_ISA {

// Who chooses the shift by 1/8 up or down of IQ1.
enum class Shift { kNone, kPerGroup, kPerVector };
// Signs are free, or an even number of minus per 8 values, or the book's points have them.
enum class Signs { kFree, kEven, kInBook };

struct GridChoice {
  uint16_t index[64];
  uint8_t minus[64];  // the shift is -1/8
  float error[64];    // sum w r^2 per vector
  float total = 0;
};

// Format: kDim, kDigits, value(digit), kGroup, kShift, lists().
template <class Format>
class GridSearch {
 public:
  static constexpr int kDim = Format::kDim, kVectors = kSuper / kDim, kBatches = kVectors / kLanes;
  static constexpr int kGroups = kSuper / Format::kGroup, kPerGroup = Format::kGroup / kDim;
  static constexpr int kShifts = Format::kShift == Shift::kNone ? 1 : 2;

  // x: 256 values as the points shall meet them (signs taken off); w: their weights.
  void set_weights(const float* w) { spread(w, w_); }
  void set_values(const float* x) { spread(x, x_); }

  // The least error per group when group g has scale[g].
  HONE_OPAQUE void errors(const float* scale, float* error) const {
    for (int b = 0; b < kBatches; ++b) {
      const Lanes s = scales_of(scale, b);
      Halves halves;
      float least[kShifts][kLanes];
      for (int m = 0; m < kShifts; ++m) {
        fill(b, s, shift(m), halves);
        store(least[m], least_of(halves));
      }
      sum_groups(b, least, error);
    }
  }

  // The same if every combination of digits were in the book: nearly free, and close where the book is dense.
  HONE_OPAQUE void loose_errors(const float* scale, float* error) const {
    for (int b = 0; b < kBatches; ++b) {
      const Lanes s = scales_of(scale, b);
      float least[kShifts][kLanes];
      for (int m = 0; m < kShifts; ++m) {
        Lanes total = all(0.0f), values[Format::kDigits];
        for (int v = 0; v < Format::kDigits; ++v) values[v] = s * all(Format::value(v) + shift(m));
        for (int k = 0; k < kDim; ++k) {
          Lanes best = magnitude(x_[b][k] - values[0]);
          for (int v = 1; v < Format::kDigits; ++v) best = min(best, magnitude(x_[b][k] - values[v]));
          total = total + w_[b][k] * (best * best + all(Format::kLoose) * s * s);
        }
        store(least[m], total);
      }
      sum_groups(b, least, error);
    }
  }

  // The points themselves.
  HONE_OPAQUE void choose(const float* scale, GridChoice& choice) const {
    choice.total = 0;
    for (int b = 0; b < kBatches; ++b) {
      const Lanes s = scales_of(scale, b);
      Halves halves[kShifts];
      float least[kShifts][kLanes], low[kShifts][kLanes];
      for (int m = 0; m < kShifts; ++m) {
        fill(b, s, shift(m), halves[m]);
        Lanes which = all(0.0f);
        store(least[m], least_of(halves[m], &which));
        store(low[m], which);
      }
      for (int l = 0; l < kLanes; l += kPerGroup) {
        float sum[2] = {0, 0};
        for (int k = l; k < l + kPerGroup; ++k)
          for (int m = 0; m < kShifts; ++m) sum[m] += least[m][k];
        for (int k = l; k < l + kPerGroup; ++k) {
          int m = 0;
          if (Format::kShift == Shift::kPerVector)
            m = least[kShifts - 1][k] < least[0][k];
          else if (Format::kShift == Shift::kPerGroup)
            m = sum[1] < sum[0];
          const int v = b * kLanes + k;
          choice.index[v] = point_of(halves[m], static_cast<int>(low[m][k]), k);
          choice.minus[v] = static_cast<uint8_t>(m);
          choice.error[v] = least[m][k];
          choice.total += least[m][k];
        }
      }
    }
  }

  static float shift(int minus) { return Format::kShift == Shift::kNone ? 0.0f : minus ? -0.125f : 0.125f; }

 private:
  static constexpr int kHalf = kDim == 8 ? 81 : 64;
  struct Halves {
    Lanes low[kHalf], high[kHalf];
  };

  // The errors of a batch's vectors, added up by group; shifts as they may be chosen.
  static void sum_groups(int batch, const float (&least)[kShifts][kLanes], float* error) {
    for (int l = 0; l < kLanes; l += kPerGroup) {
      float sum[2] = {0, 0}, both = 0;
      for (int k = l; k < l + kPerGroup; ++k) {
        for (int m = 0; m < kShifts; ++m) sum[m] += least[m][k];
        both += least[0][k] < least[kShifts - 1][k] ? least[0][k] : least[kShifts - 1][k];
      }
      float& e = error[(batch * kLanes + l) / kPerGroup];
      if (Format::kShift == Shift::kPerVector)
        e = both;
      else if (Format::kShift == Shift::kPerGroup)
        e = sum[0] < sum[1] ? sum[0] : sum[1];
      else
        e = sum[0];
    }
  }

  static void spread(const float* from, Lanes (&to)[kBatches][kDim]) {
    for (int b = 0; b < kBatches; ++b)
      for (int k = 0; k < kDim; ++k) {
        float v[kLanes];
        for (int l = 0; l < kLanes; ++l) v[l] = from[(b * kLanes + l) * kDim + k];
        to[b][k] = load(v);
      }
  }

  static Lanes scales_of(const float* scale, int batch) {
    float s[kLanes];
    for (int l = 0; l < kLanes; ++l) s[l] = scale[(batch * kLanes + l) / kPerGroup];
    return load(s);
  }

  // What each half costs: every combination of its digits, first coordinate least significant.
  void fill(int batch, Lanes s, float shift, Halves& halves) const {
    constexpr int kDigits = Format::kDigits;
    Lanes values[kDigits], cost[kDim][kDigits];
    for (int v = 0; v < kDigits; ++v) values[v] = s * all(Format::value(v) + shift);
    for (int k = 0; k < kDim; ++k) {
      const Lanes x = x_[batch][k], w = w_[batch][k];
      for (int v = 0; v < kDigits; ++v) {
        const Lanes r = x - values[v];
        cost[k][v] = w * r * r;
      }
    }
    if constexpr (kDim == 8) {
      for (int half = 0; half < 2; ++half) {
        const auto* c = cost + 4 * half;
        Lanes* to = half ? halves.high : halves.low;
        Lanes front[9];
        for (int a = 0; a < 3; ++a)
          for (int d = 0; d < 3; ++d) front[3 * d + a] = c[0][a] + c[1][d];
        for (int a = 0; a < 3; ++a)
          for (int d = 0; d < 3; ++d) {
            const Lanes back = c[2][a] + c[3][d];
            for (int i = 0; i < 9; ++i) to[27 * d + 9 * a + i] = front[i] + back;
          }
      }
    } else {
      for (int d = 0; d < kDigits; ++d)
        for (int a = 0; a < kDigits; ++a) {
          halves.low[kDigits * d + a] = cost[0][a] + cost[1][d];
          halves.high[kDigits * d + a] = cost[2][a] + cost[3][d];
        }
    }
  }

  // `which`, where wanted: the position of the best low in the lists.
  Lanes least_of(const Halves& halves, Lanes* which = nullptr) const {
    Lanes best = all(3e38f);
    const uint8_t* high = lists_.high;
    const uint8_t* low = lists_.low;
    int position = 0;
    for (int r = 0; r < lists_.run_count; ++r) {
      const int pairs = lists_.runs[r].pairs;
      for (int n = 0; n < lists_.runs[r].lows; ++n, high += 2 * pairs, ++position) {
        Lanes a = halves.high[high[0]], b = halves.high[high[1]];
        for (int p = 1; p < pairs; ++p) {
          a = min(a, halves.high[high[2 * p]]);
          b = min(b, halves.high[high[2 * p + 1]]);
        }
        const Lanes total = halves.low[*low++] + min(a, b);
        if (which) *which = select_less(total, best, all(static_cast<float>(position)), *which);
        best = min(total, best);
      }
    }
    return best;
  }

  uint16_t point_of(const Halves& halves, int position, int l) const {
    const auto* costs = reinterpret_cast<const float*>(halves.high);
    int best = lists_.start[position];
    float least = costs[lists_.high[best] * kLanes + l];
    for (int i = best + 1; i < lists_.start[position + 1]; ++i) {
      const float c = costs[lists_.high[i] * kLanes + l];
      if (c < least) least = c, best = i;
    }
    return lists_.index[best];
  }

  const GridLists& lists_ = Format::lists();
  Lanes x_[kBatches][kDim], w_[kBatches][kDim];
};

}  // namespace hone::quant::HONE_QUANT_ISA
