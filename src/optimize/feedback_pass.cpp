#include "optimize/feedback_pass.h"

#include <algorithm>

#include "evaluate/moments.h"
#include "quant/feedback.h"

namespace hone::optimize {

void run_feedback(const RecipePass& pass, const models::Model& model, exec::Device& device, TrialModel& trial,
                  const Formats& formats, ProgressSink* progress) {
  const std::vector<std::vector<text::TokenId>> windows(pass.windows.begin(), pass.windows.end());
  evaluate::Moments moments = evaluate::collect_moments(model, device, windows, progress);
  // Weights of one input follow each other, so that its covariance is factored once.
  std::vector<size_t> order;
  for (size_t s = 0; s < formats.size(); ++s) {
    const Slot& slot = trial.slots()[s];
    if (formats[s] != slot.view.format && quant::has_feedback(formats[s]) && moments.contains(slot.source)) order.push_back(s);
  }
  const auto input_of = [&](size_t s) { return moments.at(trial.slots()[s].source).get(); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return input_of(a) < input_of(b); });
  uint64_t elements = 0;
  for (const size_t s : order) elements += trial.slots()[s].elements();
  Progress stage(progress, "encoding with feedback", elements);
  const std::vector<float>* last = nullptr;
  std::unique_ptr<quant::Covariance> covariance;
  for (const size_t s : order) {
    const Slot& slot = trial.slots()[s];
    if (input_of(s) != last) {
      last = input_of(s);
      covariance = std::make_unique<quant::Covariance>(*last, static_cast<size_t>(slot.view.row_length()), pass.damping, &device.pool());
    }
    std::vector<std::byte> bytes(slot.bytes_in(formats[s]));
    quant::encode_with_feedback(slot.view, formats[s], *covariance, bytes, &device.pool(), {pass.sweeps});
    trial.fix(s, formats[s], std::move(bytes));
    stage.advance(slot.elements());
  }
}

}  // namespace hone::optimize
