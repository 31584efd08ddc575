// What a compiled plan holds. Everything that run() touches is laid out at compile time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exec/grouping.h"
#include "exec/plan.h"

namespace hone::exec {

// Where the bytes of a value are.
struct Place {
  enum class Kind : uint8_t { kNone, kArena, kConstant, kInput, kState };
  Kind kind = Kind::kNone;
  size_t index = 0;  // arena offset, constant value id, input slot or state index
};

struct Step {
  ir::NodeId node = 0;  // the last of them
  std::vector<ir::NodeId> nodes;
  std::vector<ir::ValueId> reads, writes;  // values of the buffers; kNoValue: absent
  std::unique_ptr<Kernel> kernel;
  std::span<Buffer> inputs, outputs;  // into Plan::Impl::buffers
  std::span<StateBuffer*> states;     // into Plan::Impl::state_slots, parallel to inputs
};

struct Plan::Impl {
  Impl(ir::Graph g, Device& d, const PlanLimits& l) : graph(std::move(g)), device(d), limits(l) {}

  ir::Graph graph;
  Device& device;
  PlanLimits limits;

  std::vector<int64_t> maxima;  // per symbol
  std::vector<int64_t> bound;   // per symbol, of the last run
  std::vector<int64_t> next;    // per symbol, of the run being set up
  std::vector<Place> places;    // per value
  std::vector<Step> steps;      // ascending by node
  std::vector<size_t> step_of;  // per node
  std::vector<Buffer> buffers;  // of all steps, then of the graph's outputs
  std::vector<StateBuffer*> state_slots;
  std::span<Buffer> outputs;

  // Patches applied at each run.
  struct DimPatch {
    Buffer* buffer;
    int dim;
  };
  struct InputPatch {
    Buffer* buffer;
    size_t slot;
  };
  struct StatePatch {
    StateBuffer** slot;
    Buffer* buffer;
    size_t state;
  };
  // Per symbol, since most runs change one: the dimensions that follow it, and the buffers whose bytes do.
  std::vector<std::vector<DimPatch>> dim_patches;
  std::vector<std::vector<Buffer*>> sized;
  std::vector<InputPatch> input_patches;
  std::vector<StatePatch> state_patches;

  std::vector<ir::ValueId> input_values;  // graph inputs that are not states: the slots
  std::vector<const std::byte*> input_data;
  std::vector<int64_t> past;         // per batch row
  std::vector<StateBuffer> windows;  // per state: the rows that the run is about
  ir::SymbolId batch_symbol = -1, past_symbol = -1, sequence_symbol = -1;

  Pages arena, scratch;
  std::optional<Grouping> grouping;  // set once the graph is checked
  Observer observer;

  // plan.cpp
  void bind_maxima();
  void check_support() const;
  void check_states() const;
  void materialise();
  void make_steps();
  void compile(Step& step);
  void place_values();
  void lay_out_buffers();
  Buffer describe(ir::ValueId value, std::span<const int64_t> symbols) const;
  void place_pointer(Buffer& buffer, ir::ValueId value, StateBuffer** state_slot);
  void reserve_scratch(const Step& step);

  // plan_resume.cpp
  struct Span {
    size_t offset, bytes;
  };
  std::vector<Span> alive_before(ir::NodeId node) const;
  void check_points(const Recording& recording) const;

  // plan_run.cpp
  void bind_inputs(std::span<const Input> inputs, const StateSet* states, int64_t first_row);
  void bind_one(const Input& input);
  void bind_states(StateSet* states, int64_t first_row);
  void apply_sizes();
};

// The storage format of plain elements.
inline tensor::FormatId plain_format(tensor::DType dtype) {
  return static_cast<tensor::FormatId>(dtype);  // both enumerations begin with the same list
}

}  // namespace hone::exec
