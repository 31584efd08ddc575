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

// Multiple-choice knapsack, exact in bytes. The search is complete (lower_bound == cost) unless more than
// some hundred thousand partial solutions compete, which model-sized problems stay far below; then the
// result still holds the budget and lower_bound tells how far from optimal it can be. Deterministic.
// Error(kGoalNotMet) when even the smallest choices exceed the budget; the message says the smallest
// possible size. Error(kUsage) for an item without choices or a cost that is not finite.
Allocation solve_knapsack(const std::vector<std::vector<Choice>>& items, uint64_t budget_bytes);

}  // namespace hone::quant
