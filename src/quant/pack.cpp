// Storage layouts, written: the inverse of tensor/codec_*.cpp's decoders, and tested against them.
#include "quant/pack.h"

#include <bit>
#include <cstring>

#include "base/half.h"

namespace hone::quant {
namespace {

void put_f16(uint8_t* b, float value) {
  const uint16_t bits = f32_to_f16(value);
  std::memcpy(b, &bits, 2);
}

// Eight codes at a time. Adding half of a power-of-two range to signed codes flips the range's top bit, so that no
// carry crosses bytes: (c + 8) & 15 == (c & 15) ^ 8.
uint64_t eight(const int8_t* codes) {
  uint64_t v;
  std::memcpy(&v, codes, 8);
  return v;
}
void put_eight(uint8_t* b, uint64_t v) { std::memcpy(b, &v, 8); }
constexpr uint64_t in_all(uint64_t byte) { return byte * 0x0101010101010101u; }

// 32 four-bit codes: the first half in the low nibbles of 16 bytes, the second in the high ones.
void put_nibbles(uint8_t* b, const int8_t* codes, int zero) {
  const uint64_t flip = in_all(static_cast<uint64_t>(zero & 15));
  for (int i = 0; i < 16; i += 8) {
    const uint64_t low = (eight(codes + i) & in_all(15)) ^ flip, high = (eight(codes + i + 16) & in_all(15)) ^ flip;
    put_eight(b + i, low | high << 4);
  }
}

// Bit `bit` of 32 codes, after adding 2^bit where the codes are signed.
uint32_t gather_bits(const int8_t* codes, int bit, bool is_signed) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    const uint64_t ones = (eight(codes + 8 * i) >> bit) & in_all(1);
    bits |= static_cast<uint32_t>(ones * 0x0102040810204080u >> 56) << (8 * i);
  }
  return is_signed ? ~bits : bits;
}

void put_fifth_bits(uint8_t* b, const int8_t* codes, int zero) {
  const uint32_t high = gather_bits(codes, 4, zero != 0);
  std::memcpy(b, &high, 4);
}

// 256 two-bit codes: four runs of 32 share 32 bytes, two such groups.
void put_pairs(uint8_t* b, const int8_t* codes) {
  for (int g = 0; g < 2; ++g)
    for (int i = 0; i < 32; i += 8) {
      uint64_t v = 0;
      for (int run = 0; run < 4; ++run) v |= (eight(codes + 128 * g + 32 * run + i) & in_all(3)) << (2 * run);
      put_eight(b + 32 * g + i, v);
    }
}

// One bit of each of 256 codes: bit k of byte i belongs to code 32 k + i.
void put_bit_planes(uint8_t* b, const int8_t* codes, int bit, bool flip) {
  for (int i = 0; i < 32; i += 8) {
    uint64_t v = 0;
    for (int k = 0; k < 8; ++k) v |= ((eight(codes + 32 * k + i) >> bit) & in_all(1)) << k;
    put_eight(b + i, flip ? ~v : v);
  }
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes.
void put_scales_and_mins(uint8_t* b, const EncodedBlock& e) {
  for (int j = 0; j < 4; ++j) {
    const int high_scale = e.sub_scale[j + 4], high_min = e.sub_min[j + 4];
    b[j] = static_cast<uint8_t>(e.sub_scale[j] | ((high_scale >> 4) << 6));
    b[j + 4] = static_cast<uint8_t>(e.sub_min[j] | ((high_min >> 4) << 6));
    b[j + 8] = static_cast<uint8_t>((high_scale & 15) | ((high_min & 15) << 4));
  }
}

// Runs of 64: the first 32 codes in the low nibbles, the next 32 in the high ones.
void put_nibble_runs(uint8_t* b, const int8_t* codes) {
  for (int g = 0; g < 4; ++g)
    for (int i = 0; i < 32; i += 8)
      put_eight(b + 32 * g + i,
                (eight(codes + 64 * g + i) & in_all(15)) | (eight(codes + 64 * g + 32 + i) & in_all(15)) << 4);
}

}  // namespace

void pack_q8_0(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  std::memcpy(b + 2, e.codes, 32);
}

void pack_q4_0(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_nibbles(b + 2, e.codes, 8);
}

void pack_q4_1(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_f16(b + 2, e.offset);
  put_nibbles(b + 4, e.codes, 0);
}

void pack_q5_0(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_fifth_bits(b + 2, e.codes, 16);
  put_nibbles(b + 6, e.codes, 16);
}

void pack_q5_1(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_f16(b + 2, e.offset);
  put_fifth_bits(b + 4, e.codes, 0);
  put_nibbles(b + 8, e.codes, 0);
}

void pack_q2_0(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  for (int i = 0; i < 16; ++i) {
    uint32_t four;
    std::memcpy(&four, e.codes + 4 * i, 4);
    four = ((four & 0x03030303u) + 0x01010101u) & 0x03030303u;
    b[2 + i] = static_cast<uint8_t>(four * 0x01041040u >> 24);  // two bits of each byte move next to each other
  }
}

void pack_iq4_nl(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_nibbles(b + 2, e.codes, 0);
}

void pack_mxfp4(const EncodedBlock& e, uint8_t* b) {
  const uint32_t bits = std::bit_cast<uint32_t>(e.scale);
  b[0] = static_cast<uint8_t>(bits >> 23);  // 2^-127 is subnormal: exponent field 0, as it should be
  put_nibbles(b + 1, e.codes, 0);
}

void pack_q2_k(const EncodedBlock& e, uint8_t* b) {
  for (int j = 0; j < 16; ++j) b[j] = static_cast<uint8_t>((e.sub_scale[j] & 15) | ((e.sub_min[j] & 15) << 4));
  put_pairs(b + 16, e.codes);
  put_f16(b + 80, e.scale);
  put_f16(b + 82, e.offset);
}

void pack_q3_k(const EncodedBlock& e, uint8_t* b) {
  put_bit_planes(b, e.codes, 2, true);  // the third bit of code + 4
  put_pairs(b + 32, e.codes);
  std::memset(b + 96, 0, 12);
  for (int j = 0; j < 16; ++j) {
    const int s = e.sub_scale[j] + 32;
    b[96 + j % 8] |= static_cast<uint8_t>((s & 15) << (4 * (j / 8)));
    b[104 + j % 4] |= static_cast<uint8_t>((s >> 4) << (2 * (j / 4)));
  }
  put_f16(b + 108, e.scale);
}

void pack_q4_k(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_f16(b + 2, e.offset);
  put_scales_and_mins(b + 4, e);
  put_nibble_runs(b + 16, e.codes);
}

void pack_q5_k(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  put_f16(b + 2, e.offset);
  put_scales_and_mins(b + 4, e);
  put_bit_planes(b + 16, e.codes, 4, false);
  put_nibble_runs(b + 48, e.codes);
}

void pack_q6_k(const EncodedBlock& e, uint8_t* b) {
  // Halves of 128 codes: 64 bytes of low nibbles, 32 of the two bits above them.
  for (int h = 0; h < 2; ++h) {
    const int8_t* codes = e.codes + 128 * h;
    for (int i = 0; i < 64; i += 8)
      put_eight(b + 64 * h + i, (eight(codes + i) & in_all(15)) | (eight(codes + 64 + i) & in_all(15)) << 4);
    for (int i = 0; i < 32; i += 8) {
      uint64_t v = 0;
      for (int run = 0; run < 4; ++run) v |= (((eight(codes + 32 * run + i) >> 4) & in_all(3)) ^ in_all(2)) << (2 * run);
      put_eight(b + 128 + 32 * h + i, v);
    }
  }
  std::memcpy(b + 192, e.sub_scale, 16);
  put_f16(b + 208, e.scale);
}

void pack_q8_k(const EncodedBlock& e, uint8_t* b) {
  std::memcpy(b, &e.scale, 4);
  std::memcpy(b + 4, e.codes, 256);
  for (int j = 0; j < 16; ++j) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += e.codes[16 * j + i];
    const auto narrow = static_cast<int16_t>(sum);
    std::memcpy(b + 260 + 2 * j, &narrow, 2);
  }
}

void pack_iq4_xs(const EncodedBlock& e, uint8_t* b) {
  put_f16(b, e.scale);
  std::memset(b + 2, 0, 6);
  unsigned high = 0;
  for (int g = 0; g < 8; ++g) {
    const int s = e.sub_scale[g] + 32;
    high |= static_cast<unsigned>(s >> 4) << (2 * g);
    b[4 + g / 2] |= static_cast<uint8_t>((s & 15) << (4 * (g & 1)));
    put_nibbles(b + 8 + 16 * g, e.codes + 32 * g, 0);
  }
  b[2] = static_cast<uint8_t>(high);
  b[3] = static_cast<uint8_t>(high >> 8);
}

}  // namespace hone::quant
