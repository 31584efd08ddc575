// Times the loops of peak_loops.h on every thread of a pool.
#include "kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "kernels/peak_loops.h"

namespace hone::kernels {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

PeakLoops loops_for(Isa isa) {
  if (!isa_supported(isa))
    fail(ErrorKind::kUsage, "[kernels] this machine cannot run {} kernels", isa_name(isa));
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512_peaks();
  if (isa == Isa::kAvx2) return avx2_peaks();
#endif
  return scalar_peaks();
}

}  // namespace

const char* arithmetic_name(Arithmetic arithmetic) {
  static constexpr const char* names[kArithmeticCount] = {"F32", "BF16", "int16", "int8"};
  return names[static_cast<int>(arithmetic)];
}

Peak measure_peak(Isa isa, Arithmetic arithmetic, ThreadPool& pool) {
  const PeakLoop loop = loops_for(isa).arithmetic[static_cast<int>(arithmetic)];
  if (!loop.instruction) return {};
  // Pieces of about a quarter of a millisecond, many per thread, so that a thread that starts late counts.
  uint64_t rounds = 1 << 10;
  for (double seconds = 0; seconds < 2e-4; rounds *= 2) {
    const auto start = Clock::now();
    loop.run(rounds);
    seconds = seconds_since(start);
  }
  constexpr int kRuns = 8, kPieces = 16;
  const auto pieces = static_cast<size_t>(pool.size()) * kPieces;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = Clock::now();
    pool.for_range(pieces, 1, [&](size_t, size_t, int) { loop.run(rounds); });
    best = std::max(best, loop.multiply_adds * static_cast<double>(rounds) * static_cast<double>(pieces) /
                              seconds_since(start));
  }
  return {loop.instruction, best};
}

double measure_read(std::span<const std::byte> memory, int passes, ThreadPool& pool) {
  HONE_CHECK(!memory.empty() && memory.size() % 4096 == 0 && passes > 0);
  std::vector<ReadFn> loops;
  for (const Isa isa : kIsas) {
    if (!isa_supported(isa)) continue;
    for (const ReadFn read : loops_for(isa).reads) loops.push_back(read);
  }
  constexpr size_t kChunk = size_t{1} << 20;                         // of each thread in turn
  std::vector<uint64_t> sums(static_cast<size_t>(pool.size()) * 8);  // a cache line each
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    for (const ReadFn read : loops) {
      const auto start = Clock::now();
      pool.for_range(memory.size(), kChunk, [&](size_t begin, size_t end, int worker) {
        sums[static_cast<size_t>(worker) * 8] += read(&memory[begin], end - begin);
      });
      best = std::max(best, static_cast<double>(memory.size()) / seconds_since(start));
    }
  }
  volatile uint64_t sink = 0;  // used, so that the reads are not optimised away
  for (const uint64_t s : sums) sink = sink + s;
  return best;
}

}  // namespace hone::kernels
