// Floats of 8 and 4 bits (OCP FP8 and MX specifications; the FNUZ variants of Graphcore/AMD) and the
// MXFP4 block. Encode rounds to nearest, ties to even, and saturates to the largest finite value.
#include <array>
#include <limits>

#include "tensor/codec.h"

namespace hone::tensor {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Table = std::array<float, 256>;

// A float of 1 sign bit, then exponent, then mantissa. Fnuz: no infinity, no negative zero, 0x80 is NaN.
float minifloat(unsigned code, int mantissa_bits, int bias) {
  const unsigned magnitude = code & 0x7F;
  const int exponent = static_cast<int>(magnitude >> mantissa_bits);
  const float fraction =
      static_cast<float>(magnitude & ((1u << mantissa_bits) - 1)) / static_cast<float>(1 << mantissa_bits);
  const float value =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1.0f + fraction, exponent - bias);
  return code & 0x80 ? -value : value;
}

Table make_e4m3() {
  Table t;
  for (unsigned c = 0; c < 256; ++c) t[c] = (c & 0x7F) == 0x7F ? kNan : minifloat(c, 3, 7);
  return t;
}
Table make_e5m2() {
  Table t;
  for (unsigned c = 0; c < 256; ++c) t[c] = minifloat(c, 2, 15);
  for (unsigned sign : {0u, 0x80u}) {
    t[sign | 0x7C] = sign ? -kInfinity : kInfinity;
    for (unsigned c = 0x7D; c < 0x80; ++c) t[sign | c] = kNan;
  }
  return t;
}
Table make_fnuz(int mantissa_bits, int bias) {
  Table t;
  for (unsigned c = 0; c < 256; ++c) t[c] = c == 0x80 ? kNan : minifloat(c, mantissa_bits, bias);
  return t;
}

const Table kE4m3 = make_e4m3(), kE5m2 = make_e5m2(), kE4m3Fnuz = make_fnuz(3, 8),
            kE5m2Fnuz = make_fnuz(2, 16);

void decode_table(const Table& table, const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = table[std::to_integer<uint8_t>(src[i])];
}

// Codes 0..last are finite and ascend with their values.
uint8_t nearest_code(const Table& table, uint8_t last, float magnitude) {
  const auto end = table.begin() + last + 1;
  const auto above = std::lower_bound(table.begin(), end, magnitude);
  if (above == end) return last;
  const auto code = static_cast<uint8_t>(above - table.begin());
  if (code == 0) return 0;
  const float up = table[code] - magnitude, down = magnitude - table[code - 1];
  return up < down || (up == down && code % 2 == 0) ? code : static_cast<uint8_t>(code - 1);
}

void encode_table(const Table& table, uint8_t last, uint8_t nan, bool negative_zero, const float* src,
                  std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const float x = src[i];
    uint8_t code = std::isnan(x) ? nan : nearest_code(table, last, std::fabs(x));
    if (!std::isnan(x) && std::signbit(x) && (code != 0 || negative_zero)) code |= 0x80;
    dst[i] = std::byte{code};
  }
}

float e8m0_value(uint8_t code) {
  return code == 255 ? kNan : std::ldexp(1.0f, static_cast<int>(code) - 127);
}

// Nearest of the 16 values d * kF4Doubled, the lower index of equals.
uint8_t nearest_f4(float x, float d) {
  uint8_t best = 0;
  float least = kInfinity;
  for (uint8_t k = 0; k < 16; ++k) {
    const float error = std::fabs(d * static_cast<float>(kF4Doubled[k]) - x);
    if (error < least) least = error, best = k;
  }
  return best;
}

// Half of 2^(code - 127), because the value table is doubled; subnormal for codes 0 and 1.
float mx_half_scale(uint8_t code) {
  return std::bit_cast<float>(code < 2 ? 0x00200000u << code : uint32_t(code - 1) << 23);
}

}  // namespace

void decode_f8_e4m3(const std::byte* src, float* dst, size_t n) {
  decode_table(kE4m3, src, dst, n);
}
void encode_f8_e4m3(const float* src, std::byte* dst, size_t n) {
  encode_table(kE4m3, 0x7E, 0x7F, true, src, dst, n);
}
void decode_f8_e5m2(const std::byte* src, float* dst, size_t n) {
  decode_table(kE5m2, src, dst, n);
}
void encode_f8_e5m2(const float* src, std::byte* dst, size_t n) {
  encode_table(kE5m2, 0x7B, 0x7E, true, src, dst, n);
}
void decode_f8_e4m3fnuz(const std::byte* src, float* dst, size_t n) {
  decode_table(kE4m3Fnuz, src, dst, n);
}
void encode_f8_e4m3fnuz(const float* src, std::byte* dst, size_t n) {
  encode_table(kE4m3Fnuz, 0x7F, 0x80, false, src, dst, n);
}
void decode_f8_e5m2fnuz(const std::byte* src, float* dst, size_t n) {
  decode_table(kE5m2Fnuz, src, dst, n);
}
void encode_f8_e5m2fnuz(const float* src, std::byte* dst, size_t n) {
  encode_table(kE5m2Fnuz, 0x7F, 0x80, false, src, dst, n);
}

void decode_f8_e8m0(const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) dst[i] = e8m0_value(std::to_integer<uint8_t>(src[i]));
}
// A power of two has no zero and no sign: zero becomes the smallest value, negative numbers NaN. Ties
// (1.5 * 2^k) go up, as in ml_dtypes.
void encode_f8_e8m0(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(src[i]);
    uint32_t code = src[i] == 0 ? 0 : 255;
    if (src[i] > 0)
      code = bits < 0x00800000u ? bits >= 0x00600000u : std::min((bits + 0x00400000u) >> 23, 254u);
    dst[i] = std::byte(code);
  }
}

// Two values a byte, the first in the low nibble.
void decode_f4(const std::byte* src, float* dst, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const unsigned code = (std::to_integer<unsigned>(src[i / 2]) >> (4 * (i % 2))) & 15;
    dst[i] = code == 8 ? -0.0f : 0.5f * static_cast<float>(kF4Doubled[code]);
  }
}
void encode_f4(const float* src, std::byte* dst, size_t n) {
  for (size_t i = 0; i + 1 < n; i += 2) {
    uint8_t code[2];
    for (size_t k = 0; k < 2; ++k) {
      const float magnitude = std::fabs(src[i + k]);
      uint8_t c = 0;  // ties to the even code
      while (c < 7) {
        const float here = 0.5f * kF4Doubled[c], next = 0.5f * kF4Doubled[c + 1];
        const float middle = 0.5f * (here + next);
        if (!(magnitude > middle || (magnitude == middle && c % 2 == 1))) break;
        ++c;
      }
      code[k] = static_cast<uint8_t>(c | (std::signbit(src[i + k]) ? 8 : 0));
    }
    dst[i / 2] = std::byte(code[0] | (code[1] << 4));
  }
}

// u8 E, then 16 bytes: low nibbles are values 0..15, high nibbles 16..31; value F4 * 2^(E - 127).
void decode_mxfp4(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 17>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = mx_half_scale(b[0]);
    for (int i = 0; i < 16; ++i) {
      y[i] = d * static_cast<float>(kF4Doubled[b[1 + i] & 15]);
      y[i + 16] = d * static_cast<float>(kF4Doubled[b[1 + i] >> 4]);
    }
  });
}
void encode_mxfp4(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 17>(src, dst, n, [](const float* x, uint8_t* b) {
    const float peak = std::fabs(signed_peak(x, 32));
    b[0] = peak > 0 ? static_cast<uint8_t>(clamp_to_int(std::floor(std::log2(peak)) - 2.0f + 127.0f, 0, 254))
                    : 0;
    const float d = mx_half_scale(b[0]);
    for (int i = 0; i < 16; ++i)
      b[1 + i] = static_cast<uint8_t>(nearest_f4(x[i], d) | (nearest_f4(x[i + 16], d) << 4));
  });
}

}  // namespace hone::tensor
