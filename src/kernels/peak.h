// What this machine can do at most: loops of nothing but one instruction, and plain reading of memory. The
// roofs that `hone bench` holds a model's speed against.
#pragma once

#include <cstddef>
#include <span>

#include "base/cpu.h"
#include "base/thread_pool.h"

namespace hone::kernels {

// What two factors are when a product multiplies them; sums are F32 or 32-bit integers.
enum class Arithmetic { kF32, kBF16, kInt16, kInt8 };
inline constexpr int kArithmeticCount = 4;
const char* arithmetic_name(Arithmetic arithmetic);  // "F32", "BF16", "int16", "int8"

struct Peak {
  const char* instruction = nullptr;  // null: the instruction set has none of this kind
  double multiply_adds_per_second = 0;
};
// Multiply-adds per second of every thread together, operands in registers; best of several runs of a few
// milliseconds. Error(kUsage) when the host cannot run the instruction set.
Peak measure_peak(Isa isa, Arithmetic arithmetic, ThreadPool& pool);

// Bytes per second with which every thread together reads `memory` (a multiple of 4096 bytes, far larger than
// the caches): the best of `passes` passes with each loop of each instruction set that the host can run.
double measure_read(std::span<const std::byte> memory, int passes, ThreadPool& pool);

}  // namespace hone::kernels
