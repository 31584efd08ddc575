// IQ1_S and IQ1_M: vectors of 8 out of a code book of ternary points, shifted by 1/8 up or down. The encoders
// here put the peak on the largest value and take the nearest point; the search is in quant/.
#include "tensor/codec.h"
#include "tensor/codec_grids.h"

namespace hone::tensor {
namespace {

constexpr float kShift = 0.125f;

void put_point(unsigned index, float shift, float scale, float* y) {
  for (int i = 0; i < 8; ++i) y[i] = scale * (static_cast<float>(kIq1Grid.point[index][i]) + shift);
}

struct Nearest {
  unsigned index;
  float error;
};
Nearest nearest_point(const float* x, float shift, float inverse_scale) {
  float target[8];
  for (int k = 0; k < 8; ++k) {
    const float a = x[k] * inverse_scale;
    target[k] = (std::fabs(a) < 1e6f ? a : 1e6f) - shift;  // also NaN
  }
  Nearest best{0, INFINITY};
  for (unsigned p = 0; p < 2048; ++p) {
    float sum = 0;
    for (int k = 0; k < 8; ++k) {
      const float r = target[k] - static_cast<float>(kIq1Grid.point[p][k]);
      sum += r * r;
    }
    if (sum < best.error) best = {p, sum};
  }
  return best;
}

// The F16 scale that lets S = 7 (15 times) reach the block's peak.
uint16_t super_scale(const float* x) {
  return f32_to_f16(std::min(std::fabs(signed_peak(x, 256)) / (15.0f * (1 + kShift)), 65504.0f));
}
unsigned group_scale(const float* x, int n, float d) {
  const float aim = std::fabs(signed_peak(x, static_cast<size_t>(n))) / (1 + kShift) * inverse(d);
  return static_cast<unsigned>(clamp_to_int((aim - 1) * 0.5f + 0.5f, 0, 7));
}

// IQ1_M keeps its F16 scale in the top nibbles of four 16-bit words.
uint16_t collect_scale(const uint8_t* words) {
  unsigned bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<unsigned>(load<uint16_t>(words + 2 * i) >> 12) << (4 * i);
  return static_cast<uint16_t>(bits);
}

}  // namespace

// f16 d, low bytes of 32 indices, per 32 values a u16: four times 3 high bits, 3 bits of scale, the shift's
// sign.
void decode_iq1_s(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 50>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int k = 0; k < 32; ++k) {
      const unsigned word = load<uint16_t>(b + 34 + k / 4 * 2);
      const unsigned index = b[2 + k] | (((word >> (3 * (k % 4))) & 7u) << 8);
      put_point(index, word >> 15 ? -kShift : kShift, d * static_cast<float>(2 * ((word >> 12) & 7u) + 1),
                y + 8 * k);
    }
  });
}
void encode_iq1_s(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 50>(src, dst, n, [](const float* x, uint8_t* b) {
    store(b, super_scale(x));
    const float d = load_f16(b);
    for (int g = 0; g < 8; ++g) {
      const unsigned s = group_scale(x + 32 * g, 32, d);
      const float id = inverse(d * static_cast<float>(2 * s + 1));
      float least = INFINITY;
      for (const unsigned minus : {0u, 1u}) {
        unsigned word = (s << 12) | (minus << 15), low = 0;
        float error = 0;
        for (int l = 0; l < 4; ++l) {
          const Nearest p = nearest_point(x + 32 * g + 8 * l, minus ? -kShift : kShift, id);
          word |= (p.index >> 8) << (3 * l);
          low |= (p.index & 255u) << (8 * l);
          error += p.error;
        }
        if (minus && !(error < least)) continue;
        least = error;
        store(b + 2 + 4 * g, low);
        store(b + 34 + 2 * g, static_cast<uint16_t>(word));
      }
    }
  });
}

// Low bytes of 32 indices, nibbles of 3 high bits and the shift's sign, four u16: the top nibbles are the f16
// scale, the rest 3 bits of scale per 16 values.
void decode_iq1_m(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 56>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = f16_to_f32(collect_scale(b + 48));
    for (int k = 0; k < 32; ++k) {
      const unsigned high = (b[32 + k / 2] >> (4 * (k % 2))) & 15u, index = b[k] | ((high & 7u) << 8);
      const unsigned s = (load<uint16_t>(b + 48 + k / 8 * 2) >> (3 * (k / 2 % 4))) & 7u;
      put_point(index, high & 8u ? -kShift : kShift, d * static_cast<float>(2 * s + 1), y + 8 * k);
    }
  });
}
void encode_iq1_m(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 56>(src, dst, n, [](const float* x, uint8_t* b) {
    const uint16_t bits = super_scale(x);
    const float d = f16_to_f32(bits);
    std::memset(b, 0, 56);
    uint16_t words[4];
    for (int i = 0; i < 4; ++i) words[i] = static_cast<uint16_t>(((bits >> (4 * i)) & 15) << 12);
    for (int k = 0; k < 32; ++k) {
      const unsigned s = group_scale(x + 16 * (k / 2), 16, d);
      const float id = inverse(d * static_cast<float>(2 * s + 1));
      const Nearest up = nearest_point(x + 8 * k, kShift, id), down = nearest_point(x + 8 * k, -kShift, id);
      const bool minus = down.error < up.error;
      const unsigned index = minus ? down.index : up.index;
      b[k] = static_cast<uint8_t>(index);
      b[32 + k / 2] =
          static_cast<uint8_t>(b[32 + k / 2] | (((index >> 8) | (minus ? 8u : 0u)) << (4 * (k % 2))));
      if (k % 2 == 0) words[k / 8] = static_cast<uint16_t>(words[k / 8] | (s << (3 * (k / 2 % 4))));
    }
    std::memcpy(b + 48, words, 8);
  });
}

}  // namespace hone::tensor
