// Peak loops in plain C++, for what has no vector vocabulary.
#include <cstring>

#include "kernels/peak_loops.h"

namespace hone::kernels {
namespace {

using Vector = uint64_t;
constexpr int kSums = 12;

#if defined(__x86_64__)
inline void hide(float& x) {
  asm volatile("" : "+x"(x));
}
#elif defined(__aarch64__)
inline void hide(float& x) {
  asm volatile("" : "+w"(x));
}
#else
inline void hide(float& x) {
  asm volatile("" : "+m"(x));
}
#endif
inline void hide(uint32_t& x) {
  asm volatile("" : "+r"(x));
}
inline Vector load_bits(const std::byte* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}
inline Vector add_bits(Vector a, Vector b) {
  return a + b;
}
inline uint64_t sum_bits(Vector a) {
  return a;
}

#include "kernels/peak.inc"

void floats(uint64_t rounds) {
  repeat<float>(rounds, [](float sum, float w) { return sum + w * w; });
}
void integers(uint64_t rounds) {
  repeat<uint32_t>(rounds, [](uint32_t sum, uint32_t w) { return sum + w * w; });
}

}  // namespace

PeakLoops scalar_peaks() {
  return {
      {{"float", floats, 1.0 * kSums}, {}, {"int", integers, 1.0 * kSums}, {"int", integers, 1.0 * kSums}},
      {read_memory<0>, read_memory<4096>}};
}

}  // namespace hone::kernels
