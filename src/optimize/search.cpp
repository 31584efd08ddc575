#include "optimize/search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/cancel.h"
#include "base/error.h"
#include "quant/knapsack.h"

namespace hone::optimize {
namespace {

using tensor::FormatId;

constexpr uint64_t kAlignment = 32;  // of tensors in a GGUF file

double megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

Search::Search(TrialModel& trial, const evaluate::ReferenceLogits& reference, std::vector<CostRow> costs, uint64_t fixed_bytes,
               ProgressSink* progress)
    : trial_(trial), reference_(reference), costs_(std::move(costs)), fixed_bytes_(fixed_bytes), progress_(progress) {
  HONE_CHECK(costs_.size() == trial_.slots().size());
}

uint64_t Search::padded(size_t slot, FormatId format) const {
  return (trial_.slots()[slot].bytes_in(format) + kAlignment - 1) / kAlignment * kAlignment;
}

size_t Search::index_of(size_t slot, FormatId format) const {
  const auto& formats = costs_[slot].formats;
  const auto it = std::find(formats.begin(), formats.end(), format);
  HONE_CHECK(it != formats.end());
  return static_cast<size_t>(it - formats.begin());
}

uint64_t Search::smallest_bytes() const {
  uint64_t total = fixed_bytes_;
  for (size_t s = 0; s < costs_.size(); ++s) {
    uint64_t least = UINT64_MAX;
    for (const FormatId f : costs_[s].formats) least = std::min(least, padded(s, f));
    total += least;
  }
  return total;
}

uint64_t Search::file_bytes(const Formats& formats) const {
  uint64_t total = fixed_bytes_;
  for (size_t s = 0; s < formats.size(); ++s) total += padded(s, formats[s]);
  return total;
}

double Search::predicted(const Formats& formats) const {
  double total = 0;
  for (size_t s = 0; s < formats.size(); ++s) total += costs_[s].cost[index_of(s, formats[s])];
  return total;
}

Formats Search::allocate(uint64_t budget) const {
  const uint64_t least = smallest_bytes();
  if (budget < least)
    fail(ErrorKind::kGoalNotMet, "[optimize] no mix of formats fits {:.1f} MB: the smallest file this model can become is {:.1f} MB; raise the budget",
         megabytes(budget), megabytes(least));
  std::vector<std::vector<quant::Choice>> items(costs_.size());
  for (size_t s = 0; s < costs_.size(); ++s)
    for (size_t i = 0; i < costs_[s].formats.size(); ++i)
      items[s].push_back({padded(s, costs_[s].formats[i]), costs_[s].cost[i]});
  const auto solution = quant::solve_knapsack(items, budget - fixed_bytes_);
  Formats formats;
  for (size_t s = 0; s < costs_.size(); ++s) formats.push_back(costs_[s].formats[static_cast<size_t>(solution.choice[s])]);
  return formats;
}

double Search::measure(const Formats& formats, const std::string& name) {
  throw_if_cancelled();
  for (const auto& m : measured_)
    if (m.formats == formats) return m.candidate.kl_mean;
  trial_.use_all(formats);
  Candidate c;
  c.name = name;
  c.bytes = file_bytes(formats);
  c.predicted_kl = predicted(formats);
  c.kl_mean = reference_.mean_kl(trial_.scorer(), trial_.pool());
  uint64_t elements = 0, bytes = 0;
  for (size_t s = 0; s < formats.size(); ++s) {
    elements += trial_.slots()[s].elements();
    bytes += trial_.slots()[s].bytes_in(formats[s]);
  }
  c.bpw = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  measured_.push_back({formats, c});
  return c.kl_mean;
}

void Search::correct_by_role(const Formats& formats) {
  std::map<models::Role, std::vector<size_t>> roles;
  for (size_t s = 0; s < formats.size(); ++s) roles[trial_.slots()[s].info.role].push_back(s);
  Progress progress(progress_, "correcting costs by role", roles.size());
  for (const auto& [role, members] : roles) {
    throw_if_cancelled();
    for (size_t s = 0; s < formats.size(); ++s) trial_.use_original(s);
    double expected = 0;
    for (const size_t s : members) {
      trial_.use(s, formats[s]);
      expected += costs_[s].cost[index_of(s, formats[s])];
    }
    const double measured = reference_.mean_kl(trial_.scorer(), trial_.pool());
    if (expected > 0 && measured > 0) {
      const double factor = std::clamp(measured / expected, 0.25, 4.0);
      for (const size_t s : members)
        for (double& cost : costs_[s].cost) cost *= factor;
    }
    progress.advance();
  }
}

namespace {

struct Move {
  size_t up, down;
  FormatId up_to, down_to;
  double predicted = 0;
};

}  // namespace

Formats Search::swap(Formats formats, uint64_t budget, int trials) {
  if (trials <= 0) return formats;
  double best = measure(formats, "allocation");
  std::set<std::pair<size_t, size_t>> tried;
  Progress progress(progress_, "measuring swaps", static_cast<uint64_t>(trials));
  for (int t = 0; t < trials; ++t) {
    throw_if_cancelled();
    // One step up or down in cost per slot; pairs that fit the budget, most promising first.
    struct Step { size_t slot; FormatId to; double delta; int64_t bytes; };
    std::vector<Step> ups, downs;
    for (size_t s = 0; s < formats.size(); ++s) {
      const size_t now = index_of(s, formats[s]);
      for (size_t i = 0; i < costs_[s].formats.size(); ++i) {
        if (i == now) continue;
        const FormatId f = costs_[s].formats[i];
        const Step step{s, f, costs_[s].cost[i] - costs_[s].cost[now],
                        static_cast<int64_t>(padded(s, f)) - static_cast<int64_t>(padded(s, formats[s]))};
        if (step.delta < 0) ups.push_back(step);
        if (step.bytes < 0) downs.push_back(step);
      }
    }
    const auto room = static_cast<int64_t>(budget) - static_cast<int64_t>(file_bytes(formats));
    Move move{};
    bool found = false;
    for (const Step& u : ups)
      for (const Step& d : downs) {
        if (u.slot == d.slot || u.bytes + d.bytes > room || tried.contains({u.slot, d.slot})) continue;
        const double delta = u.delta + d.delta;
        if (!found || delta < move.predicted) move = {u.slot, d.slot, u.to, d.to, delta}, found = true;
      }
    if (!found) break;
    tried.insert({move.up, move.down});
    Formats next = formats;
    next[move.up] = move.up_to;
    next[move.down] = move.down_to;
    if (const double kl = measure(next, "swap"); kl < best) best = kl, formats = std::move(next);
    progress.advance();
  }
  return formats;
}

Formats Search::best_for_size(uint64_t budget, int swap_trials) {
  Formats first = allocate(budget);
  const double kl_first = measure(first, "allocation by single tensors");
  correct_by_role(first);
  Formats second = allocate(budget);
  const double kl_second = measure(second, "allocation corrected by role");
  return swap(kl_second <= kl_first ? std::move(second) : std::move(first), budget, swap_trials);
}

Formats Search::smallest_for_kl(double target, int swap_trials) {
  uint64_t low = smallest_bytes(), high = low;
  for (const auto& row : costs_) {
    const size_t s = static_cast<size_t>(&row - costs_.data());
    uint64_t least = UINT64_MAX, largest = 0;
    for (const FormatId f : row.formats) least = std::min(least, padded(s, f)), largest = std::max(largest, padded(s, f));
    high += largest - least;
  }
  Formats middle = allocate(low + (high - low) / 4);
  measure(middle, "probe");
  correct_by_role(middle);
  Formats best;
  double kl = measure(allocate(high), "largest");
  if (kl > target)
    fail(ErrorKind::kGoalNotMet, "[optimize] KL divergence {:.4g} cannot be reached: the largest candidate ({:.1f} MB) measures {:.4g}; raise --max-kld",
         target, megabytes(high), kl);
  best = allocate(high);
  for (int step = 0; step < 9 && high - low > low / 500; ++step) {
    const uint64_t size = low + (high - low) / 2;
    Formats formats = allocate(size);
    if (measure(formats, "bisection") <= target) best = std::move(formats), high = size;
    else low = size;
  }
  return swap(best, file_bytes(best), swap_trials);
}

void Search::sweep(uint64_t around_bytes) {
  constexpr double kFactors[] = {0.85, 0.93, 1.1, 1.25, 1.5};
  // What somebody gets who gives every tensor one format: the usual choices, to compare with.
  constexpr FormatId uniform[] = {FormatId::kQ4_0, FormatId::kQ5_1, FormatId::kQ8_0};
  Progress progress(progress_, "measuring other sizes", std::size(kFactors) + std::size(uniform));
  for (const double factor : kFactors) {
    const auto budget = static_cast<uint64_t>(factor * static_cast<double>(around_bytes));
    if (budget >= smallest_bytes()) measure(allocate(budget), fmt::format("allocation for {:.0f} MB", megabytes(budget)));
    progress.advance();
  }
  for (const FormatId f : uniform) {
    Formats formats;
    for (const auto& row : costs_) {
      const bool has = std::find(row.formats.begin(), row.formats.end(), f) != row.formats.end();
      if (has) formats.push_back(f);
    }
    if (formats.size() == costs_.size()) measure(formats, fmt::format("all {}", tensor::format(f).name));
    progress.advance();
  }
}

std::vector<Candidate> Search::candidates(const Formats& chosen) const {
  std::vector<Candidate> result;
  for (const auto& m : measured_) {
    result.push_back(m.candidate);
    result.back().chosen = m.formats == chosen;
  }
  std::stable_sort(result.begin(), result.end(), [](const Candidate& a, const Candidate& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.kl_mean < b.kl_mean;
  });
  double best = INFINITY;
  for (auto& c : result) {
    c.on_front = c.kl_mean < best;
    best = std::min(best, c.kl_mean);
  }
  return result;
}

}  // namespace hone::optimize
