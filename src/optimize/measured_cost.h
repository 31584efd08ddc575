// The cost that optimize uses today: KL divergence measured with one tensor quantized at a time, scaled to
// its other formats by their importance-weighted error.
#pragma once

#include "base/progress.h"
#include "evaluate/divergence.h"
#include "optimize/cost.h"
#include "optimize/trial.h"

namespace hone::optimize {

class MeasuredCost : public CostModel {
 public:
  // reference: of the unchanged model, on the trial text.
  MeasuredCost(TrialModel& trial, const evaluate::ReferenceLogits& reference, ProgressSink* progress)
      : trial_(trial), reference_(reference), progress_(progress) {}
  std::string name() const override { return "measured"; }
  std::vector<CostRow> costs() override;

 private:
  TrialModel& trial_;
  const evaluate::ReferenceLogits& reference_;
  ProgressSink* progress_;
};

}  // namespace hone::optimize
