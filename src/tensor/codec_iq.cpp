// IQ2 and IQ3: vectors of 8 or 4 magnitudes out of a code book, signs beside them, and an odd multiple of the
// super-block's scale for 16 or 32 values. The encoders here take the nearest point at the scale that puts
// the peak on the outermost value; the error-minimising search is in quant/.
#include "tensor/codec.h"
#include "tensor/codec_grids.h"

namespace hone::tensor {
namespace {

// y = scale * point, negated where the bits of `signs` say so.
void put_point(const int8_t* point, int n, unsigned signs, float scale, float* y) {
  for (int i = 0; i < n; ++i) {
    const float value = static_cast<float>(point[i]);
    y[i] = scale * ((signs >> i) & 1u ? -value : value);
  }
}

// The bits of the negative among 8 values.
unsigned signs_of(const float* x) {
  unsigned signs = 0;
  for (int i = 0; i < 8; ++i) signs |= (x[i] < 0 ? 1u : 0u) << i;
  return signs;
}
// The same with an even number of bits: the smallest value takes the wrong sign where it must.
unsigned even_signs_of(const float* x) {
  const unsigned signs = signs_of(x);
  if (std::popcount(signs) % 2 == 0) return signs;
  int least = 0;
  for (int i = 1; i < 8; ++i)
    if (std::fabs(x[i]) < std::fabs(x[least])) least = i;
  return signs ^ (1u << least);
}

template <size_t kPoints, size_t kDimensions>
unsigned nearest_point(const Grid<kPoints, kDimensions>& grid, const float* x, unsigned signs,
                       float inverse_scale) {
  float target[kDimensions];
  for (size_t k = 0; k < kDimensions; ++k) {
    const float a = ((signs >> k) & 1u ? -x[k] : x[k]) * inverse_scale;
    target[k] = std::fabs(a) < 1e6f ? a : 1e6f;  // also NaN
  }
  unsigned best = 0;
  float least = INFINITY;
  for (unsigned p = 0; p < kPoints; ++p) {
    float sum = 0;
    for (size_t k = 0; k < kDimensions; ++k) {
      const float r = target[k] - static_cast<float>(grid.point[p][k]);
      sum += r * r;
    }
    if (sum < least) least = sum, best = p;
  }
  return best;
}

// The scales of a super-block: its F16 number and per group of kGroup values S, which stands for 2 S + 1
// times unit * d.
template <int kGroup>
struct GroupScales {
  float d;
  uint8_t s[256 / kGroup];

  GroupScales(const float* x, float largest_value, float unit) {
    float scales[256 / kGroup], top = 0;
    for (int g = 0; g < 256 / kGroup; ++g) {
      scales[g] = std::fabs(signed_peak(x + kGroup * g, kGroup)) / largest_value;
      top = std::max(top, scales[g]);
    }
    uint8_t bits[2];
    store_f16(bits, std::min(top / (31.0f * unit), 65504.0f));
    d = load_f16(bits);
    const float id = inverse(d * unit);
    for (int g = 0; g < 256 / kGroup; ++g)
      s[g] = static_cast<uint8_t>(clamp_to_int((scales[g] * id - 1) * 0.5f + 0.5f, 0, 15));
  }
};

}  // namespace

// f16 d, then per 32 values 4 bytes of indices and a u32: four times 7 signs, 4 bits of scale.
void decode_iq2_xxs(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 66>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int g = 0; g < 8; ++g) {
      const uint8_t* group = b + 2 + 8 * g;
      const uint32_t word = load<uint32_t>(group + 4);
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
      for (int l = 0; l < 4; ++l)
        put_point(kIq2XxsGrid.point[group[l]], 8, even_signs((word >> (7 * l)) & 127u), scale,
                  y + 32 * g + 8 * l);
    }
  });
}
void encode_iq2_xxs(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 66>(src, dst, n, [](const float* x, uint8_t* b) {
    const GroupScales<32> scales(x, 43.0f, 0.125f);
    store_f16(b, scales.d);
    for (int g = 0; g < 8; ++g) {
      const float id = inverse(scales.d * static_cast<float>(2 * scales.s[g] + 1) * 0.125f);
      uint32_t word = uint32_t{scales.s[g]} << 28;
      for (int l = 0; l < 4; ++l) {
        const float* v = x + 32 * g + 8 * l;
        const unsigned signs = even_signs_of(v);
        b[2 + 8 * g + l] = static_cast<uint8_t>(nearest_point(kIq2XxsGrid, v, signs, id));
        word |= (signs & 127u) << (7 * l);
      }
      store(b + 6 + 8 * g, word);
    }
  });
}

// f16 d, per 8 values a u16 of 9 bits of index and 7 of signs, then nibbles of scale per 16 values.
void decode_iq2_xs(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 74>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int k = 0; k < 32; ++k) {
      const unsigned word = load<uint16_t>(b + 2 + 2 * k), s = (b[66 + k / 4] >> (4 * (k / 2 % 2))) & 15u;
      put_point(kIq2XsGrid.point[word & 511u], 8, even_signs(word >> 9),
                d * (0.5f + static_cast<float>(s)) * 0.25f, y + 8 * k);
    }
  });
}
void encode_iq2_xs(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 74>(src, dst, n, [](const float* x, uint8_t* b) {
    const GroupScales<16> scales(x, 43.0f, 0.125f);
    store_f16(b, scales.d);
    for (int g = 0; g < 8; ++g)
      b[66 + g] = static_cast<uint8_t>(scales.s[2 * g] | (scales.s[2 * g + 1] << 4));
    for (int k = 0; k < 32; ++k) {
      const float id = inverse(scales.d * static_cast<float>(2 * scales.s[k / 2] + 1) * 0.125f);
      const unsigned signs = even_signs_of(x + 8 * k);
      store(b + 2 + 2 * k,
            static_cast<uint16_t>(nearest_point(kIq2XsGrid, x + 8 * k, signs, id) | ((signs & 127u) << 9)));
    }
  });
}

// f16 d, low bytes of 32 indices, 32 bytes of signs, two high bits of each index, nibbles of scale per 16
// values.
void decode_iq2_s(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 82>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int k = 0; k < 32; ++k) {
      const unsigned index = b[2 + k] | (((b[66 + k / 4] >> (2 * (k % 4))) & 3u) << 8);
      const unsigned s = (b[74 + k / 4] >> (4 * (k / 2 % 2))) & 15u;
      put_point(kIq2SGrid.point[index], 8, b[34 + k], d * (0.5f + static_cast<float>(s)) * 0.25f, y + 8 * k);
    }
  });
}
void encode_iq2_s(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 82>(src, dst, n, [](const float* x, uint8_t* b) {
    const GroupScales<16> scales(x, 43.0f, 0.125f);
    std::memset(b, 0, 82);
    store_f16(b, scales.d);
    for (int k = 0; k < 32; ++k) {
      const float id = inverse(scales.d * static_cast<float>(2 * scales.s[k / 2] + 1) * 0.125f);
      const unsigned signs = signs_of(x + 8 * k), index = nearest_point(kIq2SGrid, x + 8 * k, signs, id);
      b[2 + k] = static_cast<uint8_t>(index);
      b[34 + k] = static_cast<uint8_t>(signs);
      b[66 + k / 4] = static_cast<uint8_t>(b[66 + k / 4] | ((index >> 8) << (2 * (k % 4))));
    }
    for (int g = 0; g < 8; ++g)
      b[74 + g] = static_cast<uint8_t>(scales.s[2 * g] | (scales.s[2 * g + 1] << 4));
  });
}

// f16 d, 64 indices of 4 values, per 32 values a u32: four times 7 signs, 4 bits of scale.
void decode_iq3_xxs(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 98>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int k = 0; k < 32; ++k) {
      const uint32_t word = load<uint32_t>(b + 66 + k / 4 * 4);
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
      const unsigned signs = even_signs((word >> (7 * (k % 4))) & 127u);
      put_point(kIq3XxsGrid.point[b[2 + 2 * k]], 4, signs, scale, y + 8 * k);
      put_point(kIq3XxsGrid.point[b[3 + 2 * k]], 4, signs >> 4, scale, y + 8 * k + 4);
    }
  });
}
void encode_iq3_xxs(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 98>(src, dst, n, [](const float* x, uint8_t* b) {
    const GroupScales<32> scales(x, 62.0f, 0.25f);
    store_f16(b, scales.d);
    for (int g = 0; g < 8; ++g) {
      const float id = inverse(scales.d * static_cast<float>(2 * scales.s[g] + 1) * 0.25f);
      uint32_t word = uint32_t{scales.s[g]} << 28;
      for (int l = 0; l < 4; ++l) {
        const float* v = x + 32 * g + 8 * l;
        const unsigned signs = even_signs_of(v);
        b[2 + 8 * g + 2 * l] = static_cast<uint8_t>(nearest_point(kIq3XxsGrid, v, signs, id));
        b[3 + 8 * g + 2 * l] = static_cast<uint8_t>(nearest_point(kIq3XxsGrid, v + 4, signs >> 4, id));
        word |= (signs & 127u) << (7 * l);
      }
      store(b + 66 + 4 * g, word);
    }
  });
}

// f16 d, low bytes of 64 indices, their ninth bits, 32 bytes of signs, nibbles of scale per 32 values.
void decode_iq3_s(const std::byte* src, float* dst, size_t n) {
  decode_blocks<256, 110>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int k = 0; k < 64; ++k) {
      const unsigned index = b[2 + k] | (((b[66 + k / 8] >> (k % 8)) & 1u) << 8);
      const unsigned s = (b[106 + k / 16] >> (4 * (k / 8 % 2))) & 15u;
      put_point(kIq3SGrid.point[index], 4, b[74 + k / 2] >> (4 * (k % 2)), d * static_cast<float>(1 + 2 * s),
                y + 4 * k);
    }
  });
}
void encode_iq3_s(const float* src, std::byte* dst, size_t n) {
  encode_blocks<256, 110>(src, dst, n, [](const float* x, uint8_t* b) {
    const GroupScales<32> scales(x, 15.0f, 1.0f);
    std::memset(b, 0, 110);
    store_f16(b, scales.d);
    for (int k = 0; k < 64; ++k) {
      const float id = inverse(scales.d * static_cast<float>(2 * scales.s[k / 8] + 1));
      const unsigned signs = signs_of(x + 8 * (k / 2)) >> (4 * (k % 2)) & 15u;
      const unsigned index = nearest_point(kIq3SGrid, x + 4 * k, signs, id);
      b[2 + k] = static_cast<uint8_t>(index);
      b[66 + k / 8] = static_cast<uint8_t>(b[66 + k / 8] | ((index >> 8) << (k % 8)));
      b[74 + k / 2] = static_cast<uint8_t>(b[74 + k / 2] | (signs << (4 * (k % 2))));
    }
    for (int g = 0; g < 4; ++g)
      b[106 + g] = static_cast<uint8_t>(scales.s[2 * g] | (scales.s[2 * g + 1] << 4));
  });
}

}  // namespace hone::tensor
