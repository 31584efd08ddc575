#include "evaluate/speed_roof.h"

#include <sys/mman.h>

#include <cstring>

#include "exec/pages.h"

namespace hone::evaluate {
namespace {

constexpr size_t kBandwidthBytes = size_t{256} << 20;  // eight times the largest last-level cache at hand
constexpr int kBandwidthPasses = 4;

}  // namespace

double Roofs::multiply_adds(kernels::Arithmetic arithmetic) const {
  const kernels::Peak& peak = peaks[static_cast<size_t>(arithmetic)];
  return peak.instruction ? peak.multiply_adds_per_second
                          : peaks[static_cast<size_t>(kernels::Arithmetic::kF32)].multiply_adds_per_second;
}

double Roofs::memory_seconds(const OpCost& cost) const {
  return static_cast<double>(cost.weight_bytes + cost.cache_bytes) / read_bandwidth;
}

double Roofs::arithmetic_seconds(const OpCost& cost) const {
  return cost.multiply_adds / multiply_adds(cost.arithmetic);
}

double measure_read_bandwidth(ThreadPool& pool) {
  const exec::Pages pages(kBandwidthBytes);
  // Large pages where the system gives them: the roof is what the memory can do, not what address translation
  // leaves.
  madvise(pages.data(), pages.size(), MADV_HUGEPAGE);
  // Written once, so that every page is real memory of its own.
  pool.for_range(pages.size(), size_t{1} << 21,
                 [&](size_t begin, size_t end, int) { std::memset(pages.data() + begin, 1, end - begin); });
  return kernels::measure_read(pages.bytes(), kBandwidthPasses, pool);
}

Roofs measure_roofs(ThreadPool& pool) {
  Roofs roofs;
  roofs.read_bandwidth = measure_read_bandwidth(pool);
  for (int a = 0; a < kernels::kArithmeticCount; ++a)
    roofs.peaks[static_cast<size_t>(a)] =
        kernels::measure_peak(active_isa(), static_cast<kernels::Arithmetic>(a), pool);
  return roofs;
}

Json to_json(const Roofs& roofs) {
  Json peaks = Json::object();
  for (int a = 0; a < kernels::kArithmeticCount; ++a) {
    const kernels::Peak& peak = roofs.peaks[static_cast<size_t>(a)];
    if (!peak.instruction) continue;
    peaks[kernels::arithmetic_name(static_cast<kernels::Arithmetic>(a))] =
        Json{{"instruction", peak.instruction}, {"multiply_adds_per_second", peak.multiply_adds_per_second}};
  }
  return Json{{"read_bandwidth_bytes_per_second", roofs.read_bandwidth}, {"arithmetic", peaks}};
}

}  // namespace hone::evaluate
