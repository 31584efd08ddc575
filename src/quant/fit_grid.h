// The fit of IQ1, IQ2 and IQ3 super-blocks: x ~ d * unit * (2 S + 1) * point, S per group. Groups are fitted
// freely first (scales in geometric steps about the one their mean square suggests, then least squares); then
// d is proposed from how the free scales round to odd multiples, and the best proposals are searched and
// refined.
#pragma once

#include <initializer_list>

#include "quant/grid_search.h"
#include "quant/pack_grid.h"

namespace hone::quant::HONE_QUANT_ISA {

// Format: what GridSearch asks for, and kSigns, kScales (S below it), kUnit, kTypical (free scale of a bell
// curve of mean square 1), kSteps, kLooks (how many of the steps meet the book), kRounds, kDense (so many points
// that the scales are found without the book), kLoose (what that leaves out).
template <class Format>
class GridFit {
  using Search = GridSearch<Format>;
  static constexpr int kDim = Format::kDim, kVectors = Search::kVectors, kGroups = Search::kGroups;
  static constexpr float kTop = 2 * Format::kScales - 1;

 public:
  void fit(const Block& block, GridBlock& out) {
    rounding_ = F16Rounding(block.exponent);
    w_ = block.w;
    search_.set_weights(block.w);
    take_signs(block.x);
    search_.set_values(target_);
    best_total_ = 3e38f;
    fit_free();
    float proposals[kProposals];
    propose(proposals);
    for (int k = 0; k < kProposals; ++k)
      if (k == 0 || proposals[k] != proposals[k - 1]) settle(proposals[k]);
    refine();
    if (Format::kSigns == Signs::kEven) exchange_signs();
    write(block, out);
  }

 private:
  static constexpr int kProposals = Format::kDense ? 1 : 2;

  // Takes the signs off. Where their number must be even and is not, the value whose wrong sign costs least
  // gets it; rank_ orders the values of 8 by that cost.
  void take_signs(const float* x) {
    if (Format::kSigns == Signs::kInBook) {
      for (int i = 0; i < kSuper; ++i) target_[i] = x[i];
      return;
    }
    for (int k = 0; k < kSuper / 8; ++k) {
      unsigned signs = 0;
      int odd = 0;
      for (int i = 0; i < 8; ++i) {
        const float v = x[8 * k + i];
        signs |= (v < 0 ? 1u : 0u) << i;
        odd ^= v < 0;
        target_[8 * k + i] = v < 0 ? -v : v;
      }
      flipped_[k] = -1;
      if (Format::kSigns == Signs::kEven && odd) {
        const int i = cheapest(k, -1);
        flipped_[k] = static_cast<int8_t>(i);
        signs ^= 1u << i;
        target_[8 * k + i] = -target_[8 * k + i];
      }
      signs_[k] = static_cast<uint8_t>(signs);
    }
  }
  // The value of the 8 with the least w |x|, but for `except`.
  int cheapest(int k, int except) const {
    int best = -1;
    float least = 3e38f;
    for (int i = 0; i < 8; ++i) {
      const float a = target_[8 * k + i], cost = w_[8 * k + i] * (a < 0 ? -a : a);
      if (i != except && cost < least) least = cost, best = i;
    }
    return best;
  }

  void fit_free() {
    float base[kGroups], scale[kGroups], error[kGroups], least[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      float power = 0, mass = 0;
      for (int i = g * Format::kGroup; i < (g + 1) * Format::kGroup; ++i) {
        power += w_[i] * target_[i] * target_[i];
        mass += w_[i];
      }
      power_[g] = power;
      base[g] = __builtin_sqrtf(power / mass) * Format::kTypical;
      least[g] = 3e38f;
      ideal_[g] = base[g];
    }
    uint8_t order[Format::kSteps][kGroups];
    order_steps(base, order);
    for (int look = 0; look < Format::kLooks; ++look) {
      for (int g = 0; g < kGroups; ++g) scale[g] = base[g] * Format::step(order[look][g]);
      if (Format::kDense)
        search_.loose_errors(scale, error);
      else
        search_.errors(scale, error);
      for (int g = 0; g < kGroups; ++g)
        if (error[g] < least[g]) least[g] = error[g], ideal_[g] = scale[g];
    }
    if (Format::kDense) {
      for (int g = 0; g < kGroups; ++g)
        stiffness_[g] = ideal_[g] > 0 ? power_[g] / (ideal_[g] * ideal_[g]) : 0;
      return;
    }
    GridChoice choice;
    search_.choose(ideal_, choice);
    for (int g = 0; g < kGroups; ++g) {
      const Moments2 m = moments(choice, g);
      if (m.qq > 0 && m.xq > 0) ideal_[g] = m.xq / m.qq;
      stiffness_[g] = m.qq;
    }
  }

  // The steps as they stand, or for each group by the errors without a book where only the first are looked at.
  void order_steps(const float* base, uint8_t (&order)[Format::kSteps][kGroups]) const {
    for (int step = 0; step < Format::kSteps; ++step)
      for (int g = 0; g < kGroups; ++g) order[step][g] = static_cast<uint8_t>(step);
    if (Format::kLooks == Format::kSteps) return;
    float scale[kGroups], sorted[Format::kSteps][kGroups];
    for (int step = 0; step < Format::kSteps; ++step) {
      float error[kGroups];
      for (int g = 0; g < kGroups; ++g) scale[g] = base[g] * Format::step(step);
      search_.loose_errors(scale, error);
      for (int g = 0; g < kGroups; ++g) {
        int at = step;
        for (; at > 0 && error[g] < sorted[at - 1][g]; --at)
          sorted[at][g] = sorted[at - 1][g], order[at][g] = order[at - 1][g];
        sorted[at][g] = error[g];
        order[at][g] = static_cast<uint8_t>(step);
      }
    }
  }

  struct Moments2 {
    float xq = 0, qq = 0;
  };
  // sum w x q and sum w q^2 of a group's choice.
  Moments2 moments(const GridChoice& choice, int g) const {
    float xq[kDim] = {}, qq[kDim] = {};
    for (int v = g * Search::kPerGroup; v < (g + 1) * Search::kPerGroup; ++v) {
      const float* point = Format::lists().point[choice.index[v]];
      const float shift = Search::shift(choice.minus[v]);
      for (int i = 0; i < kDim; ++i) {
        const float q = point[i] + shift, wq = w_[kDim * v + i] * q;
        xq[i] += wq * target_[kDim * v + i];
        qq[i] += wq * q;
      }
    }
    Moments2 m;
    for (int i = 0; i < kDim; ++i) m.xq += xq[i], m.qq += qq[i];
    return m;
  }

  static Lanes nearest_odd(Lanes a) {
    const Lanes s = round_whole(min(max(a * all(0.5f) - all(0.5f), all(0.0f)), all(Format::kScales - 1)));
    return s + s + all(1.0f);
  }

  // The d whose odd multiples are nearest to the free scales, in the metric of the errors they cause.
  void propose(float* best) const {
    float top = 0, least[kProposals];
    for (int g = 0; g < kGroups; ++g) top = ideal_[g] > top ? ideal_[g] : top;
    for (int k = 0; k < kProposals; ++k) best[k] = 0, least[k] = 3e38f;
    static constexpr float kFactors[] = {1.0f, 0.97f, 1.03f, 0.93f};
    for (const float factor : kFactors)
      for (float odd = kTop; odd > 0; odd -= 2 * kLanes) {
        const Lanes target = max(ramp(odd, -2), all(1.0f));
        const Lanes d = rounding_(all(top * factor) / (target * all(Format::kUnit)));
        const Lanes inverse = inverse_or_zero(d * all(Format::kUnit));
        Lanes total = all(0.0f);
        for (int g = 0; g < kGroups; ++g) {
          const Lanes r = all(ideal_[g]) - d * all(Format::kUnit) * nearest_odd(all(ideal_[g]) * inverse);
          total = total + all(stiffness_[g]) * r * r;
        }
        float ds[kLanes], totals[kLanes];
        store(ds, d);
        store(totals, total);
        for (int k = 0; k < kLanes; ++k) {
          if (ds[k] == best[0] || ds[k] == best[kProposals - 1]) continue;
          if (totals[k] < least[0]) {
            if (kProposals > 1) least[kProposals - 1] = least[0], best[kProposals - 1] = best[0];
            least[0] = totals[k], best[0] = ds[k];
          } else if (totals[k] < least[kProposals - 1]) {
            least[kProposals - 1] = totals[k], best[kProposals - 1] = ds[k];
          }
        }
      }
  }

  static float clamp_odd(float odd) { return odd < 1 ? 1 : odd > kTop ? kTop : odd; }

  void scales_at(float d, const float* odd, float* scale) const {
    for (int g = 0; g < kGroups; ++g) scale[g] = d * Format::kUnit * odd[g];
  }

  // For each group the better of the two odd multiples of d about its free scale.
  void settle(float d) {
    if (Format::kDense) return settle_loosely(d);
    float low[kGroups], high[kGroups], scale[kGroups], error[kGroups], other[kGroups];
    const float inverse = d == 0 ? 0 : 1 / (d * Format::kUnit);
    for (int g = 0; g < kGroups; ++g) {
      low[g] = clamp_odd(2 * whole(ideal_[g] * inverse * 0.5f - 1) + 1);
      high[g] = clamp_odd(low[g] + 2);
    }
    scales_at(d, low, scale);
    search_.errors(scale, error);
    scales_at(d, high, scale);
    search_.errors(scale, other);
    for (int g = 0; g < kGroups; ++g)
      if (other[g] < error[g]) low[g] = high[g];
    keep(d, low);
  }

  // All S, by the errors without a book.
  void settle_loosely(float d) {
    float odd[kGroups], scale[kGroups], error[kGroups], least[kGroups];
    for (int s = 0; s < Format::kScales; ++s) {
      for (int g = 0; g < kGroups; ++g) scale[g] = d * Format::kUnit * static_cast<float>(2 * s + 1);
      search_.loose_errors(scale, error);
      for (int g = 0; g < kGroups; ++g)
        if (s == 0 || error[g] < least[g]) least[g] = error[g], odd[g] = static_cast<float>(2 * s + 1);
    }
    keep(d, odd);
  }

  // Searches the points for these scales; true when they are the best so far.
  bool keep(float d, const float* odd) {
    float scale[kGroups];
    scales_at(d, odd, scale);
    search_.choose(scale, trial_);
    if (!(trial_.total < best_total_)) return false;
    best_total_ = trial_.total;
    best_ = trial_;
    d_ = d;
    for (int g = 0; g < kGroups; ++g) odd_[g] = odd[g];
    return true;
  }

  // Alternates: d by least squares for the points, odd multiples next to the present ones.
  void refine() {
    for (int round = 0; round < Format::kRounds; ++round) {
      float slope = 0, power = 0;
      for (int g = 0; g < kGroups; ++g) {
        const Moments2 m = moments(best_, g);
        slope += odd_[g] * m.xq;
        power += odd_[g] * odd_[g] * m.qq;
      }
      if (!(power > 0) || !(slope > 0)) return;
      const float d = rounding_(slope / (power * Format::kUnit));
      bool better = d != d_ && keep(d, odd_);
      if (Format::kDense) return;
      float odd[kGroups], scale[kGroups], error[kGroups], other[kGroups];
      bool moved = false;
      scales_at(d_, odd_, scale);
      group_errors(error);
      for (const float move : {-2.0f, 2.0f}) {
        for (int g = 0; g < kGroups; ++g) scale[g] = d_ * Format::kUnit * clamp_odd(odd_[g] + move);
        search_.errors(scale, other);
        for (int g = 0; g < kGroups; ++g) {
          if (move < 0) odd[g] = odd_[g];
          if (other[g] < error[g]) error[g] = other[g], odd[g] = clamp_odd(odd_[g] + move), moved = true;
        }
      }
      if (moved) better |= keep(d_, odd);
      if (!better) return;
    }
  }

  void group_errors(float* error) const {
    for (int g = 0; g < kGroups; ++g) {
      error[g] = 0;
      for (int v = g * Search::kPerGroup; v < (g + 1) * Search::kPerGroup; ++v) error[g] += best_.error[v];
    }
  }

  // Where a value took the wrong sign, the next cheapest may be the better victim.
  void exchange_signs() {
    float scale[kGroups];
    scales_at(d_, odd_, scale);
    int8_t other[kSuper / 8];
    for (int k = 0; k < kSuper / 8; ++k) {
      other[k] = flipped_[k];
      if (flipped_[k] >= 0) {
        other[k] = static_cast<int8_t>(cheapest(k, flipped_[k]));
        swap_signs(k, flipped_[k], other[k]);
      }
    }
    search_.set_values(target_);
    search_.choose(scale, trial_);
    constexpr int kPer8 = 8 / kDim;
    for (int k = 0; k < kSuper / 8; ++k) {
      if (flipped_[k] < 0) continue;
      float now = 0, then = 0;
      for (int v = kPer8 * k; v < kPer8 * (k + 1); ++v) now += trial_.error[v], then += best_.error[v];
      if (now < then) {
        flipped_[k] = other[k];
        for (int v = kPer8 * k; v < kPer8 * (k + 1); ++v) {
          best_.index[v] = trial_.index[v];
          best_.error[v] = trial_.error[v];
        }
      } else {
        swap_signs(k, other[k], flipped_[k]);
      }
    }
  }
  // The wrong sign goes from value `from` to value `to` of eight.
  void swap_signs(int k, int from, int to) {
    for (const int i : {from, to}) {
      target_[8 * k + i] = -target_[8 * k + i];
      signs_[k] = static_cast<uint8_t>(signs_[k] ^ (1u << i));
    }
  }

  void write(const Block& block, GridBlock& out) const {
    out.scale = d_ * power_of_two(block.exponent);
    for (int g = 0; g < kGroups; ++g) out.sub[g] = static_cast<uint8_t>((static_cast<int>(odd_[g]) - 1) / 2);
    for (int v = 0; v < kVectors; ++v) out.index[v] = best_.index[v];
    for (int k = 0; k < 32; ++k) out.signs[k] = Format::kSigns == Signs::kInBook ? best_.minus[k] : signs_[k];
  }

  Search search_;
  F16Rounding rounding_{0};
  const float* w_ = nullptr;
  alignas(64) float target_[kSuper];
  uint8_t signs_[32] = {};
  int8_t flipped_[32] = {};
  float ideal_[kGroups], power_[kGroups], stiffness_[kGroups];
  float d_ = 0, odd_[kGroups], best_total_ = 3e38f;
  GridChoice best_, trial_;
};

}  // namespace hone::quant::HONE_QUANT_ISA
