// How many tokens to draft: running estimates of acceptance and of the cost of runs, and the length that
// gives the most tokens per second by them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hone::generate {

// Seconds of a run of m token rows, 1 <= m <= most. What was not measured is interpolated.
class RunTimes {
 public:
  explicit RunTimes(int most) : seconds_(static_cast<size_t>(most) + 1, 0.0) {}
  // A moving average; one sample moves it by a factor of 2 at most, so that a disturbed run does little harm.
  void add(int rows, double seconds);
  bool known(int rows) const { return seconds_[static_cast<size_t>(rows)] > 0; }
  // 0 when nothing was measured yet.
  double estimate(int rows) const;

 private:
  std::vector<double> seconds_;  // 0: not measured
};

class DraftController {
 public:
  // priors: chance of acceptance per kind of draft before anything was seen. patience: steps until a kind that did not
  // pay is tried again.
  DraftController(int most, const std::vector<double>& priors, int patience = 64);

  // Tokens to draft of a kind, at most `available`; 0: a plain step. A kind that did not pay is tried again
  // after a while, and ever more rarely while it does not.
  int choose(int kind, int available);
  // Token `position` (0: the first) of a draft was judged, those before it were accepted.
  void judged(int kind, int position, bool accepted);
  void ran(int rows, double seconds) { runs_.add(rows, seconds); }
  void drafted(int tokens, double seconds);  // the drafter's own time

  // Expected tokens of a run with a draft of this length: 1 + the sum of the chances that all up to i hold.
  double expected_tokens(int kind, int length) const;
  double acceptance(int kind, int position) const;

 private:
  struct Count {
    double tried = 0, accepted = 0;  // decaying
  };
  double rate(int kind, int length) const;  // tokens per second

  int most_, first_patience_;
  std::vector<double> priors_;
  std::vector<std::vector<Count>> counts_;  // per kind and position
  RunTimes runs_;
  double draft_token_seconds_ = 0;
  std::vector<int> declined_, patience_;  // per kind: steps since the last draft, steps until the next try
};

}  // namespace hone::generate
