// Encoders of the formats with very few values: ternary (TQ1_0, TQ2_0), signs (Q1_0), FP4 with an 8-bit scale
// per 16 values (NVFP4). Here a vector holds sixteen elements, not sixteen candidates; sums over its lanes
// are taken in order, so that every instruction set finds the same bytes.
#pragma once

#include <cstddef>

#include "quant/fit_scale.h"
#include "quant/pack_grid.h"

namespace hone::quant::HONE_QUANT_ISA {

// For a scale d the values beyond d / 2 become -d or d. Of those, what least squares need.
struct Beyond {
  float product = 0;  // sum w |x|
  float weight = 0;   // sum w
  float scale() const { return weight > 0 ? product / weight : 0; }
  float gain() const { return product * scale(); }
};

inline Beyond sum_beyond(const Block& block, float threshold) {
  Lanes product = all(0.0f), weight = all(0.0f);
  for (int i = 0; i < block.n; i += kLanes) {
    const Lanes a = magnitude(load(block.x + i));
    const Lanes w = select_less(all(threshold), a, load(block.w + i), all(0.0f));
    product = product + w * a;
    weight = weight + w;
  }
  return {sum_lanes(product), sum_lanes(weight)};
}

// Thresholds spread over the magnitudes; from the best, alternate scale and threshold.
inline float fit_ternary(const Block& block) {
  static constexpr float kThresholds[] = {0.85f, 0.6f,  0.5f,  0.42f, 0.35f, 0.29f,
                                          0.24f, 0.19f, 0.14f, 0.09f, 0.04f, 0.0f};
  Beyond best;
  for (const float t : kThresholds) {
    const Beyond b = sum_beyond(block, t * block.peak);
    if (b.gain() > best.gain()) best = b;
  }
  for (int round = 0; round < 4; ++round) {
    const Beyond b = sum_beyond(block, 0.5f * best.scale());
    if (!(b.gain() > best.gain())) break;
    best = b;
  }
  return best.scale();
}

template <int kBytes, void (*kPack)(float, const int8_t*, uint8_t*)>
void encode_ternary(const float* x, const float* w, size_t cols, std::byte* dst) {
  Block block;
  int8_t codes[kMaxBlock];
  for (size_t i = 0; i < cols; i += kMaxBlock) {
    load_block(x + i, w + i, kMaxBlock, block);
    const float d = F16Rounding(block.exponent)(fit_ternary(block)), half = 0.5f * d;
    for (int k = 0; k < kMaxBlock; ++k)
      codes[k] = static_cast<int8_t>((block.x[k] > half ? 1 : 0) - (block.x[k] < -half ? 1 : 0));
    kPack(d * power_of_two(block.exponent), codes, reinterpret_cast<uint8_t*>(dst) + i / kMaxBlock * kBytes);
  }
}

// The weighted mean magnitude is the exact optimum.
inline void encode_q1_0(const float* x, const float* w, size_t cols, std::byte* dst) {
  constexpr int kBlock = 128, kBytes = 18;
  Block block;
  for (size_t i = 0; i < cols; i += kBlock) {
    load_block(x + i, w + i, kBlock, block);
    Lanes product = all(0.0f), weight = all(0.0f);
    for (int k = 0; k < kBlock; k += kLanes) {
      product = product + load(block.w + k) * magnitude(load(block.x + k));
      weight = weight + load(block.w + k);
    }
    const float mean = sum_lanes(product) / sum_lanes(weight);
    uint8_t bits[kBlock / 8];
    for (int k = 0; k < kBlock / 8; ++k) {
      unsigned byte = 0;
      for (int j = 0; j < 8; ++j) byte |= (block.x[8 * k + j] >= 0 ? 1u : 0u) << j;
      bits[k] = static_cast<uint8_t>(byte);
    }
    pack_q1_0(F16Rounding(block.exponent)(mean) * power_of_two(block.exponent), bits,
              reinterpret_cast<uint8_t*>(dst) + i / kBlock * kBytes);
  }
}

// Unsigned E4M3 by code; 0x7F is not a number.
struct Ue4m3Values {
  float value[128];
};
constexpr Ue4m3Values make_ue4m3() {
  Ue4m3Values t{};
  for (int code = 0; code < 127; ++code) {
    float v = static_cast<float>(code % 8 + (code < 8 ? 0 : 8)) * 0x1p-9f;
    for (int e = 1; e < code / 8; ++e) v += v;
    t.value[code] = v;
  }
  return t;
}
inline constexpr Ue4m3Values kUe4m3 = make_ue4m3();

// Scales are tried downwards from the one that puts the peak on 3, four octaves: the peak may be worth
// clipping.
inline int fit_ue4m3(Part p, int exponent) {
  float peak = max_lanes(magnitude(load(p.x)));
  const float top = peak * (1.0f / 3);
  int code = exponent_of(top) + exponent + 7;
  code = code < 0 ? 7 : 8 * code + static_cast<int>(__builtin_bit_cast(unsigned, top) >> 20 & 7) + 1;
  code = code < 31 ? 31 : code > 126 ? 126 : code;
  const float unit = power_of_two(-exponent);
  int best = 0;
  float least = 3e38f;
  for (int batch = 0; batch < 2; ++batch, code -= kLanes) {
    float scales[kLanes];
    for (int k = 0; k < kLanes; ++k) scales[k] = kUe4m3.value[code - k] * unit;
    const Lanes d = load(scales), error = sum_at_scale<Fp4Codes>(p, d, inverse_or_zero(d)).error;
    const int k = argmin(error);
    if (lane(error, k) < least) least = lane(error, k), best = code - k;
  }
  return best;
}

inline void encode_nvfp4(const float* x, const float* w, size_t cols, std::byte* dst) {
  static constexpr uint8_t kOfDoubled[13] = {0, 1, 2, 3, 4, 0, 5, 0, 6, 0, 0, 0, 7};
  constexpr int kBlock = 64, kBytes = 36, kSub = 16;
  static_assert(kSub == kLanes);
  Block block;
  for (size_t i = 0; i < cols; i += kBlock) {
    load_block(x + i, w + i, kBlock, block);
    auto* b = reinterpret_cast<uint8_t*>(dst) + i / kBlock * kBytes;
    for (int g = 0; g < kBlock / kSub; ++g) {
      const Part p{block.x + kSub * g, block.w + kSub * g, kSub};
      const int code = fit_ue4m3(p, block.exponent);
      const Lanes inverse = inverse_or_zero(all(kUe4m3.value[code] * power_of_two(-block.exponent)));
      float q[kLanes];
      store(q, Fp4Codes::nearest(load(p.x) * inverse));
      uint8_t nibble[kSub];
      for (int k = 0; k < kSub; ++k) {
        const float a = q[k] < 0 ? -q[k] : q[k];
        nibble[k] = static_cast<uint8_t>(kOfDoubled[static_cast<int>(a + a)] | (q[k] < 0 ? 8 : 0));
      }
      b[g] = static_cast<uint8_t>(code);
      for (int k = 0; k < 8; ++k) b[4 + 8 * g + k] = static_cast<uint8_t>(nibble[k] | nibble[k + 8] << 4);
    }
  }
}

}  // namespace hone::quant::HONE_QUANT_ISA
