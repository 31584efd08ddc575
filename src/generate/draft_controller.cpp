#include "generate/draft_controller.h"

#include <algorithm>

#include "base/error.h"

namespace hone::generate {
namespace {

constexpr double kMemory = 0.95;     // decay of counts per judgement: about the last twenty matter
constexpr double kPriorWeight = 2;   // judgements that a prior is worth
constexpr double kRowGuess = 0.1;    // cost of a further row, in runs of one row, before any was measured
constexpr double kWorthIt = 1.05;    // gain below which a plain step is preferred
constexpr double kNewSample = 0.25;  // weight of the newest time
constexpr int kMostPatience = 16;       // times the first
constexpr int kTrialLength = 3;

}  // namespace

void RunTimes::add(int rows, double seconds) {
  if (rows < 1 || rows >= static_cast<int>(seconds_.size()) || !(seconds > 0)) return;
  double& held = seconds_[static_cast<size_t>(rows)];
  held = held == 0 ? seconds : held + kNewSample * (std::clamp(seconds, held / 2, held * 2) - held);
}

double RunTimes::estimate(int rows) const {
  const int most = static_cast<int>(seconds_.size()) - 1;
  rows = std::clamp(rows, 1, most);
  if (known(rows)) return seconds_[static_cast<size_t>(rows)];
  int below = rows - 1, above = rows + 1;
  while (below >= 1 && !known(below)) --below;
  while (above <= most && !known(above)) ++above;
  const auto at = [&](int m) { return seconds_[static_cast<size_t>(m)]; };
  if (below >= 1 && above <= most)
    return at(below) + (at(above) - at(below)) * (rows - below) / (above - below);
  const auto guess = [](int m) { return 1 + kRowGuess * (m - 1); };
  if (below >= 1) return at(below) * guess(rows) / guess(below);
  if (above <= most) return at(above) * guess(rows) / guess(above);
  return 0;
}

DraftController::DraftController(int most, const std::vector<double>& priors, int patience)
    : most_(most),
      first_patience_(patience),
      priors_(priors),
      counts_(priors.size(), std::vector<Count>(static_cast<size_t>(most) + 1)),
      runs_(most + 1),
      declined_(priors.size(), 0),
      patience_(priors.size(), patience) {
  HONE_CHECK(most > 0);
}

double DraftController::acceptance(int kind, int position) const {
  double chance = priors_[static_cast<size_t>(kind)];
  // Each position starts from what the one before it has learnt.
  for (int i = 0; i <= position; ++i) {
    const Count& c = counts_[static_cast<size_t>(kind)][static_cast<size_t>(i)];
    chance = (c.accepted + kPriorWeight * chance) / (c.tried + kPriorWeight);
  }
  return chance;
}

double DraftController::expected_tokens(int kind, int length) const {
  double sum = 1, all = 1;
  for (int i = 0; i < length; ++i) sum += all *= acceptance(kind, i);
  return sum;
}

double DraftController::rate(int kind, int length) const {
  const double seconds = runs_.estimate(length + 1) + length * draft_token_seconds_;
  return seconds > 0 ? expected_tokens(kind, length) / seconds : 0;
}

int DraftController::choose(int kind, int available) {
  available = std::min(available, most_);
  if (kind < 0 || available <= 0) return 0;
  if (!runs_.known(1)) return 0;  // the first step is plain: everything is compared with it
  const auto k = static_cast<size_t>(kind);
  int best = 0;
  double best_rate = rate(kind, 0) * kWorthIt;
  for (int length = 1; length <= available; ++length) {
    if (const double r = rate(kind, length); r > best_rate) best_rate = r, best = length;
  }
  if (best > 0) {
    declined_[k] = 0;
    patience_[k] = first_patience_;
    return best;
  }
  if (++declined_[k] < patience_[k]) return 0;
  declined_[k] = 0;
  patience_[k] = std::min(kMostPatience * first_patience_, 2 * patience_[k]);
  return std::min(available, kTrialLength);
}

void DraftController::judged(int kind, int position, bool accepted) {
  if (position > most_) return;
  Count& c = counts_[static_cast<size_t>(kind)][static_cast<size_t>(position)];
  c.tried = kMemory * c.tried + 1;
  c.accepted = kMemory * c.accepted + (accepted ? 1 : 0);
}

void DraftController::drafted(int tokens, double seconds) {
  if (tokens <= 0 || !(seconds > 0)) return;
  const double each = seconds / tokens;
  draft_token_seconds_ += (draft_token_seconds_ == 0 ? 1.0 : kNewSample) * (each - draft_token_seconds_);
}

}  // namespace hone::generate
