// The recipe's pass "feedback": the chosen formats encoded with the covariance of each weight's inputs.
#pragma once

#include "base/progress.h"
#include "exec/device.h"
#include "models/model.h"
#include "optimize/recipe.h"
#include "optimize/search.h"
#include "optimize/trial.h"

namespace hone::optimize {

// Collects the covariances on the pass's text with the original weights, encodes every slot whose format differs from the
// input's, and fixes the bytes in the trial model. Error(kBadInput) for token ids the model does not have.
void run_feedback(const RecipePass& pass, const models::Model& model, exec::Device& device, TrialModel& trial,
                  const Formats& formats, ProgressSink* progress);

}  // namespace hone::optimize
