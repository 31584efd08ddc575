#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string_view>

#include "base/error.h"

namespace hone {
namespace {

#if defined(__x86_64__)
bool has_f16c() {  // clang 14 does not know this name in __builtin_cpu_supports
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

int cgroup_cores() {  // cgroup v2 quota, rounded up; large when there is none
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period)));
}

// "VmHWM:   123 kB" of /proc/self/status
uint64_t status_kilobytes(std::string_view key) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  return 0;
}

Isa choose_isa() {
  const char* forced = std::getenv("HONE_ISA");
  for (size_t i = std::size(kIsas); i-- > 0;) {
    const Isa isa = kIsas[i];
    if (forced && *forced) {
      if (std::string_view(forced) != isa_name(isa)) continue;
      if (!isa_supported(isa))
        fail(ErrorKind::kUsage, "[cpu] HONE_ISA={}: this processor does not support it", forced);
      return isa;
    }
    if (isa_supported(isa)) return isa;
  }
  fail(ErrorKind::kUsage, "[cpu] HONE_ISA={}: unknown; use scalar, avx2, avx512, neon, neon-dot or neon-i8mm", forced);
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kNeon: return "neon";
    case Isa::kNeonDot: return "neon-dot";
    case Isa::kNeonI8mm: return "neon-i8mm";
  }
  return "unknown";
}

bool isa_supported(Isa isa) {
  if (isa == Isa::kScalar) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    has_f16c() && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  return (isa == Isa::kAvx2 && avx2) || (isa == Isa::kAvx512 && avx512);
#elif defined(__aarch64__)
  const bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP, i8mm = dot && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
  return isa == Isa::kNeon || (isa == Isa::kNeonDot && dot) || (isa == Isa::kNeonI8mm && i8mm);
#else
  return false;
#endif
}

Isa active_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("model name")) {
      const size_t colon = line.find(':');
      if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
    }
  // ARM kernels give no name of the processor there, but boards that of their kind.
  std::ifstream board("/sys/firmware/devicetree/base/model");
  if (std::getline(board, line, '\0') && !line.empty()) return line;
  return "unknown processor";
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                           : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, std::min(count, cgroup_cores()));
}

uint64_t peak_rss_bytes() {
  if (const uint64_t bytes = status_kilobytes("VmHWM")) return bytes;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

bool reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
  return static_cast<bool>(file.flush());
}

uint64_t total_memory_bytes() {
  struct sysinfo info {};
  return sysinfo(&info) == 0 ? static_cast<uint64_t>(info.totalram) * info.mem_unit : 0;
}

}  // namespace hone
