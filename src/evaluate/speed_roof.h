// The limits of the machine that speed is held against.
#pragma once

#include <array>

#include "base/json.h"
#include "evaluate/speed_cost.h"
#include "kernels/peak.h"

namespace hone::evaluate {

struct Roofs {
  double read_bandwidth = 0;                                   // bytes/s
  std::array<kernels::Peak, kernels::kArithmeticCount> peaks;  // by Arithmetic; of the instruction set in use

  double multiply_adds(
      kernels::Arithmetic arithmetic) const;  // per second; F32's where the set has no such products
  double memory_seconds(const OpCost& cost) const;
  double arithmetic_seconds(const OpCost& cost) const;
};

// With every thread of the pool: about half a second.
Roofs measure_roofs(ThreadPool& pool);
// The bandwidth alone, bytes per second, from memory far larger than the caches.
double measure_read_bandwidth(ThreadPool& pool);

Json to_json(const Roofs& roofs);

}  // namespace hone::evaluate
