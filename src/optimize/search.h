// From costs to an allocation: knapsack, corrections by measurement, measured swaps, and the candidates
// that draw the curve of size against KL divergence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/progress.h"
#include "evaluate/divergence.h"
#include "optimize/cost.h"
#include "optimize/optimize.h"
#include "optimize/trial.h"

namespace hone::optimize {

using Formats = std::vector<tensor::FormatId>;  // one per slot

class Search {
 public:
  // fixed_bytes: of the output file apart from the slots' (padded) tensors.
  Search(TrialModel& trial, const evaluate::ReferenceLogits& reference, std::vector<CostRow> costs, uint64_t fixed_bytes,
         ProgressSink* progress);

  uint64_t smallest_bytes() const;
  uint64_t file_bytes(const Formats& formats) const;
  double predicted(const Formats& formats) const;

  // The allocation of least predicted cost within the budget. Error(kGoalNotMet) names the smallest size.
  Formats allocate(uint64_t budget) const;
  // Measured KL divergence of a whole allocation on the search text; recorded as a candidate.
  double measure(const Formats& formats, const std::string& name);
  // Costs are added up per tensor, but tensors of one role err together: measures each role alone as
  // allocated and scales its costs to what was measured.
  void correct_by_role(const Formats& formats);
  // Tries up to `trials` exchanges (one tensor up, another down, within the budget), keeps those that
  // measure better.
  Formats swap(Formats formats, uint64_t budget, int trials);
  // The best allocation for a budget: allocate, correct, allocate again, keep the better, swap.
  Formats best_for_size(uint64_t budget, int swap_trials);
  // Smallest allocation whose measured KL divergence is at most the target.
  Formats smallest_for_kl(double target, int swap_trials);
  // Measures allocations around a size, and every uniform format, for the chart.
  void sweep(uint64_t around_bytes);

  std::vector<Candidate> candidates(const Formats& chosen) const;  // by size, with the Pareto front marked
  const std::vector<CostRow>& costs() const { return costs_; }

 private:
  uint64_t padded(size_t slot, tensor::FormatId format) const;
  size_t index_of(size_t slot, tensor::FormatId format) const;

  TrialModel& trial_;
  const evaluate::ReferenceLogits& reference_;
  std::vector<CostRow> costs_;
  uint64_t fixed_bytes_;
  ProgressSink* progress_;
  struct Measured { Formats formats; Candidate candidate; };
  std::vector<Measured> measured_;
};

}  // namespace hone::optimize
