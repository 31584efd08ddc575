#include "optimize/measured_cost.h"

#include <algorithm>
#include <cmath>

#include "base/cancel.h"

namespace hone::optimize {
namespace {

using tensor::FormatId;

// Weight errors of formats are compared on a sample this large; the ratio between formats is stable well
// below it (rows of one tensor are alike), and the search would otherwise spend its time encoding.
constexpr uint64_t kErrorSample = 48 * 1024;

// The format to measure in: near 4.5 bits, where KL divergence is well above rounding noise and still in
// its quadratic range.
size_t probe_index(const std::vector<FormatId>& formats, FormatId own) {
  size_t best = 0;
  double distance = 1e9;
  for (size_t i = 0; i < formats.size(); ++i) {
    if (formats[i] == own) continue;
    const double d = std::abs(tensor::format(formats[i]).bits_per_weight() - 4.5);
    if (d < distance) distance = d, best = i;
  }
  return best;
}

}  // namespace

std::vector<CostRow> MeasuredCost::costs() {
  std::vector<CostRow> rows;
  Progress progress(progress_, "measuring the loss of each tensor", trial_.slots().size());
  for (size_t s = 0; s < trial_.slots().size(); ++s) {
    throw_if_cancelled();
    const Slot& slot = trial_.slots()[s];
    CostRow row{slot.info.gguf_name, slot.formats, {}, {}};
    for (const FormatId f : slot.formats) row.weighted_error.push_back(trial_.relative_error(s, f, kErrorSample));
    row.cost.assign(slot.formats.size(), 0.0);
    const size_t probe = probe_index(slot.formats, slot.view.format);
    if (slot.formats[probe] != slot.view.format && row.weighted_error[probe] > 0) {
      trial_.use(s, slot.formats[probe]);
      const double loss = std::max(0.0, reference_.mean_kl(trial_.scorer(), trial_.pool(), slot.resume_point));
      trial_.use_original(s);
      for (size_t i = 0; i < row.cost.size(); ++i) row.cost[i] = loss * row.weighted_error[i] / row.weighted_error[probe];
    }
    rows.push_back(std::move(row));
    progress.advance();
  }
  return rows;
}

}  // namespace hone::optimize
