// Bit allocation: one choice per item, least total cost within a byte budget, solved exactly.
#pragma once

#include <cstdint>
#include <vector>

namespace hone::quant {

struct Choice {
  uint64_t bytes = 0;
  double cost = 0;
};

struct Allocation {
  std::vector<int> choice;   // per item, index into its choices
  uint64_t bytes = 0;
  double cost = 0;
  double lower_bound = 0;    // on the optimal cost; equals cost when the solution is proven optimal
};

// Multiple-choice knapsack. Exact up to a resolution of `granularity` bytes (sizes are divided by the
// greatest common divisor first; when the budget is still above a few million units, sizes round up to
// granularity, so the budget always holds). Error(kGoalNotMet) when even the smallest choices exceed
// the budget; the message says the smallest possible size.
Allocation solve_knapsack(const std::vector<std::vector<Choice>>& items, uint64_t budget_bytes);

}  // namespace hone::quant
