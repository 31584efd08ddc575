// Kernels of the grouped formats in plain C++, the reference that the others are tested against.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O1", "fp-contract=off")  // the reference needs no speed
#elif defined(__clang__)
#pragma clang fp contract(off)
#endif

#include "kernels/isa_table.h"
#include "kernels/vec_scalar.h"
#include "tensor/grouped.h"

namespace hone::kernels {
namespace scalar {
namespace {

constexpr bool kFastTables = false;

struct Words {
  uint16_t v[16];
};
template <int kBits>
HONE_INLINE Words words16(const uint8_t* p) {
  Words w;
  for (int i = 0; i < 16; ++i) {
    const int bit = i * kBits;
    const uint32_t two = p[bit / 8] | uint32_t{p[bit / 8 + (bit % 8 + kBits > 8)]} << 8;
    w.v[i] = static_cast<uint16_t>((two >> (bit % 8)) & ((1u << kBits) - 1));
  }
  return w;
}
HONE_INLINE F32 from_words(const Words& w) {
  return each([&](int i) { return static_cast<float>(w.v[i]); });
}
HONE_INLINE Bytes to_bytes(const Words& w) {  // words below 256
  return each_byte([&](int i) { return w.v[i]; });
}
struct Table {
  F32 values;
};
HONE_INLINE Table make_table(F32 values) {
  return {values};
}
template <int kBits>
HONE_INLINE F32 lookup16(const Table& t, const uint8_t* p) {
  const Words w = words16<kBits>(p);
  return each([&](int i) { return t.values.v[w.v[i]]; });
}
HONE_INLINE F32 from_e5m2(const Words& w) {
  return each([&](int i) { return half_value(static_cast<uint16_t>(w.v[i] << 8)); });
}
HONE_INLINE F32 from_e4m3(const Words& w) {
  return each([&](int i) {
    const unsigned magnitude = w.v[i] & 127u, sign = (w.v[i] & 128u) << 8;
    if (magnitude == 127) return half_value(0x7E00);
    return half_value(static_cast<uint16_t>(sign | magnitude << 7)) * 256.0f;
  });
}

#include "kernels/grouped.inc"
template <typename Values>
constexpr GroupedGemvCodesFn codes_kernel = nullptr;  // no integer products
#include "kernels/grouped_table.inc"

}  // namespace
}  // namespace scalar

const GroupedKernels* scalar_grouped() {
  return scalar::kTable;
}

}  // namespace hone::kernels
