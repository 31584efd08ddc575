// Products of one to eight activation rows compiled for AVX-512 with VNNI and VBMI: 16 weight rows at a time,
// activations in two planes of signed bytes (x = 256 * high + low), which meet unsigned codes without
// widening.
#include "kernels/few.h"
#include "kernels/vec_avx512.h"
#include "tensor/codec_grids.h"

namespace hone::kernels {
namespace avx512 {
namespace {

// Each is written over those before it.
// clang-format off
#include "kernels/formats.inc"
#include "kernels/formats_grid.inc"
#include "kernels/dense_formats.inc"
// clang-format on

constexpr size_t kLanes = 16;
using Lane = __m512;
using Quad = __m512i;
using Table = Quad;

HONE_INLINE Lane lane_set1(float x) {
  return _mm512_set1_ps(x);
}
HONE_INLINE Lane lane_load(const float* p) {
  return _mm512_loadu_ps(p);
}
HONE_INLINE void lane_store(float* p, Lane a) {
  _mm512_storeu_ps(p, a);
}
HONE_INLINE Lane lane_add(Lane a, Lane b) {
  return _mm512_add_ps(a, b);
}
HONE_INLINE Lane lane_sub(Lane a, Lane b) {
  return _mm512_sub_ps(a, b);
}
HONE_INLINE Lane lane_mul(Lane a, Lane b) {
  return _mm512_mul_ps(a, b);
}
HONE_INLINE Lane lane_fma(Lane a, Lane b, Lane c) {
  return _mm512_fmadd_ps(a, b, c);
}

HONE_INLINE Quad quad_set1(uint32_t x) {
  return _mm512_set1_epi32(static_cast<int>(x));
}
HONE_INLINE Quad quad_zero() {
  return _mm512_setzero_si512();
}
HONE_INLINE Quad quad_and(Quad q, uint32_t mask) {
  return _mm512_and_si512(q, quad_set1(mask));
}
HONE_INLINE Quad quad_or(Quad a, Quad b) {
  return _mm512_or_si512(a, b);
}
HONE_INLINE Quad quad_xor(Quad q, uint32_t mask) {
  return _mm512_xor_si512(q, quad_set1(mask));
}
HONE_INLINE Quad quad_sub(Quad q, int x) {
  return _mm512_sub_epi32(q, _mm512_set1_epi32(x));
}
template <int N>
HONE_INLINE Quad quad_shr(Quad q) {
  return _mm512_srli_epi32(q, N);
}
HONE_INLINE Quad quad_shr_by(Quad q, int n) {  // n constant after inlining
  return _mm512_srli_epi32(q, static_cast<unsigned>(n));
}
HONE_INLINE Quad quad_shl_by(Quad q, int n) {
  return _mm512_slli_epi32(q, static_cast<unsigned>(n));
}
// Bit kFrom of each byte to kTo; others are rubbish.
template <int kFrom, int kTo>
HONE_INLINE Quad quad_move(Quad q) {
  if constexpr (kFrom < kTo) return _mm512_slli_epi32(q, kTo - kFrom);
  return _mm512_srli_epi32(q, kFrom - kTo);
}
HONE_INLINE Quad quad_byte_at(Quad q, int i) {
  return quad_and(quad_shr_by(q, 8 * i), 255);
}
template <int I>
HONE_INLINE Quad quad_byte(Quad q) {
  return quad_byte_at(q, I);
}
HONE_INLINE Quad quad_signed_byte(Quad q, int i) {
  return _mm512_srai_epi32(quad_shl_by(q, 24 - 8 * i), 24);
}
HONE_INLINE Quad quad_below(Quad q, int bound, Quad yes, Quad no) {  // unsigned bytes as integers
  return _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(q, _mm512_set1_epi32(bound)), no, yes);
}
HONE_INLINE Quad quad_equal(Quad q, int x, Quad yes, Quad no) {
  return _mm512_mask_blend_epi32(_mm512_cmpeq_epi32_mask(q, _mm512_set1_epi32(x)), no, yes);
}
HONE_INLINE Quad quad_table(const uint8_t* values) {  // 16 bytes
  return _mm512_broadcast_i32x4(load_bytes(values));
}
HONE_INLINE Quad quad_lookup(Quad table, Quad index) {
  return _mm512_shuffle_epi8(table, index);
}
// Byte t is 16 where bit 4 j + t of the row's 32 bits is set, else 0.
HONE_INLINE Quad spread_nibble(Quad bits, int j) {
  uint64_t starts = 0;
  for (int t = 0; t < 8; ++t)
    starts |= static_cast<uint64_t>((4 * j + t % 4 - 4 + 32 * (t / 4)) & 63) << (8 * t);
  return quad_and(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(starts)), bits),
                  0x10101010);
}
// The four 2-bit codes of byte i of each row.
HONE_INLINE Quad spread_crumbs4(Quad bits, int i) {
  uint64_t starts = 0;
  for (int t = 0; t < 8; ++t) starts |= static_cast<uint64_t>(8 * i + 2 * (t % 4) + 32 * (t / 4)) << (8 * t);
  return quad_and(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(starts)), bits),
                  0x03030303);
}
HONE_INLINE Lane to_lane(Quad q) {
  return _mm512_cvtepi32_ps(q);
}
HONE_INLINE Lane bits_as_lane(Quad q) {
  return _mm512_castsi512_ps(q);
}
HONE_INLINE Quad lane_as_bits(Lane a) {
  return _mm512_castps_si512(a);
}
HONE_INLINE Lane low_halves(Quad q) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(q));
}
HONE_INLINE Lane high_halves(Quad q) {
  return low_halves(_mm512_srli_epi32(q, 16));
}

HONE_INLINE void load_quads(const uint8_t* p, size_t s, Quad* q) {
  Quad a[4];
  unrolled<4>([&](auto i) HONE_LAMBDA {
    const auto row = [&](size_t r) HONE_LAMBDA { return load_bytes(p + r * s); };
    constexpr size_t r = i.value;
    const Quad two = _mm512_inserti32x4(_mm512_castsi128_si512(row(r)), row(4 + r), 1);
    a[i.value] = _mm512_inserti32x4(_mm512_inserti32x4(two, row(8 + r), 2), row(12 + r), 3);
  });
  const Quad t0 = _mm512_unpacklo_epi32(a[0], a[1]), t1 = _mm512_unpackhi_epi32(a[0], a[1]);
  const Quad t2 = _mm512_unpacklo_epi32(a[2], a[3]), t3 = _mm512_unpackhi_epi32(a[2], a[3]);
  q[0] = _mm512_unpacklo_epi64(t0, t2);
  q[1] = _mm512_unpackhi_epi64(t0, t2);
  q[2] = _mm512_unpacklo_epi64(t1, t3);
  q[3] = _mm512_unpackhi_epi64(t1, t3);
}
HONE_INLINE void load_quads8(const uint8_t* p, size_t s, Quad* q) {
  load_quads(p, s, q);
  load_quads(p + 16, s, q + 4);
}
HONE_INLINE Quad load_dwords(const uint8_t* p, size_t s) {
  __m128i v[4];
  unrolled<4>([&](auto i) HONE_LAMBDA {
    const uint8_t* row = p + 4 * i.value * s;
    const __m128i one = _mm_insert_epi32(_mm_loadu_si32(row), read<int32_t>(row + s), 1);
    v[i.value] =
        _mm_insert_epi32(_mm_insert_epi32(one, read<int32_t>(row + 2 * s), 2), read<int32_t>(row + 3 * s), 3);
  });
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(v[0]), v[1], 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(v[2]), v[3], 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
HONE_INLINE Lane load_halves(const uint8_t* p, size_t s) {
  __m128i v[2];
  unrolled<2>([&](auto i) HONE_LAMBDA {
    v[i.value] = _mm_setzero_si128();
    unrolled<8>([&](auto k) HONE_LAMBDA {
      v[i.value] = _mm_insert_epi16(v[i.value], read<int16_t>(p + (8 * i.value + k.value) * s), k.value);
    });
  });
  return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(v[0]), v[1], 1));
}
HONE_INLINE Quad load_single(const uint8_t* p, size_t s) {
  __m128i v = _mm_setzero_si128();
  unrolled<16>([&](auto i) HONE_LAMBDA { v = _mm_insert_epi8(v, p[i.value * s], i.value); });
  return _mm512_cvtepu8_epi32(v);
}

HONE_INLINE void prefetch_second(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

using Factor = Quad;
HONE_INLINE Factor factor(Quad q) {
  return q;
}
struct Sum {
  __m512i high, low;
};
HONE_INLINE Sum no_sum() {
  return {_mm512_setzero_si512(), _mm512_setzero_si512()};
}
HONE_INLINE void step(Sum& sum, Factor f, const uint8_t* x) {
  sum.high = _mm512_dpbusd_epi32(sum.high, f, _mm512_set1_epi32(read<int32_t>(x)));
  sum.low = _mm512_dpbusd_epi32(sum.low, f, _mm512_set1_epi32(read<int32_t>(x + 4)));
}
HONE_INLINE Lane finish(const Sum& sum, int32_t init) {
  const __m512i low = _mm512_add_epi32(sum.low, _mm512_set1_epi32(init));
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(sum.high, 8), low));
}
// Per 4 elements their high bytes, then their low ones.
HONE_INLINE void pack_codes(const int16_t* codes, uint8_t* to) {
  const __m512i raised = _mm512_add_epi16(_mm512_loadu_si512(codes), _mm512_set1_epi16(128));
  const __m512i planes = _mm512_xor_si512(raised, _mm512_set1_epi16(128));
  const __m128i order = _mm_setr_epi8(1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14);
  _mm512_storeu_si512(to, _mm512_shuffle_epi8(planes, _mm512_broadcast_i32x4(order)));
}

// Each is written over those before it.
// clang-format off
#include "kernels/few.inc"
#include "kernels/few_formats.inc"
// clang-format on

}  // namespace
}  // namespace avx512

const FewTable& avx512_few() {
  static const avx512::FewList list = avx512::make_few();
  static const FewTable table{avx512::kLanes,
                              avx512::few_prepare,
                              list.rows,
                              {{avx512::few_any<32, false>, avx512::few_any<32, true>},
                               {avx512::few_any<16, false>, avx512::few_any<16, true>}}};
  return table;
}

}  // namespace hone::kernels
