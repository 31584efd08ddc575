// A graph compiled for a device: a list of steps over one arena that was laid out ahead. Sizes that are
// symbols are bound per run, up to the limits given at compile time; run() allocates nothing.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "exec/device.h"
#include "exec/pages.h"
#include "ir/graph.h"

namespace hone::exec {

struct PlanLimits {
  int64_t batch = 1;
  int64_t sequence = 512;  // tokens per run and batch row
  int64_t context = 4096;  // capacity of growing states
  int64_t rows = 512;      // bound of the symbol "rows" (logit rows asked for)
  // Any other symbol of the graph: its largest value.
  std::vector<std::pair<std::string, int64_t>> others;
  tensor::FormatId state_format = tensor::FormatId::kF16;
  // No groups, whatever the device offers: the observer sees every node, and a run can start before any.
  bool every_node = false;
};

// The growing or fixed state of one session (or of a batch in lockstep or ragged).
class StateSet {
 public:
  std::span<const int64_t> lengths() const { return lengths_; }  // per batch row, tokens held
  void truncate(int64_t row, int64_t length);                    // forget the end
  // What row `from` holds takes the place of row `to`; `from` is empty then. Copies the tokens held.
  void move_row(int64_t from, int64_t to);
  void reset();
  uint64_t bytes() const;

 private:
  friend class Plan;
  std::vector<StateBuffer> buffers_;
  std::vector<Pages> storage_;
  std::vector<int64_t> lengths_;
};

// What a run left in the arena before some of its nodes, so that a later run with the same inputs can start
// there: trials that change a constant of a late layer need not compute the early ones again. A point inside
// a group of the device is refused; devices that multiply exactly make no groups.
class Recording {
 public:
  // points: node ids, ascending. The state before each of them is kept.
  explicit Recording(std::vector<ir::NodeId> points = {})
      : points_(std::move(points)), saved_(points_.size()) {}
  const std::vector<ir::NodeId>& points() const { return points_; }
  uint64_t bytes() const;

 private:
  friend class Plan;
  struct Piece {
    size_t offset = 0;
    std::vector<std::byte> bytes;
  };
  std::vector<ir::NodeId> points_;
  std::vector<std::vector<Piece>> saved_;  // per point
};

struct RunOptions {
  Recording* record = nullptr;  // filled by this run
  const Recording* resume =
      nullptr;            // start before resume->points()[point] with what was kept there; the inputs
  size_t point = 0;       // that earlier nodes read, and their constants, must be as they were
  int64_t first_row = 0;  // batch row 0 of the inputs is this row of the states, the others follow
};

struct Input {
  std::string_view name;
  tensor::TensorView view;  // shape binds the symbols
};

class Plan {
 public:
  // Error(kUnsupported) lists every op the device lacks, all at once. Lazy constants are produced here.
  static std::unique_ptr<Plan> compile(ir::Graph graph, Device& device, const PlanLimits& limits);
  ~Plan();

  StateSet make_states() const;
  // Runs once. Inputs by graph name; symbol sizes come from their shapes (batch, sequence, rows). states
  // may be null for graphs without state; their lengths advance by the sequence length.
  void run(std::span<const Input> inputs, StateSet* states, const RunOptions& options = {});
  // Valid until the next run.
  Buffer output(size_t index) const;
  Buffer output(std::string_view name) const;

  // Called after each step of a run with its last node and the step's buffers (calibration statistics,
  // profiling). A step is one node, unless the device groups: see step_nodes(). Null: off.
  using Observer = std::function<void(const ir::Node&, std::span<const Buffer> inputs,
                                      std::span<const Buffer> outputs, double seconds)>;
  void set_observer(Observer observer);
  // All nodes, ascending, of the step that runs this one. Of one node: buffers are the node's inputs and
  // outputs; of more: in the order of Grouping::edges().
  std::span<const ir::NodeId> step_nodes(ir::NodeId node) const;
  size_t steps() const;  // per run, views included

  // Replaces the bytes of a constant (same shape, any format the kernel supports). The bytes must outlive
  // their use. Cheap: for trials of one tensor in another format.
  void rebind(ir::ValueId constant, tensor::FormatId format, std::span<const std::byte> bytes);

  const ir::Graph& graph() const;
  const PlanLimits& limits() const;
  uint64_t arena_bytes() const;
  uint64_t weight_bytes() const;  // bytes of constants that one step reads

 private:
  Plan();
  void save(Recording& recording, size_t point) const;
  ir::NodeId restore(const Recording& recording, size_t point);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::exec
