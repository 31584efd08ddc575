// What the processor can do and which instruction set the kernels use.
#pragma once

#include <cstdint>
#include <string>

namespace hone {

enum class Isa { kScalar, kAvx2, kAvx512 };  // kAvx512: F, BW, DQ, VL, VNNI and VBMI together

const char* isa_name(Isa isa);  // "scalar", "avx2", "avx512"
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
