// Roofs: plausible figures from every instruction set of the host, and reads that read everything.
#include "kernels/peak.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/peak_loops.h"

namespace hone::kernels {
namespace {

std::vector<Isa> host_isas() {
  std::vector<Isa> all;
  for (const Isa isa : kIsas)
    if (isa_supported(isa)) all.push_back(isa);
  return all;
}

TEST(Peak, ArithmeticIsPlausible) {
  ThreadPool pool(1);
  for (const Isa isa : host_isas()) {
    for (int a = 0; a < kArithmeticCount; ++a) {
      const auto arithmetic = static_cast<Arithmetic>(a);
      const Peak peak = measure_peak(isa, arithmetic, pool);
      if (arithmetic != Arithmetic::kBF16) {
        ASSERT_NE(peak.instruction, nullptr) << isa_name(isa) << arithmetic_name(arithmetic);
      }
      if (!peak.instruction) continue;
      // From a crowded old machine to 256 products a cycle of 10 GHz: a loop that was optimised away is
      // beyond.
      EXPECT_GT(peak.multiply_adds_per_second, 1e7) << isa_name(isa) << arithmetic_name(arithmetic);
      EXPECT_LT(peak.multiply_adds_per_second, 2.6e12) << isa_name(isa) << arithmetic_name(arithmetic);
    }
  }
}

TEST(Peak, ReadsEveryByte) {
  std::vector<uint64_t> words(8192 / 8 + 4096 / 8);  // prefetching may look ahead of the end
  for (size_t i = 0; i < 8192 / 8; ++i) words[i] = i * i + 1;
  uint64_t expected = 0;
  for (size_t i = 0; i < 8192 / 8; ++i) expected += words[i];
  const auto* p = reinterpret_cast<const std::byte*>(words.data());
  for (const ReadFn read : scalar_peaks().reads) EXPECT_EQ(read(p, 8192), expected);
#if defined(__x86_64__)
  if (isa_supported(Isa::kAvx2)) {
    for (const ReadFn read : avx2_peaks().reads) EXPECT_EQ(read(p, 8192), expected);
  }
  if (isa_supported(Isa::kAvx512)) {
    for (const ReadFn read : avx512_peaks().reads) EXPECT_EQ(read(p, 8192), expected);
  }
#endif
}

}  // namespace
}  // namespace hone::kernels
