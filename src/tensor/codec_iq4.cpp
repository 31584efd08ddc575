// IQ4_NL and IQ4_XS: 4-bit codes into 16 uneven levels. The encoders scale the peak onto the outermost
// level; the error-minimising search is in quant/.
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

uint8_t nearest_level(float x) {
  const int8_t* above = std::lower_bound(kIq4Levels, kIq4Levels + 16, x,
                                         [](int8_t level, float v) { return static_cast<float>(level) < v; });
  if (above == kIq4Levels) return 0;
  if (above == kIq4Levels + 16) return 15;
  const auto index = static_cast<uint8_t>(above - kIq4Levels);
  return x - static_cast<float>(above[-1]) < static_cast<float>(above[0]) - x
             ? static_cast<uint8_t>(index - 1)
             : index;
}

// 32 values at 16 bytes: low nibbles are values 0..15, high nibbles 16..31.
void encode_levels(const float* x, float d, uint8_t* qs) {
  const float id = inverse(d);
  for (int i = 0; i < 16; ++i)
    qs[i] = static_cast<uint8_t>(nearest_level(x[i] * id) | (nearest_level(x[i + 16] * id) << 4));
}
void decode_levels(const uint8_t* qs, float d, float* y) {
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(kIq4Levels[qs[i] & 15]);
    y[i + 16] = d * static_cast<float>(kIq4Levels[qs[i] >> 4]);
  }
}

}  // namespace

// f16 d, nibbles[16]
void decode_iq4_nl(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 18>(src, dst, n,
                        [](const uint8_t* b, float* y) { decode_levels(b + 2, load_f16(b), y); });
}
void encode_iq4_nl(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 18>(src, dst, n, [](const float* x, uint8_t* b) {
    store_f16(b, signed_peak(x, 32) / -127.0f);
    encode_levels(x, load_f16(b), b + 2);
  });
}

// f16 d, u16 high scale bits, 4 bytes low scale nibbles, then 8 groups of 16 bytes; group scale S - 32.
void decode_iq4_xs(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 136>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    const unsigned high = load<uint16_t>(b + 2);
    for (int g = 0; g < 8; ++g) {
      const unsigned low = (b[4 + g / 2] >> (4 * (g % 2))) & 15u;
      const int scale = static_cast<int>(low | (((high >> (2 * g)) & 3u) << 4)) - 32;
      decode_levels(b + 8 + 16 * g, d * static_cast<float>(scale), y + 32 * g);
    }
  });
}
void encode_iq4_xs(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 136>(src, dst, n, [](const float* x, uint8_t* b) {
    float scales[8];
    for (int g = 0; g < 8; ++g) scales[g] = signed_peak(x + 32 * g, 32) / -127.0f;
    store_f16(b, signed_peak(scales, 8) / -32.0f);
    const float d = load_f16(b), id = inverse(d);
    uint16_t high = 0;
    std::memset(b + 4, 0, 4);
    for (int g = 0; g < 8; ++g) {
      const int scale = clamp_to_int(std::round(scales[g] * id), -32, 31);
      const int code = scale + 32;
      b[4 + g / 2] = static_cast<uint8_t>(b[4 + g / 2] | ((code & 15) << (4 * (g % 2))));
      high = static_cast<uint16_t>(high | ((code >> 4) << (2 * g)));
      encode_levels(x + 32 * g, d * static_cast<float>(scale), b + 8 + 16 * g);
    }
    store(b + 2, high);
  });
}

}  // namespace hone::tensor
