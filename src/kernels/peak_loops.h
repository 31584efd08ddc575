// The loops behind peak.h, one set per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hone::kernels {

struct PeakLoop {
  const char* instruction = nullptr;  // null: absent
  void (*run)(uint64_t rounds) = nullptr;
  double multiply_adds = 0;  // of one round
};

// Reads n bytes, a multiple of 512; returns something that depends on all of them.
using ReadFn = uint64_t (*)(const std::byte* p, size_t n);

struct PeakLoops {
  PeakLoop arithmetic[4];  // by Arithmetic
  ReadFn reads[2];         // without and with prefetching
};

PeakLoops scalar_peaks();
PeakLoops avx2_peaks();
PeakLoops avx512_peaks();

}  // namespace hone::kernels
