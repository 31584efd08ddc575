// K formats: 256 values a block, sub-blocks of 16 or 32 with small integer scales under one F16 scale
// (Q8_K: one F32 scale, for activations). The encoders spread each sub-block's range over its codes and
// round; the error-minimising search is in quant/.
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

constexpr int kSuper = 256;

int round_clamped(float value, int low, int high) {
  return clamp_to_int(std::nearbyint(value), low, high);
}

// Eight pairs of 6-bit scales and minimums in 12 bytes: the first four pairs whole in bytes 0..7, of the
// others the low nibbles in bytes 8..11 and the two high bits on top of bytes 0..7.
struct ScaleMin {
  int scale, min;
};
ScaleMin unpack_scale_min(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}
void pack_scale_min(uint8_t* s, int j, ScaleMin v) {  // s starts zeroed
  if (j < 4) {
    s[j] = static_cast<uint8_t>(s[j] | v.scale);
    s[j + 4] = static_cast<uint8_t>(s[j + 4] | v.min);
  } else {
    s[j + 4] = static_cast<uint8_t>((v.scale & 15) | ((v.min & 15) << 4));
    s[j - 4] = static_cast<uint8_t>(s[j - 4] | ((v.scale >> 4) << 6));
    s[j] = static_cast<uint8_t>(s[j] | ((v.min >> 4) << 6));
  }
}

// Plain affine fit of each sub-block: x ~ d*S*q - dmin*M with q in [0, levels] and S, M in [0, top].
// Fills the codes q[256], the integer scales, and the two F16 scales at b_d and b_dmin.
template <int kSub>
void fit_affine(const float* x, int levels, int top, uint8_t* q, ScaleMin* out, uint8_t* b_d,
                uint8_t* b_dmin) {
  constexpr int kCount = kSuper / kSub;
  float scales[kCount], mins[kCount], max_scale = 0, max_min = 0;
  for (int j = 0; j < kCount; ++j) {
    const auto [low, high] = std::minmax_element(x + j * kSub, x + (j + 1) * kSub);
    mins[j] = std::max(0.0f, -*low);  // the minimum can only lower values, so it is at most 0
    scales[j] = std::max(0.0f, (*high + mins[j]) / static_cast<float>(levels));
    max_scale = std::max(max_scale, scales[j]);
    max_min = std::max(max_min, mins[j]);
  }
  store_f16(b_d, max_scale / static_cast<float>(top));
  store_f16(b_dmin, max_min / static_cast<float>(top));
  const float d = load_f16(b_d), dmin = load_f16(b_dmin);
  for (int j = 0; j < kCount; ++j) {
    out[j] = {round_clamped(scales[j] * inverse(d), 0, top), round_clamped(mins[j] * inverse(dmin), 0, top)};
    const float step = d * static_cast<float>(out[j].scale), offset = dmin * static_cast<float>(out[j].min);
    for (int i = j * kSub; i < (j + 1) * kSub; ++i)
      q[i] = static_cast<uint8_t>(round_clamped((x[i] + offset) * inverse(step), 0, levels));
  }
}

// Plain symmetric fit: x ~ d*S*(q - zero), S in [-top, top - 1], sub-blocks of 16.
void fit_symmetric(const float* x, int zero, int top, uint8_t* q, int* out, uint8_t* b_d) {
  float scales[16];
  for (int j = 0; j < 16; ++j) scales[j] = signed_peak(x + 16 * j, 16) / static_cast<float>(-zero);
  store_f16(b_d, signed_peak(scales, 16) / static_cast<float>(-top));
  const float d = load_f16(b_d);
  for (int j = 0; j < 16; ++j) {
    out[j] = round_clamped(scales[j] * inverse(d), -top, top - 1);
    const float id = inverse(d * static_cast<float>(out[j]));
    for (int i = 16 * j; i < 16 * (j + 1); ++i)
      q[i] = static_cast<uint8_t>(round_clamped(x[i] * id, -zero, zero - 1) + zero);
  }
}

// 2-bit codes in 64 bytes: value e at byte 32*(e/128) + e%32, shift 2*((e%128)/32).
int two_bits(const uint8_t* qs, int e) {
  return (qs[32 * (e / 128) + e % 32] >> (2 * ((e % 128) / 32))) & 3;
}
void set_two_bits(uint8_t* qs, int e, int code) {
  uint8_t& byte = qs[32 * (e / 128) + e % 32];
  byte = static_cast<uint8_t>(byte | (code << (2 * ((e % 128) / 32))));
}
// 4-bit codes in 128 bytes: value e at byte 32*(e/64) + e%32, high nibble for odd e/32.
int nibble(const uint8_t* qs, int e) {
  return (qs[32 * (e / 64) + e % 32] >> (4 * ((e / 32) & 1))) & 15;
}
void set_nibble(uint8_t* qs, int e, int code) {
  uint8_t& byte = qs[32 * (e / 64) + e % 32];
  byte = static_cast<uint8_t>(byte | ((code & 15) << (4 * ((e / 32) & 1))));
}

// Q3_K scale j: low nibble j/8 of byte j%8, two high bits of byte 8 + j%4 at 2*(j/4); minus 32.
int unpack_q3_scale(const uint8_t* s, int j) {
  return (((s[j % 8] >> (4 * (j / 8))) & 15) | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4)) - 32;
}
void pack_q3_scale(uint8_t* s, int j, int scale) {
  const int code = scale + 32;
  s[j % 8] = static_cast<uint8_t>(s[j % 8] | ((code & 15) << (4 * (j / 8))));
  s[8 + j % 4] = static_cast<uint8_t>(s[8 + j % 4] | ((code >> 4) << (2 * (j / 4))));
}

// Q6_K: low nibbles in 128 bytes, two high bits in 64.
struct Q6Place {
  int low, low_shift, high, high_shift;
};
Q6Place q6_place(int e) {
  const int h = e / 128, r = e % 128;
  return {64 * h + r % 64, 4 * (r / 64), 32 * h + r % 32, 2 * (r / 32)};
}

}  // namespace

// sc[16] (low nibble scale, high nibble min), 2-bit codes[64], f16 d, f16 dmin
void decode_q2_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 84>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b + 80), dmin = load_f16(b + 82);
    for (int j = 0; j < 16; ++j) {
      const float step = d * static_cast<float>(b[j] & 15), offset = dmin * static_cast<float>(b[j] >> 4);
      for (int e = 16 * j; e < 16 * (j + 1); ++e)
        y[e] = step * static_cast<float>(two_bits(b + 16, e)) - offset;
    }
  });
}
void encode_q2_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 84>(src, dst, n, [](const float* x, uint8_t* b) {
    std::memset(b, 0, 84);
    uint8_t q[kSuper];
    ScaleMin s[16];
    fit_affine<16>(x, 3, 15, q, s, b + 80, b + 82);
    for (int j = 0; j < 16; ++j) b[j] = static_cast<uint8_t>(s[j].scale | (s[j].min << 4));
    for (int e = 0; e < kSuper; ++e) set_two_bits(b + 16, e, q[e]);
  });
}

// third bits[32], 2-bit codes[64], packed scales[12], f16 d
void decode_q3_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 110>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b + 108);
    for (int j = 0; j < 16; ++j) {
      const float step = d * static_cast<float>(unpack_q3_scale(b + 96, j));
      for (int e = 16 * j; e < 16 * (j + 1); ++e)
        y[e] = step * static_cast<float>(two_bits(b + 32, e) + 4 * ((b[e % 32] >> (e / 32)) & 1) - 4);
    }
  });
}
void encode_q3_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 110>(src, dst, n, [](const float* x, uint8_t* b) {
    std::memset(b, 0, 110);
    uint8_t q[kSuper];
    int s[16];
    fit_symmetric(x, 4, 32, q, s, b + 108);
    for (int j = 0; j < 16; ++j) pack_q3_scale(b + 96, j, s[j]);
    for (int e = 0; e < kSuper; ++e) {
      set_two_bits(b + 32, e, q[e] & 3);
      b[e % 32] = static_cast<uint8_t>(b[e % 32] | ((q[e] >> 2) << (e / 32)));
    }
  });
}

// f16 d, f16 dmin, packed scales[12], nibbles[128]
void decode_q4_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 144>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b), dmin = load_f16(b + 2);
    for (int j = 0; j < 8; ++j) {
      const auto [scale, min] = unpack_scale_min(b + 4, j);
      const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(min);
      for (int e = 32 * j; e < 32 * (j + 1); ++e)
        y[e] = step * static_cast<float>(nibble(b + 16, e)) - offset;
    }
  });
}
void encode_q4_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 144>(src, dst, n, [](const float* x, uint8_t* b) {
    std::memset(b, 0, 144);
    uint8_t q[kSuper];
    ScaleMin s[8];
    fit_affine<32>(x, 15, 63, q, s, b, b + 2);
    for (int j = 0; j < 8; ++j) pack_scale_min(b + 4, j, s[j]);
    for (int e = 0; e < kSuper; ++e) set_nibble(b + 16, e, q[e]);
  });
}

// f16 d, f16 dmin, packed scales[12], fifth bits[32], nibbles[128]
void decode_q5_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 176>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b), dmin = load_f16(b + 2);
    for (int j = 0; j < 8; ++j) {
      const auto [scale, min] = unpack_scale_min(b + 4, j);
      const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(min);
      for (int e = 32 * j; e < 32 * (j + 1); ++e)
        y[e] = step * static_cast<float>(nibble(b + 48, e) + 16 * ((b[16 + e % 32] >> j) & 1)) - offset;
    }
  });
}
void encode_q5_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 176>(src, dst, n, [](const float* x, uint8_t* b) {
    std::memset(b, 0, 176);
    uint8_t q[kSuper];
    ScaleMin s[8];
    fit_affine<32>(x, 31, 63, q, s, b, b + 2);
    for (int j = 0; j < 8; ++j) pack_scale_min(b + 4, j, s[j]);
    for (int e = 0; e < kSuper; ++e) {
      set_nibble(b + 48, e, q[e]);
      b[16 + e % 32] = static_cast<uint8_t>(b[16 + e % 32] | ((q[e] >> 4) << (e / 32)));
    }
  });
}

// low nibbles[128], two high bits[64], i8 scales[16], f16 d
void decode_q6_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 210>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b + 208);
    for (int j = 0; j < 16; ++j) {
      const float step = d * static_cast<float>(static_cast<int8_t>(b[192 + j]));
      for (int e = 16 * j; e < 16 * (j + 1); ++e) {
        const Q6Place p = q6_place(e);
        const int q = ((b[p.low] >> p.low_shift) & 15) | (((b[128 + p.high] >> p.high_shift) & 3) << 4);
        y[e] = step * static_cast<float>(q - 32);
      }
    }
  });
}
void encode_q6_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 210>(src, dst, n, [](const float* x, uint8_t* b) {
    std::memset(b, 0, 210);
    uint8_t q[kSuper];
    int s[16];
    fit_symmetric(x, 32, 128, q, s, b + 208);
    for (int j = 0; j < 16; ++j) b[192 + j] = static_cast<uint8_t>(static_cast<int8_t>(s[j]));
    for (int e = 0; e < kSuper; ++e) {
      const Q6Place p = q6_place(e);
      b[p.low] = static_cast<uint8_t>(b[p.low] | ((q[e] & 15) << p.low_shift));
      b[128 + p.high] = static_cast<uint8_t>(b[128 + p.high] | ((q[e] >> 4) << p.high_shift));
    }
  });
}

// f32 d, i8 q[256], i16 sums of 16
void decode_q8_k(const std::byte* src, float* dst, size_t n) {
  decode_blocks<kSuper, 292>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load<float>(b);
    for (int i = 0; i < kSuper; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[4 + i]));
  });
}
// As ggml: the peak becomes -127 and d is the inverse of the rounding scale.
void encode_q8_k(const float* src, std::byte* dst, size_t n) {
  encode_blocks<kSuper, 292>(src, dst, n, [](const float* x, uint8_t* b) {
    const float peak = signed_peak(x, kSuper), scale = peak == 0.0f ? 0.0f : -127.0f / peak;
    store(b, inverse(scale));
    for (int j = 0; j < 16; ++j) {
      int sum = 0;
      for (int i = 16 * j; i < 16 * (j + 1); ++i) {
        const int q = round_clamped(scale * x[i], -127, 127);
        b[4 + i] = static_cast<uint8_t>(static_cast<int8_t>(q));
        sum += q;
      }
      store(b + 260 + 2 * j, static_cast<int16_t>(sum));
    }
  });
}

}  // namespace hone::tensor
