// Peak loops of AVX2 and FMA. Bytes: products of pairs that add up in 16 bits, as the kernels for small codes
// do; their rare widening to 32 bits is not counted.
#include <immintrin.h>

#include "kernels/peak_loops.h"

namespace hone::kernels {
namespace avx2 {
namespace {

using Vector = __m256i;
constexpr int kSums = 12;

inline void hide(__m256i& x) {
  asm volatile("" : "+x"(x));
}
inline void hide(__m256& x) {
  asm volatile("" : "+x"(x));
}
inline Vector load_bits(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline Vector add_bits(Vector a, Vector b) {
  return _mm256_add_epi64(a, b);
}
inline uint64_t sum_bits(Vector a) {
  uint64_t parts[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), a);
  return parts[0] + parts[1] + parts[2] + parts[3];
}

#include "kernels/peak.inc"

void bytes(uint64_t rounds) {
  repeat<__m256i>(rounds,
                  [](__m256i sum, __m256i w) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, w)); });
}
void words(uint64_t rounds) {
  repeat<__m256i>(rounds,
                  [](__m256i sum, __m256i w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, w)); });
}
void floats(uint64_t rounds) {
  repeat<__m256>(rounds, [](__m256 sum, __m256 w) { return _mm256_fmadd_ps(w, w, sum); });
}

}  // namespace
}  // namespace avx2

PeakLoops avx2_peaks() {
  using namespace avx2;
  return {{{"vfmadd231ps", floats, 8.0 * kSums},
           {},
           {"vpmaddwd + vpaddd", words, 16.0 * kSums},
           {"vpmaddubsw + vpaddw", bytes, 32.0 * kSums}},
          {read_memory<0>, read_memory<4096>}};
}

}  // namespace hone::kernels
