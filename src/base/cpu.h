// What the processor can do and which instruction set the kernels use.
#pragma once

#include <cstdint>
#include <string>

namespace hone {

// kAvx512: F, BW, DQ, VL, VNNI and VBMI together. kNeon: what every 64-bit ARM has (Cortex-A53, A72).
// kNeonDot: with the dot product of bytes (Cortex-A55, A76 and later). kNeonI8mm: with products of 2x8 by 8x2
// bytes as well (Cortex-A510, A710, Neoverse V1, Apple M2 and later).
enum class Isa { kScalar, kAvx2, kAvx512, kNeon, kNeonDot, kNeonI8mm };
// In ascending order of preference.
inline constexpr Isa kIsas[] = {Isa::kScalar, Isa::kNeon, Isa::kNeonDot, Isa::kNeonI8mm, Isa::kAvx2, Isa::kAvx512};

const char* isa_name(Isa isa);  // "scalar", "avx2", "avx512", "neon", "neon-dot", "neon-i8mm"
bool isa_supported(Isa isa);    // by this host
// The best supported set, or what the environment variable HONE_ISA names. Read once.
// Throws Error(kUsage) for an unknown or unsupported name.
Isa active_isa();

std::string cpu_model_name();
int usable_cores();            // affinity and cgroup quota respected
uint64_t peak_rss_bytes();     // of this process since start or the last reset
bool reset_peak_rss();         // false where the kernel does not allow it
uint64_t total_memory_bytes();

}  // namespace hone
