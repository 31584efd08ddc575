// The inverse of pack.cpp, and the table. Layouts: docs/formats.md.
#include "quant/block_form.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "base/half.h"

namespace hone::quant {
namespace {

float f16_at(const uint8_t* b) {
  uint16_t bits;
  std::memcpy(&bits, b, 2);
  return f16_to_f32(bits);
}
int nibble(const uint8_t* b, int i) {  // of 32: the first half in the low nibbles
  return (b[i % 16] >> (4 * (i / 16))) & 15;
}
int bit(const uint8_t* b, int i) {
  return (b[i / 8] >> (i % 8)) & 1;
}
void no_sub_scales(EncodedBlock& e) {
  std::fill(std::begin(e.sub_scale), std::end(e.sub_scale), int8_t{1});
  std::fill(std::begin(e.sub_min), std::end(e.sub_min), int8_t{0});
  e.offset = 0;
}
template <typename Code>
void set_codes(EncodedBlock& e, int n, Code code) {
  for (int i = 0; i < n; ++i) e.codes[i] = static_cast<int8_t>(code(i));
}

void unpack_q8_0(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  std::memcpy(e.codes, b + 2, 32);
}
void unpack_q4_0(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  set_codes(e, 32, [&](int i) { return nibble(b + 2, i) - 8; });
}
void unpack_q4_1(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b), e.offset = f16_at(b + 2);
  set_codes(e, 32, [&](int i) { return nibble(b + 4, i); });
}
void unpack_q5_0(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  set_codes(e, 32, [&](int i) { return (nibble(b + 6, i) | bit(b + 2, i) << 4) - 16; });
}
void unpack_q5_1(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b), e.offset = f16_at(b + 2);
  set_codes(e, 32, [&](int i) { return nibble(b + 8, i) | bit(b + 4, i) << 4; });
}
void unpack_q2_0(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  set_codes(e, 64, [&](int i) { return ((b[2 + i / 4] >> (2 * (i % 4))) & 3) - 1; });
}
void unpack_iq4_nl(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  set_codes(e, 32, [&](int i) { return nibble(b + 2, i); });
}
void unpack_mxfp4(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = b[0] == 0 ? 0x1p-127f : std::bit_cast<float>(uint32_t{b[0]} << 23);
  set_codes(e, 32, [&](int i) { return nibble(b + 1, i); });
}

int two_bits(const uint8_t* qs, int e) {
  return (qs[32 * (e / 128) + e % 32] >> (2 * ((e % 128) / 32))) & 3;
}
int nibble_of_runs(const uint8_t* qs, int e) {
  return (qs[32 * (e / 64) + e % 32] >> (4 * ((e / 32) & 1))) & 15;
}
int plane_bit(const uint8_t* planes, int e) {
  return (planes[e % 32] >> (e / 32)) & 1;
}

void unpack_q2_k(const uint8_t* b, EncodedBlock& e) {
  e.scale = f16_at(b + 80), e.offset = f16_at(b + 82);
  for (int j = 0; j < 16; ++j)
    e.sub_scale[j] = static_cast<int8_t>(b[j] & 15), e.sub_min[j] = static_cast<int8_t>(b[j] >> 4);
  set_codes(e, 256, [&](int i) { return two_bits(b + 16, i); });
}
void unpack_q3_k(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b + 108);
  const uint8_t* s = b + 96;
  for (int j = 0; j < 16; ++j)
    e.sub_scale[j] = static_cast<int8_t>(
        (((s[j % 8] >> (4 * (j / 8))) & 15) | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4)) - 32);
  set_codes(e, 256, [&](int i) { return two_bits(b + 32, i) + 4 * plane_bit(b, i) - 4; });
}
void scales_and_mins(const uint8_t* s, EncodedBlock& e) {
  for (int j = 0; j < 4; ++j) {
    e.sub_scale[j] = static_cast<int8_t>(s[j] & 63);
    e.sub_min[j] = static_cast<int8_t>(s[j + 4] & 63);
    e.sub_scale[j + 4] = static_cast<int8_t>((s[j + 8] & 15) | ((s[j] >> 6) << 4));
    e.sub_min[j + 4] = static_cast<int8_t>((s[j + 8] >> 4) | ((s[j + 4] >> 6) << 4));
  }
}
void unpack_q4_k(const uint8_t* b, EncodedBlock& e) {
  e.scale = f16_at(b), e.offset = f16_at(b + 2);
  scales_and_mins(b + 4, e);
  set_codes(e, 256, [&](int i) { return nibble_of_runs(b + 16, i); });
}
void unpack_q5_k(const uint8_t* b, EncodedBlock& e) {
  e.scale = f16_at(b), e.offset = f16_at(b + 2);
  scales_and_mins(b + 4, e);
  set_codes(e, 256, [&](int i) { return nibble_of_runs(b + 48, i) | plane_bit(b + 16, i) << 4; });
}
void unpack_q6_k(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b + 208);
  std::memcpy(e.sub_scale, b + 192, 16);
  set_codes(e, 256, [&](int i) {
    const int h = i / 128, r = i % 128;
    const int low = (b[64 * h + r % 64] >> (4 * (r / 64))) & 15;
    const int high = (b[128 + 32 * h + r % 32] >> (2 * (r / 32))) & 3;
    return (low | high << 4) - 32;
  });
}
void unpack_iq4_xs(const uint8_t* b, EncodedBlock& e) {
  no_sub_scales(e);
  e.scale = f16_at(b);
  const int high = b[2] | b[3] << 8;
  for (int g = 0; g < 8; ++g)
    e.sub_scale[g] =
        static_cast<int8_t>((((b[4 + g / 2] >> (4 * (g & 1))) & 15) | (((high >> (2 * g)) & 3) << 4)) - 32);
  set_codes(e, 256, [&](int i) { return nibble(b + 8 + 16 * (i / 32), i % 32); });
}

constexpr float kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 by its code: the sign is the fourth bit, so codes do not ascend with their values.
constexpr float kFp4[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};

using Id = tensor::FormatId;
constexpr BlockForm kForms[] = {
    {Id::kQ8_0, 32, 32, -127, 127, nullptr, false, 0, 0, false, pack_q8_0, unpack_q8_0},
    {Id::kQ4_0, 32, 32, -8, 7, nullptr, false, 0, 0, false, pack_q4_0, unpack_q4_0},
    {Id::kQ4_1, 32, 32, 0, 15, nullptr, true, 0, 0, false, pack_q4_1, unpack_q4_1},
    {Id::kQ5_0, 32, 32, -16, 15, nullptr, false, 0, 0, false, pack_q5_0, unpack_q5_0},
    {Id::kQ5_1, 32, 32, 0, 31, nullptr, true, 0, 0, false, pack_q5_1, unpack_q5_1},
    {Id::kQ2_0, 64, 64, -1, 2, nullptr, false, 0, 0, false, pack_q2_0, unpack_q2_0},
    {Id::kIQ4_NL, 32, 32, 0, 15, kIq4, false, 0, 0, false, pack_iq4_nl, unpack_iq4_nl},
    {Id::kMXFP4, 32, 32, 0, 15, kFp4, false, 0, 0, true, pack_mxfp4, unpack_mxfp4},
    {Id::kQ2_K, 256, 16, 0, 3, nullptr, true, 0, 15, false, pack_q2_k, unpack_q2_k},
    {Id::kQ3_K, 256, 16, -4, 3, nullptr, false, -32, 31, false, pack_q3_k, unpack_q3_k},
    {Id::kQ4_K, 256, 32, 0, 15, nullptr, true, 0, 63, false, pack_q4_k, unpack_q4_k},
    {Id::kQ5_K, 256, 32, 0, 31, nullptr, true, 0, 63, false, pack_q5_k, unpack_q5_k},
    {Id::kQ6_K, 256, 16, -32, 31, nullptr, false, -128, 127, false, pack_q6_k, unpack_q6_k},
    {Id::kIQ4_XS, 256, 32, 0, 15, kIq4, false, -32, 31, false, pack_iq4_xs, unpack_iq4_xs},
};

}  // namespace

const BlockForm* find_block_form(tensor::FormatId format) {
  const auto* found = std::find_if(std::begin(kForms), std::end(kForms),
                                   [&](const BlockForm& f) { return f.format == format; });
  return found == std::end(kForms) ? nullptr : found;
}

}  // namespace hone::quant
