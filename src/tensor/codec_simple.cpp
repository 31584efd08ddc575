// One-level block formats: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 (32 values) and Q2_0 (64). Nibbles: value i < 16
// is the low nibble of byte i, value i >= 16 the high nibble of byte i - 16. The scale is stored as F16
// while the codes are computed with the F32 scale, as ggml does.
#include "tensor/codec.h"

namespace hone::tensor {
namespace {

// Packs 32 codes of at most 5 bits: nibbles at qs, fifth bits as one u32 at qh (null for 4 bits).
void pack_codes(const uint8_t* q, uint8_t* qs, uint8_t* qh) {
  for (int i = 0; i < 16; ++i) qs[i] = static_cast<uint8_t>((q[i] & 15) | ((q[i + 16] & 15) << 4));
  if (!qh) return;
  uint32_t high = 0;
  for (int i = 0; i < 32; ++i) high |= uint32_t(q[i] >> 4) << i;
  store(qh, high);
}

void unpack_codes(const uint8_t* qs, const uint8_t* qh, int* q) {
  const uint32_t high = qh ? load<uint32_t>(qh) : 0;
  for (int i = 0; i < 16; ++i) {
    q[i] = static_cast<int>((qs[i] & 15u) | (((high >> i) & 1u) << 4));
    q[i + 16] = static_cast<int>((qs[i] >> 4) | (((high >> (i + 16)) & 1u) << 4));
  }
}

// Symmetric codes around 2^(bits - 1): d * (q - zero).
void encode_symmetric(const float* x, uint8_t* b, int zero, uint8_t* qs, uint8_t* qh) {
  const float d = signed_peak(x, 32) / static_cast<float>(-zero), id = inverse(d);
  uint8_t q[32];
  for (int i = 0; i < 32; ++i)
    q[i] = static_cast<uint8_t>(clamp_to_int(x[i] * id + (static_cast<float>(zero) + 0.5f), 0, 2 * zero - 1));
  store_f16(b, d);
  pack_codes(q, qs, qh);
}

// Codes above a minimum: d * q + m.
void encode_affine(const float* x, uint8_t* b, int levels, uint8_t* qs, uint8_t* qh) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float m = *low, d = (*high - m) / static_cast<float>(levels), id = inverse(d);
  uint8_t q[32];
  for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(clamp_to_int((x[i] - m) * id + 0.5f, 0, levels));
  store_f16(b, d);
  store_f16(b + 2, m);
  pack_codes(q, qs, qh);
}

void decode_symmetric(const uint8_t* b, const uint8_t* qs, const uint8_t* qh, int zero, float* y) {
  const float d = load_f16(b);
  int q[32];
  unpack_codes(qs, qh, q);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(q[i] - zero);
}

void decode_affine(const uint8_t* b, const uint8_t* qs, const uint8_t* qh, float* y) {
  const float d = load_f16(b), m = load_f16(b + 2);
  int q[32];
  unpack_codes(qs, qh, q);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(q[i]) + m;
}

}  // namespace

// f16 d, i8 q[32]
void decode_q8_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 34>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * d;
  });
}
void encode_q8_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 34>(src, dst, n, [](const float* x, uint8_t* b) {
    const float d = std::fabs(signed_peak(x, 32)) / 127.0f, id = inverse(d);
    store_f16(b, d);
    for (int i = 0; i < 32; ++i)
      b[2 + i] = static_cast<uint8_t>(clamp_to_int(std::round(x[i] * id), -127, 127));
  });
}

// f16 d, nibbles[16]
void decode_q4_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 18>(src, dst, n,
                        [](const uint8_t* b, float* y) { decode_symmetric(b, b + 2, nullptr, 8, y); });
}
void encode_q4_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 18>(src, dst, n,
                        [](const float* x, uint8_t* b) { encode_symmetric(x, b, 8, b + 2, nullptr); });
}

// f16 d, f16 m, nibbles[16]
void decode_q4_1(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 20>(src, dst, n, [](const uint8_t* b, float* y) { decode_affine(b, b + 4, nullptr, y); });
}
void encode_q4_1(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 20>(src, dst, n,
                        [](const float* x, uint8_t* b) { encode_affine(x, b, 15, b + 4, nullptr); });
}

// f16 d, u32 fifth bits, nibbles[16]
void decode_q5_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 22>(src, dst, n,
                        [](const uint8_t* b, float* y) { decode_symmetric(b, b + 6, b + 2, 16, y); });
}
void encode_q5_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 22>(src, dst, n,
                        [](const float* x, uint8_t* b) { encode_symmetric(x, b, 16, b + 6, b + 2); });
}

// f16 d, f16 m, u32 fifth bits, nibbles[16]
void decode_q5_1(const std::byte* src, float* dst, size_t n) {
  decode_blocks<32, 24>(src, dst, n, [](const uint8_t* b, float* y) { decode_affine(b, b + 8, b + 4, y); });
}
void encode_q5_1(const float* src, std::byte* dst, size_t n) {
  encode_blocks<32, 24>(src, dst, n,
                        [](const float* x, uint8_t* b) { encode_affine(x, b, 31, b + 8, b + 4); });
}

// f16 d, 2-bit codes[64]; value d * (q - 1)
void decode_q2_0(const std::byte* src, float* dst, size_t n) {
  decode_blocks<64, 18>(src, dst, n, [](const uint8_t* b, float* y) {
    const float d = load_f16(b);
    for (int i = 0; i < 64; ++i) y[i] = d * static_cast<float>(((b[2 + i / 4] >> (2 * (i % 4))) & 3) - 1);
  });
}
void encode_q2_0(const float* src, std::byte* dst, size_t n) {
  encode_blocks<64, 18>(src, dst, n, [](const float* x, uint8_t* b) {
    const float d = std::fabs(signed_peak(x, 64)), id = inverse(d);
    std::memset(b, 0, 18);
    store_f16(b, d);
    for (int i = 0; i < 64; ++i) {
      const int q = clamp_to_int(std::round(x[i] * id), -1, 1) + 1;
      b[2 + i / 4] = static_cast<uint8_t>(b[2 + i / 4] | (q << (2 * (i % 4))));
    }
  });
}

}  // namespace hone::tensor
