// The inverse of the decoders in tensor/codec_iq.cpp, codec_iq1.cpp and codec_ternary.cpp.
#include "quant/pack_grid.h"

#include <cstring>

#include "base/half.h"

namespace hone::quant {
namespace {

void put_u16(uint8_t* b, unsigned value) {
  b[0] = static_cast<uint8_t>(value);
  b[1] = static_cast<uint8_t>(value >> 8);
}
void put_u32(uint8_t* b, uint32_t value) {
  put_u16(b, value & 0xFFFFu);
  put_u16(b + 2, value >> 16);
}
void put_f16(uint8_t* b, float value) {
  put_u16(b, f32_to_f16(value));
}

void put_nibble_pairs(uint8_t* b, const uint8_t* values, int pairs) {
  for (int i = 0; i < pairs; ++i) b[i] = static_cast<uint8_t>(values[2 * i] | (values[2 * i + 1] << 4));
}

// Four times seven signs (their eighth follows from parity) and four bits of scale.
uint32_t signs_and_scale(const uint8_t* signs, unsigned scale) {
  uint32_t word = scale << 28;
  for (int l = 0; l < 4; ++l) word |= static_cast<uint32_t>(signs[l] & 127) << (7 * l);
  return word;
}

}  // namespace

void pack_iq1_s(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  for (int g = 0; g < 8; ++g) {
    unsigned word = static_cast<unsigned>(e.sub[g]) << 12 | static_cast<unsigned>(e.signs[4 * g]) << 15;
    for (int l = 0; l < 4; ++l) {
      const unsigned index = e.index[4 * g + l];
      b[2 + 4 * g + l] = static_cast<uint8_t>(index);
      word |= (index >> 8) << (3 * l);
    }
    put_u16(b + 34 + 2 * g, word);
  }
}

void pack_iq1_m(const GridBlock& e, uint8_t* b) {
  for (int k = 0; k < 32; ++k) b[k] = static_cast<uint8_t>(e.index[k]);
  for (int k = 0; k < 16; ++k) {
    const auto nibble = [&](int v) {
      return static_cast<unsigned>(e.index[v] >> 8) | static_cast<unsigned>(e.signs[v]) << 3;
    };
    b[32 + k] = static_cast<uint8_t>(nibble(2 * k) | nibble(2 * k + 1) << 4);
  }
  const unsigned d = f32_to_f16(e.scale);
  for (int i = 0; i < 4; ++i) {
    unsigned word = ((d >> (4 * i)) & 15u) << 12;
    for (int k = 0; k < 4; ++k) word |= static_cast<unsigned>(e.sub[4 * i + k]) << (3 * k);
    put_u16(b + 48 + 2 * i, word);
  }
}

void pack_iq2_xxs(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  for (int g = 0; g < 8; ++g) {
    for (int l = 0; l < 4; ++l) b[2 + 8 * g + l] = static_cast<uint8_t>(e.index[4 * g + l]);
    put_u32(b + 6 + 8 * g, signs_and_scale(e.signs + 4 * g, e.sub[g]));
  }
}

void pack_iq2_xs(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  for (int k = 0; k < 32; ++k)
    put_u16(b + 2 + 2 * k, e.index[k] | static_cast<unsigned>(e.signs[k] & 127) << 9);
  put_nibble_pairs(b + 66, e.sub, 8);
}

void pack_iq2_s(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  std::memset(b + 66, 0, 8);
  for (int k = 0; k < 32; ++k) {
    b[2 + k] = static_cast<uint8_t>(e.index[k]);
    b[66 + k / 4] |= static_cast<uint8_t>((e.index[k] >> 8) << (2 * (k % 4)));
  }
  std::memcpy(b + 34, e.signs, 32);
  put_nibble_pairs(b + 74, e.sub, 8);
}

void pack_iq3_xxs(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  for (int k = 0; k < 64; ++k) b[2 + k] = static_cast<uint8_t>(e.index[k]);
  for (int g = 0; g < 8; ++g) put_u32(b + 66 + 4 * g, signs_and_scale(e.signs + 4 * g, e.sub[g]));
}

void pack_iq3_s(const GridBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  std::memset(b + 66, 0, 8);
  for (int k = 0; k < 64; ++k) {
    b[2 + k] = static_cast<uint8_t>(e.index[k]);
    b[66 + k / 8] |= static_cast<uint8_t>((e.index[k] >> 8) << (k % 8));
  }
  std::memcpy(b + 74, e.signs, 32);
  put_nibble_pairs(b + 106, e.sub, 4);
}

// Runs of `run` bytes with `digits` base-3 digits each, most significant first and run elements apart; a
// digit string N of five is stored as ceil(256 N / 243).
void pack_tq1_0(float d, const int8_t* codes, uint8_t* b) {
  static constexpr struct {
    int byte, element, run, digits;
  } kParts[] = {{0, 0, 32, 5}, {32, 160, 16, 5}, {48, 240, 4, 4}};
  for (const auto& p : kParts) {
    uint16_t number[32] = {};
    for (int k = 0; k < 5; ++k) {
      const int8_t* q = codes + p.element + p.run * k;
      for (int i = 0; i < p.run; ++i)
        number[i] = static_cast<uint16_t>(3 * number[i] + (k < p.digits ? q[i] + 1 : 0));
    }
    for (int i = 0; i < p.run; ++i) b[p.byte + i] = static_cast<uint8_t>((number[i] * 256u + 242u) / 243u);
  }
  put_f16(b + 52, d);
}

void pack_tq2_0(float d, const int8_t* codes, uint8_t* b) {
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 32; ++i) {
      const int8_t* q = codes + 128 * h + i;
      b[32 * h + i] =
          static_cast<uint8_t>((q[0] + 1) | (q[32] + 1) << 2 | (q[64] + 1) << 4 | (q[96] + 1) << 6);
    }
  put_f16(b + 64, d);
}

void pack_q1_0(float d, const uint8_t* bits, uint8_t* b) {
  put_f16(b, d);
  std::memcpy(b + 2, bits, 16);
}

}  // namespace hone::quant
