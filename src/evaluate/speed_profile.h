// Where the time of a phase goes: seconds, bytes and multiply-adds per op kind and per op, held against the
// roofs.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "evaluate/speed_cost.h"
#include "evaluate/speed_roof.h"
#include "exec/plan.h"

namespace hone::evaluate {

// One op, or several together: all of a kind, or the same op of every layer.
struct ProfileLine {
  std::string name;         // "MatMul", or "blk.*.ffn_up"; of a group "blk.*.ffn_gate + ffn_up"
  std::string op;           // kind; of a group its kinds in order
  int64_t calls = 0;        // of all runs
  double seconds = 0;       // of all runs
  OpCost cost;              // of all runs
  double roof_seconds = 0;  // least time at full bandwidth or full arithmetic, whichever is longer
};

struct PhaseProfile {
  int64_t runs = 0, tokens = 0;
  double seconds = 0;          // wall clock of the runs
  double between_seconds = 0;  // of which in no op
  OpCost cost;
  double roof_seconds = 0;
  std::vector<ProfileLine> kinds, ops;  // slowest first; each list's seconds sum to seconds - between_seconds
};

// Watches the runs of a plan from its making to its end. A step that does several nodes at once is one line:
// named after its products, with the costs of all its nodes.
class Profiler {
 public:
  Profiler(exec::Plan& plan, const Roofs& roofs);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;
  // After each run: its sizes and its time.
  void add_run(const RunSizes& sizes, double seconds);
  PhaseProfile finish(int64_t tokens);  // tokens: of all runs

 private:
  struct Seen {
    int64_t calls = 0;
    double seconds = 0, roof_seconds = 0;
    OpCost cost;
  };
  exec::Plan& plan_;
  Roofs roofs_;
  std::vector<Seen> seen_;  // per node that ends a step
  int64_t runs_ = 0;
  double seconds_ = 0;
};

// "blk.12.ffn_up" and its like of other layers: "blk.*.ffn_up".
std::string layer_free_name(const std::string& name);

Json to_json(const PhaseProfile& profile, const Roofs& roofs);

}  // namespace hone::evaluate
