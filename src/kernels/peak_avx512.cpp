// Peak loops of AVX-512: VNNI bytes and words, BF16 pairs where the processor has them, F32.
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace hone::kernels {
namespace avx512 {
namespace {

using Vector = __m512i;
constexpr int kSums = 12;

inline void hide(__m512i& x) {
  asm volatile("" : "+v"(x));
}
inline void hide(__m512& x) {
  asm volatile("" : "+v"(x));
}
inline Vector load_bits(const std::byte* p) {
  return _mm512_loadu_si512(p);
}
inline Vector add_bits(Vector a, Vector b) {
  return _mm512_add_epi64(a, b);
}
inline uint64_t sum_bits(Vector a) {
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(a));
}

#include "kernels/peak.inc"

void bytes(uint64_t rounds) {
  repeat<__m512i>(rounds, [](__m512i sum, __m512i w) { return _mm512_dpbusd_epi32(sum, w, w); });
}
void words(uint64_t rounds) {
  repeat<__m512i>(rounds, [](__m512i sum, __m512i w) { return _mm512_dpwssd_epi32(sum, w, w); });
}
void floats(uint64_t rounds) {
  repeat<__m512>(rounds, [](__m512 sum, __m512 w) { return _mm512_fmadd_ps(w, w, sum); });
}
// Spelled as assembly: this file's flags do not promise BF16, and the table asks the processor first.
void brains(uint64_t rounds) {
  repeat<__m512>(rounds, [](__m512 sum, __m512 w) {
    asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(w));
    return sum;
  });
}

}  // namespace
}  // namespace avx512

PeakLoops avx512_peaks() {
  using namespace avx512;
  PeakLoops loops{{{"vfmadd231ps", floats, 16.0 * kSums},
                   {},
                   {"vpdpwssd", words, 32.0 * kSums},
                   {"vpdpbusd", bytes, 64.0 * kSums}},
                  {read_memory<0>, read_memory<4096>}};
  if (__builtin_cpu_supports("avx512bf16")) loops.arithmetic[1] = {"vdpbf16ps", brains, 32.0 * kSums};
  return loops;
}

}  // namespace hone::kernels
