// Formats of very few values: TQ1_0 and TQ2_0 (-1, 0, 1), Q1_0 (two signs) and NVFP4 (FP4 with a scale of
// 8-bit floats per 16 values). The encoders repeat ggml's byte for byte; the error-minimising search is in
// quant/.
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

int ternary_code(float x, float inverse_d) {
  return clamp_to_int(std::round(x * inverse_d), -1, 1) + 1;
}

// Where element e of a TQ1_0 block lies: a byte and its digit, 0 the most significant of five base-3 digits.
struct Place {
  int byte, digit;
};
Place tq1_place(int e) {
  if (e < 160) return {e % 32, e / 32};
  if (e < 240) return {32 + (e - 160) % 16, (e - 160) / 16};
  return {48 + (e - 240) % 4, (e - 240) / 4};
}
constexpr unsigned kPowersOf3[5] = {1, 3, 9, 27, 81};

// Unsigned E4M3, halved, as a factor for the doubled values of FP4; 0x7F means zero.
float half_of_ue4m3(unsigned code) {
  if (code == 0x7F) return 0;
  const int exponent = static_cast<int>((code >> 3) & 15u);
  const float mantissa = static_cast<float>(code & 7u);
  if (exponent == 0) return mantissa * 0x1p-10f;
  return std::ldexp(1.0f + mantissa * 0.125f, exponent - 8);
}

// Nearest, halves up; never above 448.
unsigned to_ue4m3(float x) {
  if (!(x > 0)) return 0;
  if (x >= 448.0f) return 0x7E;
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const int exponent = static_cast<int>(bits >> 23) - 120;
  if (exponent <= 0) return static_cast<unsigned>(clamp_to_int(x * 512.0f + 0.5f, 0, 7));
  const unsigned rounded = ((static_cast<unsigned>(exponent) << 4) | ((bits >> 19) & 15u)) + 1;
  return std::min(rounded >> 1, 0x7Eu);
}

}  // namespace

// 48 bytes of five digits, 4 bytes of four, f16 d
void decode_tq1_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 54>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b + 52);
    for (int e = 0; e < 256; ++e) {
      const Place p = tq1_place(e);
      const unsigned rest = (b[p.byte] * kPowersOf3[p.digit]) & 255u;
      y[e] = d * static_cast<float>(static_cast<int>((rest * 3u) >> 8) - 1);
    }
  });
}
void encode_tq1_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 54>(src, dst, n, [](const float* x, uint8_t* b) {
    const float d = std::fabs(signed_peak(x, 256)), id = inverse(d);
    unsigned digits[52] = {};
    for (int e = 0; e < 256; ++e) {
      const Place p = tq1_place(e);
      digits[p.byte] += static_cast<unsigned>(ternary_code(x[e], id)) * kPowersOf3[4 - p.digit];
    }
    for (int i = 0; i < 52; ++i) b[i] = static_cast<uint8_t>((digits[i] * 256u + 242u) / 243u);
    store_f16(b + 52, d);
  });
}

// 64 bytes of four codes as in Q2_K, f16 d
void decode_tq2_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 66>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b + 64);
    for (int e = 0; e < 256; ++e)
      y[e] = d * static_cast<float>(((b[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3) - 1);
  });
}
void encode_tq2_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 66>(src, dst, n, [](const float* x, uint8_t* b) {
    const float d = std::fabs(signed_peak(x, 256)), id = inverse(d);
    std::memset(b, 0, 64);
    for (int e = 0; e < 256; ++e) {
      uint8_t& byte = b[32 * (e / 128) + e % 32];
      byte = static_cast<uint8_t>(byte | (ternary_code(x[e], id) << (2 * (e % 128 / 32))));
    }
    store_f16(b + 64, d);
  });
}

// f16 d, one bit a value: set is d, clear is -d
void decode_q1_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<128, 18>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int e = 0; e < 128; ++e) y[e] = (b[2 + e / 8] >> (e % 8)) & 1 ? d : -d;
  });
}
void encode_q1_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<128, 18>(src, dst, n, [](const float* x, uint8_t* b) {
    float sum = 0;
    for (int e = 0; e < 128; ++e) sum += std::fabs(x[e]);
    std::memset(b, 0, 18);
    store_f16(b, sum / 128.0f);
    for (int e = 0; e < 128; ++e)
      b[2 + e / 8] = static_cast<uint8_t>(b[2 + e / 8] | ((x[e] >= 0 ? 1 : 0) << (e % 8)));
  });
}

// four scales, then four times 8 bytes of nibbles for 16 values
void decode_nvfp4(const std::byte* src, float* dst, size_t n) {
  decode_blocks<64, 36>(src, dst, n, [](const uint8_t* b, float* y) {
    for (int g = 0; g < 4; ++g) {
      const float d = half_of_ue4m3(b[g]);
      for (int i = 0; i < 8; ++i) {
        y[16 * g + i] = d * static_cast<float>(kF4Doubled[b[4 + 8 * g + i] & 15]);
        y[16 * g + i + 8] = d * static_cast<float>(kF4Doubled[b[4 + 8 * g + i] >> 4]);
      }
    }
  });
}
void encode_nvfp4(const float* src, std::byte* dst, size_t n) {
  encode_blocks<64, 36>(src, dst, n, [](const float* x, uint8_t* b) {
    for (int g = 0; g < 4; ++g) {
      b[g] = static_cast<uint8_t>(to_ue4m3(std::fabs(signed_peak(x + 16 * g, 16)) / 6.0f));
      const float d = half_of_ue4m3(b[g]);
      const auto nearest = [&](float v) {
        int best = 0;
        for (int q = 1; q < 16; ++q)
          if (std::fabs(d * static_cast<float>(kF4Doubled[q]) - v) <
              std::fabs(d * static_cast<float>(kF4Doubled[best]) - v))
            best = q;
        return best;
      };
      for (int i = 0; i < 8; ++i)
        b[4 + 8 * g + i] = static_cast<uint8_t>(nearest(x[16 * g + i]) | (nearest(x[16 * g + i + 8]) << 4));
    }
  });
}

}  // namespace hone::tensor
