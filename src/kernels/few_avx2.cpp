// Products of one to eight activation rows compiled for AVX2 with FMA and F16C: 8 weight rows at a time.
// Codes widen to 16-bit words, which multiply pairwise into 32-bit sums.
#include "kernels/few.h"
#include "kernels/vec_avx2.h"
#include "tensor/codec_grids.h"

namespace hone::kernels {
namespace avx2 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/dense_formats.inc"
// clang-format on

constexpr size_t kLanes = 8;
using Lane = __m256;
using Quad = __m256i;
using Table = Quad;

HONE_INLINE Lane lane_set1(float x) {
  return _mm256_set1_ps(x);
}
HONE_INLINE Lane lane_load(const float* p) {
  return _mm256_loadu_ps(p);
}
HONE_INLINE void lane_store(float* p, Lane a) {
  _mm256_storeu_ps(p, a);
}
HONE_INLINE Lane lane_add(Lane a, Lane b) {
  return _mm256_add_ps(a, b);
}
HONE_INLINE Lane lane_sub(Lane a, Lane b) {
  return _mm256_sub_ps(a, b);
}
HONE_INLINE Lane lane_mul(Lane a, Lane b) {
  return _mm256_mul_ps(a, b);
}
HONE_INLINE Lane lane_fma(Lane a, Lane b, Lane c) {
  return _mm256_fmadd_ps(a, b, c);
}

HONE_INLINE Quad quad_set1(uint32_t x) {
  return _mm256_set1_epi32(static_cast<int>(x));
}
HONE_INLINE Quad quad_zero() {
  return _mm256_setzero_si256();
}
HONE_INLINE Quad quad_and(Quad q, uint32_t mask) {
  return _mm256_and_si256(q, quad_set1(mask));
}
HONE_INLINE Quad quad_or(Quad a, Quad b) {
  return _mm256_or_si256(a, b);
}
HONE_INLINE Quad quad_xor(Quad q, uint32_t mask) {
  return _mm256_xor_si256(q, quad_set1(mask));
}
HONE_INLINE Quad quad_sub(Quad q, int x) {
  return _mm256_sub_epi32(q, _mm256_set1_epi32(x));
}
template <int N>
HONE_INLINE Quad quad_shr(Quad q) {
  return _mm256_srli_epi32(q, N);
}
HONE_INLINE Quad quad_shr_by(Quad q, int n) {  // n constant after inlining
  return _mm256_srli_epi32(q, n);
}
HONE_INLINE Quad quad_shl_by(Quad q, int n) {
  return _mm256_slli_epi32(q, n);
}
// Bit kFrom of each byte to kTo; others are rubbish.
template <int kFrom, int kTo>
HONE_INLINE Quad quad_move(Quad q) {
  if constexpr (kFrom < kTo) return _mm256_slli_epi32(q, kTo - kFrom);
  return _mm256_srli_epi32(q, kFrom - kTo);
}
HONE_INLINE Quad quad_byte_at(Quad q, int i) {
  return quad_and(quad_shr_by(q, 8 * i), 255);
}
template <int I>
HONE_INLINE Quad quad_byte(Quad q) {
  return quad_byte_at(q, I);
}
HONE_INLINE Quad quad_signed_byte(Quad q, int i) {
  return _mm256_srai_epi32(quad_shl_by(q, 24 - 8 * i), 24);
}
HONE_INLINE Quad quad_below(Quad q, int bound, Quad yes, Quad no) {  // unsigned bytes as integers
  return _mm256_blendv_epi8(no, yes, _mm256_cmpgt_epi32(_mm256_set1_epi32(bound), q));
}
HONE_INLINE Quad quad_equal(Quad q, int x, Quad yes, Quad no) {
  return _mm256_blendv_epi8(no, yes, _mm256_cmpeq_epi32(q, _mm256_set1_epi32(x)));
}
HONE_INLINE Quad quad_table(const uint8_t* values) {  // 16 bytes
  return _mm256_broadcastsi128_si256(load_bytes(values));
}
HONE_INLINE Quad quad_lookup(Quad table, Quad index) {
  return _mm256_shuffle_epi8(table, index);
}
// Byte t is 16 where bit 4 j + t of the row's 32 bits is set, else 0.
HONE_INLINE Quad spread_nibble(Quad bits, int j) {
  const uint32_t byte = static_cast<uint32_t>(j / 2) * 0x01010101u, four = 0x04040404u;
  const uint64_t low = byte | static_cast<uint64_t>(byte + four) << 32, eight = 0x0808080808080808ull;
  const auto of = [](uint64_t a) HONE_LAMBDA { return static_cast<long long>(a); };
  const Quad order = _mm256_setr_epi64x(of(low), of(low + eight), of(low), of(low + eight));
  const Quad bit = quad_set1(j % 2 ? 0x80402010 : 0x08040201);
  const Quad one = _mm256_and_si256(_mm256_shuffle_epi8(bits, order), bit);
  return quad_and(_mm256_cmpeq_epi8(one, bit), 0x10101010);
}
// The four 2-bit codes of byte i of each row, a byte each.
HONE_INLINE Quad spread_crumbs4(Quad bits, int i) {
  const Quad byte = quad_byte_at(bits, i);
  const Quad low = _mm256_or_si256(byte, _mm256_slli_epi32(byte, 6));  // codes 0 and 1
  const Quad both = _mm256_or_si256(low, _mm256_slli_epi32(low, 12));  // and 2 and 3
  return quad_and(both, 0x03030303);
}
HONE_INLINE Lane to_lane(Quad q) {
  return _mm256_cvtepi32_ps(q);
}
HONE_INLINE Lane bits_as_lane(Quad q) {
  return _mm256_castsi256_ps(q);
}
HONE_INLINE Quad lane_as_bits(Lane a) {
  return _mm256_castps_si256(a);
}
HONE_INLINE Lane low_halves(Quad q) {
  const Quad low = quad_and(q, 0xFFFF);
  return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
HONE_INLINE Lane high_halves(Quad q) {
  const Quad high = _mm256_srli_epi32(q, 16);
  return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
}

HONE_INLINE void load_quads(const uint8_t* p, size_t s, Quad* q) {
  Quad a[4];
  unrolled<4>([&](auto i) HONE_LAMBDA {
    constexpr size_t r = i.value;
    a[i.value] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(p + r * s)),
                                         load_bytes(p + (4 + r) * s), 1);
  });
  const Quad t0 = _mm256_unpacklo_epi32(a[0], a[1]), t1 = _mm256_unpackhi_epi32(a[0], a[1]);
  const Quad t2 = _mm256_unpacklo_epi32(a[2], a[3]), t3 = _mm256_unpackhi_epi32(a[2], a[3]);
  q[0] = _mm256_unpacklo_epi64(t0, t2);
  q[1] = _mm256_unpackhi_epi64(t0, t2);
  q[2] = _mm256_unpacklo_epi64(t1, t3);
  q[3] = _mm256_unpackhi_epi64(t1, t3);
}
HONE_INLINE void load_quads8(const uint8_t* p, size_t s, Quad* q) {
  load_quads(p, s, q);
  load_quads(p + 16, s, q + 4);
}
HONE_INLINE Quad load_dwords(const uint8_t* p, size_t s) {
  __m128i v[2];
  unrolled<2>([&](auto i) HONE_LAMBDA {
    const uint8_t* row = p + 4 * i.value * s;
    const __m128i one = _mm_insert_epi32(_mm_loadu_si32(row), read<int32_t>(row + s), 1);
    v[i.value] =
        _mm_insert_epi32(_mm_insert_epi32(one, read<int32_t>(row + 2 * s), 2), read<int32_t>(row + 3 * s), 3);
  });
  return _mm256_inserti128_si256(_mm256_castsi128_si256(v[0]), v[1], 1);
}
HONE_INLINE Lane load_halves(const uint8_t* p, size_t s) {
  __m128i v = _mm_setzero_si128();
  unrolled<8>([&](auto k) HONE_LAMBDA { v = _mm_insert_epi16(v, read<int16_t>(p + k.value * s), k.value); });
  return _mm256_cvtph_ps(v);
}
HONE_INLINE Quad load_single(const uint8_t* p, size_t s) {
  __m128i v = _mm_setzero_si128();
  unrolled<8>([&](auto i) HONE_LAMBDA { v = _mm_insert_epi8(v, p[i.value * s], i.value); });
  return _mm256_cvtepu8_epi32(v);
}

HONE_INLINE void prefetch_second(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

struct Factor {
  __m256i even, odd;  // codes 0 and 2, 1 and 3
};
HONE_INLINE Factor factor(Quad q) {
  return {quad_and(q, 0x00FF00FF), _mm256_srli_epi16(q, 8)};
}
struct Sum {
  __m256i all;
};
HONE_INLINE Sum no_sum() {
  return {_mm256_setzero_si256()};
}
HONE_INLINE void step(Sum& sum, const Factor& f, const uint8_t* x) {
  sum.all = dot_pairs(sum.all, f.even, _mm256_set1_epi32(read<int32_t>(x)));
  asm("" : "+x"(sum.all));
  sum.all = dot_pairs(sum.all, f.odd, _mm256_set1_epi32(read<int32_t>(x + 4)));
  asm("" : "+x"(sum.all));
}
HONE_INLINE Lane finish(const Sum& sum, int32_t init) {
  return _mm256_cvtepi32_ps(_mm256_add_epi32(sum.all, _mm256_set1_epi32(init)));
}
// Of 4 elements 0 and 2, then 1 and 3.
HONE_INLINE void pack_codes(const int16_t* codes, uint8_t* to) {
  const __m256i order =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  for (int i = 0; i < 2; ++i) {
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes) + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to) + i, _mm256_shuffle_epi8(q, order));
  }
}

// Each is written over those before it.
// clang-format off
#include "kernels/few.inc"
#include "kernels/few_formats.inc"
// clang-format on

}  // namespace
}  // namespace avx2

const FewTable& avx2_few() {
  static const avx2::FewList list = avx2::make_few();
  static const FewTable table{avx2::kLanes,
                              avx2::few_prepare,
                              list.rows,
                              {{avx2::few_any<32, false>, avx2::few_any<32, true>},
                               {avx2::few_any<16, false>, avx2::few_any<16, true>}}};
  return table;
}

}  // namespace hone::kernels
