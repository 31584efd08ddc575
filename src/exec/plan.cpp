// Compiles a graph: support check, lazy constants, one kernel per node or group of the device, arena layout
// by lifetimes.
#include "exec/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "exec/arena_layout.h"
#include "exec/grouping.h"
#include "exec/plan_impl.h"
#include "ir/op_table.h"

namespace hone::exec {

namespace {

constexpr int kMaxRank = 6;

// Owner of a produced constant.
std::shared_ptr<const void> produce(ir::Constant& constant, uint64_t elements) {
  auto tensor =
      std::make_shared<tensor::Tensor>(constant.format, tensor::Shape{static_cast<int64_t>(elements)});
  constant.produce(tensor->bytes());
  constant.bytes = tensor->bytes();
  constant.produce = nullptr;
  return tensor;
}

uint64_t elements_of(const ir::Value& value) {
  uint64_t n = 1;
  for (const ir::Dim& dim : value.shape) n *= static_cast<uint64_t>(dim.size);
  return n;
}

}  // namespace

void Plan::Impl::bind_maxima() {
  maxima.assign(graph.symbols().size(), -1);
  for (size_t i = 0; i < maxima.size(); ++i) {
    if (graph.rule(static_cast<ir::SymbolId>(i)).kind != ir::SymbolRule::Kind::kFree) continue;
    const std::string& name = graph.symbols()[i];
    if (name == "batch") maxima[i] = limits.batch;
    if (name == "sequence") maxima[i] = limits.sequence;
    if (name == "past" || name == "total") maxima[i] = limits.context;
    if (name == "rows") maxima[i] = limits.rows;
    for (const auto& [other, size] : limits.others)
      if (other == name) maxima[i] = size;
    if (maxima[i] < 0)
      fail(ErrorKind::kUsage,
           "[exec] the size '{}' of graph '{}' has no limit; give one in PlanLimits::others", name,
           graph.name());
  }
  graph.resolve_symbols(maxima);
  bound.assign(maxima.size(), -1);
  next.assign(maxima.size(), -1);
  dim_patches.resize(maxima.size());
  sized.resize(maxima.size());
}

void Plan::Impl::check_support() const {
  std::map<std::string, std::pair<int, std::string>> missing;  // op -> count, first node
  for (const ir::Node& node : graph.nodes()) {
    if (device.supports(graph, node)) continue;
    auto& entry = missing[node.op->name];
    if (entry.first++ == 0) entry.second = node.name;
  }
  if (missing.empty()) return;
  std::string list;
  for (const auto& [op, entry] : missing)
    list +=
        fmt::format("{}{} ({} nodes, first '{}')", list.empty() ? "" : ", ", op, entry.first, entry.second);
  fail(ErrorKind::kUnsupported, "[exec] graph '{}': device {} cannot run {}", graph.name(), device.name(),
       list);
}

void Plan::Impl::check_states() const {
  for (const ir::State& state : graph.states()) {
    const ir::Value& value = graph.value(state.input);
    if (state.growing_axis < 0) continue;
    if (state.growing_axis != 2 || value.shape.size() != 4 || !value.shape[1].known() ||
        !value.shape[3].known())
      fail(ErrorKind::kUnsupported, "[exec] state '{}': a growing state must be [batch, heads, past, width]",
           state.name);
    if (!device.supports_state(limits.state_format))
      fail(ErrorKind::kUsage, "[exec] device {} cannot keep states in {}", device.name(),
           tensor::format(limits.state_format).name);
    if (!tensor::divides(limits.state_format, static_cast<uint64_t>(value.shape[3].size)))
      fail(ErrorKind::kUsage, "[exec] state '{}': rows of {} do not divide into blocks of {}; use F16",
           state.name, value.shape[3].size, tensor::format(limits.state_format).name);
  }
}

void Plan::Impl::materialise() {
  std::map<std::pair<const void*, tensor::FormatId>, ir::Constant> made;  // by the owner of the lazy constant
  for (size_t v = 0; v < graph.values().size(); ++v) {
    const auto id = static_cast<ir::ValueId>(v);
    const ir::Constant* constant = graph.constant_of(id);
    if (!constant || grouping->users(id).empty()) continue;
    if (constant->unbound() && elements_of(graph.value(id)) != 0)
      fail(ErrorKind::kUsage, "[exec] constant '{}' has no bytes; bind it first", graph.value(id).name);
    if (!constant->lazy()) continue;
    ir::Constant ready = *constant;
    const void* origin = constant->owner.get();
    if (const auto known = made.find({origin, ready.format}); origin && known != made.end()) {
      ready.bytes = known->second.bytes;
      ready.owner = known->second.owner;
      ready.produce = nullptr;
    } else {
      ready.owner = produce(ready, elements_of(graph.value(id)));
      if (origin) made.emplace(std::pair(origin, ready.format), ready);
    }
    graph.set_constant(id, std::move(ready));
  }
}

void Plan::Impl::compile(Step& step) {
  step.kernel = step.nodes.size() == 1 ? device.compile(graph, graph.nodes()[static_cast<size_t>(step.node)])
                                       : device.compile_group(*grouping, step.nodes);
  HONE_CHECK(step.kernel && (step.nodes.size() == 1 || !step.kernel->is_view()));
}

void Plan::Impl::make_steps() {
  if (!limits.every_node) device.group(*grouping);
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const auto id = static_cast<ir::NodeId>(n);
    if (grouping->taken(id)) continue;
    const ir::Node& node = graph.nodes()[n];
    steps.push_back({id, {id}, node.inputs, node.outputs, nullptr, {}, {}, {}});
  }
  for (const auto& nodes : grouping->groups()) {
    GroupEdges edges = grouping->edges(nodes);
    steps.push_back(
        {nodes.back(), nodes, std::move(edges.inputs), std::move(edges.outputs), nullptr, {}, {}, {}});
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.node < b.node; });
  step_of.resize(graph.nodes().size());
  for (size_t s = 0; s < steps.size(); ++s) {
    for (const ir::NodeId n : steps[s].nodes) step_of[static_cast<size_t>(n)] = s;
    compile(steps[s]);
  }
}

// Gives every value that a step writes a place: constants and inputs where they are, views where their source
// is, the rest in the arena.
void Plan::Impl::place_values() {
  const auto& values = graph.values();
  places.assign(values.size(), {});
  std::vector<bool> is_state(values.size(), false);
  for (size_t s = 0; s < graph.states().size(); ++s) {
    const ir::State& state = graph.states()[s];
    places[static_cast<size_t>(state.input)] = {Place::Kind::kState, s};
    is_state[static_cast<size_t>(state.input)] = true;
    if (state.growing_axis >= 0) places[static_cast<size_t>(state.output)] = {Place::Kind::kState, s};
  }
  for (const ir::ValueId id : graph.inputs()) {
    if (is_state[static_cast<size_t>(id)]) continue;
    places[static_cast<size_t>(id)] = {Place::Kind::kInput, input_values.size()};
    input_values.push_back(id);
  }
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].constant >= 0) places[v] = {Place::Kind::kConstant, v};

  std::vector<int> root(values.size(), -1);  // arena values: index into lifetimes
  std::vector<Lifetime> lifetimes;
  std::vector<size_t> owners;
  const int end = static_cast<int>(steps.size());
  for (int n = 0; n < end; ++n) {
    const Step& step = steps[static_cast<size_t>(n)];
    for (const ir::ValueId in : step.reads)
      if (in != ir::kNoValue && root[static_cast<size_t>(in)] >= 0)
        lifetimes[static_cast<size_t>(root[static_cast<size_t>(in)])].last = n;
    for (size_t o = 0; o < step.writes.size(); ++o) {
      const auto out = static_cast<size_t>(step.writes[o]);
      if (places[out].kind == Place::Kind::kState) continue;
      if (o == 0 && step.kernel->is_view()) {
        const auto source = static_cast<size_t>(step.reads[0]);
        places[out] = places[source];
        root[out] = root[source];
        continue;
      }
      root[out] = static_cast<int>(lifetimes.size());
      lifetimes.push_back({describe(static_cast<ir::ValueId>(out), maxima).bytes, n, n});
      places[out].kind = Place::Kind::kArena;
    }
  }
  const auto keep = [&](ir::ValueId id) {
    if (root[static_cast<size_t>(id)] >= 0)
      lifetimes[static_cast<size_t>(root[static_cast<size_t>(id)])].last = end;
  };
  for (const ir::ValueId id : graph.outputs()) keep(id);
  for (const ir::State& state : graph.states()) keep(state.output);

  const ArenaLayout layout = lay_out(lifetimes);
  for (size_t v = 0; v < values.size(); ++v)
    if (root[v] >= 0 && places[v].kind == Place::Kind::kArena)
      places[v].index = layout.offsets[static_cast<size_t>(root[v])];
  arena = Pages(layout.bytes);
}

Buffer Plan::Impl::describe(ir::ValueId id, std::span<const int64_t> symbols) const {
  const ir::Value& value = graph.value(id);
  Buffer buffer;
  buffer.format = plain_format(value.dtype);
  buffer.rank = static_cast<int>(value.shape.size());
  if (buffer.rank > kMaxRank)
    fail(ErrorKind::kUnsupported, "[exec] value '{}' has {} dimensions; at most {}", value.name, buffer.rank,
         kMaxRank);
  for (int i = 0; i < buffer.rank; ++i) {
    buffer.dims[i] = ir::Graph::size_of(value.shape[static_cast<size_t>(i)], symbols);
    if (buffer.dims[i] < 0) buffer.dims[i] = 0;
  }
  if (const ir::Constant* constant = graph.constant_of(id)) {
    buffer.format = constant->format;
    buffer.transposed = constant->transposed;
    buffer.bytes = constant->bytes.size();
  } else {
    buffer.bytes = tensor::format_bytes(buffer.format, static_cast<uint64_t>(buffer.elements()));
  }
  return buffer;
}

void Plan::Impl::place_pointer(Buffer& buffer, ir::ValueId id, StateBuffer** state_slot) {
  const ir::Value& value = graph.value(id);
  const Place place = places[static_cast<size_t>(id)];
  for (int i = 0; i < buffer.rank; ++i) {
    const ir::Dim& dim = value.shape[static_cast<size_t>(i)];
    if (dim.known()) continue;
    dim_patches[static_cast<size_t>(dim.symbol)].push_back({&buffer, i});
    if (place.kind != Place::Kind::kState) sized[static_cast<size_t>(dim.symbol)].push_back(&buffer);
  }
  switch (place.kind) {
    case Place::Kind::kArena:
      buffer.data = arena.data() + place.index;
      break;
    case Place::Kind::kInput:
      input_patches.push_back({&buffer, place.index});
      break;
    case Place::Kind::kConstant: {
      const ir::Constant* constant = graph.constant_of(static_cast<ir::ValueId>(place.index));
      buffer.data = const_cast<std::byte*>(constant->bytes.data());  // kernels only read their inputs
      break;
    }
    case Place::Kind::kState:
      state_patches.push_back({state_slot, &buffer, place.index});
      break;
    case Place::Kind::kNone:
      break;
  }
}

void Plan::Impl::lay_out_buffers() {
  size_t count = graph.outputs().size(), slots = 0;
  for (const Step& step : steps) {
    count += step.reads.size() + step.writes.size();
    slots += step.reads.size();
  }
  buffers.assign(count, {});
  state_slots.assign(slots, nullptr);
  Buffer* buffer = buffers.data();
  StateBuffer** slot = state_slots.data();
  for (Step& step : steps) {
    step.inputs = {buffer, step.reads.size()};
    step.outputs = {buffer + step.reads.size(), step.writes.size()};
    step.states = {slot, step.reads.size()};
    for (size_t i = 0; i < step.reads.size(); ++i) {
      if (step.reads[i] == ir::kNoValue) continue;
      step.inputs[i] = describe(step.reads[i], maxima);
      place_pointer(step.inputs[i], step.reads[i], &step.states[i]);
    }
    for (size_t i = 0; i < step.writes.size(); ++i) {
      step.outputs[i] = describe(step.writes[i], maxima);
      place_pointer(step.outputs[i], step.writes[i], nullptr);
    }
    buffer += step.reads.size() + step.writes.size();
    slot += step.reads.size();
  }
  outputs = {buffer, graph.outputs().size()};
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i] = describe(graph.outputs()[i], maxima);
    place_pointer(outputs[i], graph.outputs()[i], nullptr);
  }
}

void Plan::Impl::reserve_scratch(const Step& step) {
  std::vector<Buffer> in, out;  // at the limits, whatever the last run bound
  for (const ir::ValueId id : step.reads) in.push_back(id == ir::kNoValue ? Buffer{} : describe(id, maxima));
  for (const ir::ValueId id : step.writes) out.push_back(describe(id, maxima));
  const size_t bytes = step.kernel->scratch_bytes(in, out, device.pool().size());
  if (bytes > scratch.size()) scratch = Pages(bytes);
}

Plan::Plan() = default;
Plan::~Plan() = default;

std::unique_ptr<Plan> Plan::compile(ir::Graph graph, Device& device, const PlanLimits& limits) {
  ir::verify(graph);
  auto plan = std::unique_ptr<Plan>(new Plan());
  plan->impl_ = std::make_unique<Impl>(std::move(graph), device, limits);
  Impl& impl = *plan->impl_;
  impl.bind_maxima();
  impl.check_support();
  impl.check_states();
  impl.grouping.emplace(impl.graph);
  impl.materialise();
  impl.make_steps();
  impl.place_values();
  impl.lay_out_buffers();
  for (const Step& step : impl.steps) impl.reserve_scratch(step);
  impl.input_data.assign(impl.input_values.size(), nullptr);
  impl.past.assign(static_cast<size_t>(std::max<int64_t>(1, limits.batch)), 0);
  for (size_t i = 0; i < impl.graph.symbols().size(); ++i) {
    if (impl.graph.symbols()[i] == "batch") impl.batch_symbol = static_cast<ir::SymbolId>(i);
    if (impl.graph.symbols()[i] == "sequence") impl.sequence_symbol = static_cast<ir::SymbolId>(i);
  }
  for (const ir::State& state : impl.graph.states())
    if (state.growing_axis >= 0)
      impl.past_symbol = impl.graph.value(state.input).shape[static_cast<size_t>(state.growing_axis)].symbol;
  return plan;
}

void Plan::rebind(ir::ValueId constant, tensor::FormatId format, std::span<const std::byte> bytes) {
  Impl& p = *impl_;
  const ir::Constant* old = p.graph.constant_of(constant);
  if (!old) fail(ErrorKind::kUsage, "[exec] rebind: value {} is not a constant", constant);
  const uint64_t need = tensor::format_bytes(format, elements_of(p.graph.value(constant)));
  if (bytes.size() != need)
    fail(ErrorKind::kUsage, "[exec] rebind of '{}' as {}: {} bytes given, {} needed",
         p.graph.value(constant).name, tensor::format(format).name, bytes.size(), need);
  const ir::Constant before = *old;
  ir::Constant after = before;
  after.format = format;
  after.bytes = bytes;
  after.owner = nullptr;
  after.produce = nullptr;
  p.graph.set_constant(constant, after);
  const auto users = p.grouping->users(constant);
  for (const ir::NodeId n : users) {
    if (p.device.supports(p.graph, p.graph.nodes()[static_cast<size_t>(n)])) continue;
    const std::string node = p.graph.nodes()[static_cast<size_t>(n)].name;
    p.graph.set_constant(constant, before);
    fail(ErrorKind::kUnsupported, "[exec] node '{}' cannot read '{}' as {}", node,
         p.graph.value(constant).name, tensor::format(format).name);
  }
  size_t last = p.steps.size();
  for (const ir::NodeId n : users) {
    const size_t index = p.step_of[static_cast<size_t>(n)];
    if (index == last) continue;  // the node before was of the same step
    last = index;
    Step& step = p.steps[index];
    p.compile(step);
    p.reserve_scratch(step);
    for (size_t i = 0; i < step.reads.size(); ++i) {
      if (step.reads[i] != constant) continue;
      step.inputs[i].format = format;
      step.inputs[i].data = const_cast<std::byte*>(bytes.data());
      step.inputs[i].bytes = bytes.size();
    }
  }
}

void Plan::set_observer(Observer observer) {
  impl_->observer = std::move(observer);
}
std::span<const ir::NodeId> Plan::step_nodes(ir::NodeId node) const {
  HONE_CHECK(node >= 0 && static_cast<size_t>(node) < impl_->step_of.size());
  return impl_->steps[impl_->step_of[static_cast<size_t>(node)]].nodes;
}
size_t Plan::steps() const {
  return impl_->steps.size();
}
const ir::Graph& Plan::graph() const {
  return impl_->graph;
}
const PlanLimits& Plan::limits() const {
  return impl_->limits;
}
uint64_t Plan::arena_bytes() const {
  return impl_->arena.size() + impl_->scratch.size();
}

uint64_t Plan::weight_bytes() const {
  std::set<const std::byte*> seen;  // a tied head and its embedding are the same bytes
  uint64_t total = 0;
  for (const Step& step : impl_->steps) {
    for (size_t i = 0; i < step.reads.size(); ++i) {
      const ir::Constant* constant =
          step.reads[i] == ir::kNoValue ? nullptr : impl_->graph.constant_of(step.reads[i]);
      if (!constant || !step.kernel->reads_whole(i) || !seen.insert(constant->bytes.data()).second) continue;
      total += constant->bytes.size();
    }
  }
  return total;
}

}  // namespace hone::exec
