// Running a plan: bind sizes and pointers, then walk the steps. No allocation, no lookup by name beyond
// the handful of graph inputs.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "exec/plan.h"
#include "exec/plan_impl.h"

namespace hone::exec {

namespace {

size_t row_bytes(const StateBuffer& s) {
  const auto& f = tensor::format(s.format);
  return static_cast<size_t>(s.width) / f.block * f.block_bytes;
}
size_t state_bytes(const StateBuffer& s) {
  return static_cast<size_t>(s.batch) * static_cast<size_t>(s.heads) * static_cast<size_t>(s.capacity) *
         row_bytes(s);
}

}  // namespace

void StateSet::truncate(int64_t row, int64_t length) {
  if (row < 0 || row >= static_cast<int64_t>(lengths_.size()))
    fail(ErrorKind::kUsage, "[exec] truncate: no batch row {} in a state of {}", row, lengths_.size());
  int64_t& held = lengths_[static_cast<size_t>(row)];
  if (length < 0 || length > held)
    fail(ErrorKind::kUsage, "[exec] truncate to {} of {} tokens", length, held);
  held = length;
}

void StateSet::move_row(int64_t from, int64_t to) {
  const auto rows = static_cast<int64_t>(lengths_.size());
  if (from < 0 || from >= rows || to < 0 || to >= rows)
    fail(ErrorKind::kUsage, "[exec] move_row: rows {} and {} in a state of {}", from, to, rows);
  if (from == to) return;
  for (const StateBuffer& s : buffers_) {
    const size_t head = static_cast<size_t>(s.capacity) * row_bytes(s);
    const bool grows = s.capacity > 1 || s.heads > 1;
    const size_t used =
        grows ? static_cast<size_t>(lengths_[static_cast<size_t>(from)]) * row_bytes(s) : head;
    for (int64_t h = 0; h < s.heads; ++h)
      std::memcpy(s.data + static_cast<size_t>(to * s.heads + h) * head,
                  s.data + static_cast<size_t>(from * s.heads + h) * head, used);
  }
  lengths_[static_cast<size_t>(to)] = lengths_[static_cast<size_t>(from)];
  lengths_[static_cast<size_t>(from)] = 0;
}

void StateSet::reset() {
  std::fill(lengths_.begin(), lengths_.end(), 0);
  for (size_t i = 0; i < buffers_.size(); ++i)
    if (buffers_[i].capacity == 1 && buffers_[i].heads == 1)
      std::memset(storage_[i].data(), 0, storage_[i].size());
}

uint64_t StateSet::bytes() const {
  uint64_t total = 0;
  for (const Pages& pages : storage_) total += pages.size();
  return total;
}

StateSet Plan::make_states() const {
  StateSet set;
  const int64_t batch = std::max<int64_t>(1, impl_->limits.batch);
  set.lengths_.assign(static_cast<size_t>(batch), 0);
  for (const ir::State& state : impl_->graph.states()) {
    const ir::Value& value = impl_->graph.value(state.input);
    StateBuffer buffer;
    buffer.batch = batch;
    if (state.growing_axis >= 0) {
      buffer.format = impl_->limits.state_format;
      buffer.heads = value.shape[1].size;
      buffer.capacity = impl_->limits.context;
      buffer.width = value.shape[3].size;
    } else {
      buffer.format = tensor::FormatId::kF32;
      buffer.heads = buffer.capacity = 1;
      buffer.width = impl_->describe(state.input, impl_->maxima).elements() / batch;
    }
    set.storage_.emplace_back(state_bytes(buffer));
    buffer.data = set.storage_.back().data();
    set.buffers_.push_back(buffer);
  }
  return set;
}

void Plan::Impl::bind_one(const Input& input) {
  size_t slot = 0;
  while (slot < input_values.size() && graph.value(input_values[slot]).name != input.name) ++slot;
  if (slot == input_values.size())
    fail(ErrorKind::kUsage, "[exec] graph '{}' has no input '{}'", graph.name(), input.name);
  const ir::Value& value = graph.value(input_values[slot]);
  const auto& shape = input.view.shape;
  if (input.view.format != plain_format(value.dtype) || shape.size() != value.shape.size())
    fail(ErrorKind::kBadInput, "[exec] input '{}' is {}{}, expected {}", input.name,
         tensor::format(input.view.format).name, tensor::shape_text(shape),
         ir::type_text(graph, value.dtype, value.shape));
  uint64_t elements = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    const ir::Dim& dim = value.shape[i];
    bool fits = shape[i] >= 0;
    if (dim.known()) {
      fits = fits && shape[i] == dim.size;
    } else {
      int64_t& size = next[static_cast<size_t>(dim.symbol)];
      fits = fits && (size < 0 || size == shape[i]);
      if (shape[i] > maxima[static_cast<size_t>(dim.symbol)])
        fail(ErrorKind::kUsage, "[exec] input '{}': {} = {} is over the plan's limit of {}", input.name,
             graph.symbols()[static_cast<size_t>(dim.symbol)], shape[i],
             maxima[static_cast<size_t>(dim.symbol)]);
      size = shape[i];
    }
    if (!fits)
      fail(ErrorKind::kBadInput, "[exec] input '{}' is {}, which does not fit {} or the other inputs",
           input.name, tensor::shape_text(shape), ir::type_text(graph, value.dtype, value.shape));
    elements *= static_cast<uint64_t>(shape[i]);
  }
  if (input.view.bytes.size() != tensor::format_bytes(input.view.format, elements))
    fail(ErrorKind::kBadInput, "[exec] input '{}' {} has {} bytes", input.name, tensor::shape_text(shape),
         input.view.bytes.size());
  // An empty input still counts as given.
  input_data[slot] =
      input.view.bytes.data() ? input.view.bytes.data() : reinterpret_cast<const std::byte*>(this);
}

void Plan::Impl::bind_inputs(std::span<const Input> inputs, const StateSet* states, int64_t first_row) {
  std::fill(next.begin(), next.end(), -1);
  std::fill(input_data.begin(), input_data.end(), nullptr);
  for (const Input& input : inputs) bind_one(input);
  for (size_t slot = 0; slot < input_data.size(); ++slot)
    if (!input_data[slot])
      fail(ErrorKind::kUsage, "[exec] graph '{}': input '{}' is missing", graph.name(),
           graph.value(input_values[slot]).name);

  const int64_t batch = batch_symbol >= 0 ? next[static_cast<size_t>(batch_symbol)] : 1;
  std::fill(past.begin(), past.end(), 0);
  if (states && (first_row < 0 || first_row + batch > static_cast<int64_t>(states->lengths().size())))
    fail(ErrorKind::kUsage, "[exec] rows {} to {} are not in a state of {}", first_row, first_row + batch,
         states->lengths().size());
  if (states && past_symbol >= 0) {
    const int64_t step = sequence_symbol >= 0 ? next[static_cast<size_t>(sequence_symbol)] : 1;
    int64_t longest = 0;
    for (int64_t b = 0; b < batch; ++b) {
      past[static_cast<size_t>(b)] = states->lengths()[static_cast<size_t>(first_row + b)];
      longest = std::max(longest, past[static_cast<size_t>(b)]);
    }
    if (longest + step > limits.context)
      fail(ErrorKind::kUsage, "[exec] {} tokens do not fit: {} of a context of {} are taken", step, longest,
           limits.context);
    next[static_cast<size_t>(past_symbol)] = longest;
  }
  graph.resolve_symbols(next);
}

void Plan::Impl::apply_sizes() {
  for (size_t symbol = 0; symbol < next.size(); ++symbol)
    if (next[symbol] != bound[symbol])
      for (const DimPatch& patch : dim_patches[symbol])
        patch.buffer->dims[patch.dim] = std::max<int64_t>(0, next[symbol]);
  for (size_t symbol = 0; symbol < next.size(); ++symbol) {
    if (next[symbol] == bound[symbol]) continue;
    for (Buffer* buffer : sized[symbol]) {
      const auto& f = tensor::format(buffer->format);
      buffer->bytes = static_cast<size_t>(buffer->elements()) / f.block * f.block_bytes;
    }
  }
  std::copy(next.begin(), next.end(), bound.begin());
}

void Plan::Impl::bind_states(StateSet* states, int64_t first_row) {
  if (states) {
    windows.assign(states->buffers_.begin(), states->buffers_.end());
    for (StateBuffer& window : windows) {
      window.data += state_bytes(window) / static_cast<size_t>(window.batch) * static_cast<size_t>(first_row);
      window.batch -= first_row;
    }
  }
  for (const StatePatch& patch : state_patches) {
    StateBuffer* state = states ? &windows[patch.state] : nullptr;
    if (patch.slot) *patch.slot = state;
    patch.buffer->data = state ? state->data : nullptr;
    if (state) patch.buffer->format = state->format;
  }
}

void Plan::run(std::span<const Input> inputs, StateSet* states, const RunOptions& options) {
  Impl& p = *impl_;
  if (!p.graph.states().empty() && (!states || states->buffers_.size() != p.graph.states().size()))
    fail(ErrorKind::kUsage, "[exec] graph '{}' keeps state: run() needs the StateSet that make_states() gave",
         p.graph.name());
  p.bind_inputs(inputs, states, options.first_row);
  p.apply_sizes();
  p.bind_states(states, options.first_row);
  for (const Impl::InputPatch& patch : p.input_patches)
    patch.buffer->data = const_cast<std::byte*>(p.input_data[patch.slot]);

  const int64_t batch = p.batch_symbol >= 0 ? p.bound[static_cast<size_t>(p.batch_symbol)] : 1;
  const std::span<const int64_t> past(p.past.data(), static_cast<size_t>(std::max<int64_t>(0, batch)));
  ThreadPool& pool = p.device.pool();
  if (options.record) p.check_points(*options.record);
  if (options.resume) p.check_points(*options.resume);
  const ir::NodeId first = options.resume ? restore(*options.resume, options.point) : 0;
  size_t next_point = 0;
  for (Step& step : p.steps) {
    if (step.node < first) continue;
    if (options.record && next_point < options.record->points_.size() &&
        step.node >= options.record->points_[next_point])
      save(*options.record, next_point++);
    const KernelContext context{step.inputs, step.outputs, step.states, past, pool, p.scratch.bytes()};
    if (!p.observer) {
      if (!step.kernel->is_view()) step.kernel->run(context);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    if (!step.kernel->is_view()) step.kernel->run(context);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    p.observer(p.graph.nodes()[static_cast<size_t>(step.node)], step.inputs, step.outputs, seconds.count());
  }
  if (!states) return;
  for (size_t s = 0; s < p.graph.states().size();
       ++s) {  // states of fixed size: the new value replaces the old
    const ir::State& state = p.graph.states()[s];
    if (state.growing_axis >= 0) continue;
    const Place place = p.places[static_cast<size_t>(state.output)];
    if (place.kind == Place::Kind::kArena)
      std::memcpy(p.windows[s].data, p.arena.data() + place.index,
                  static_cast<size_t>(states->buffers_[s].width * batch) * sizeof(float));
  }
  if (p.past_symbol < 0) return;
  const int64_t step = p.sequence_symbol >= 0 ? p.bound[static_cast<size_t>(p.sequence_symbol)] : 1;
  for (int64_t b = 0; b < batch; ++b) states->lengths_[static_cast<size_t>(options.first_row + b)] += step;
}

Buffer Plan::output(size_t index) const {
  if (index >= impl_->outputs.size())
    fail(ErrorKind::kUsage, "[exec] no output {} of {}", index, impl_->outputs.size());
  return impl_->outputs[index];
}

Buffer Plan::output(std::string_view name) const {
  for (size_t i = 0; i < impl_->outputs.size(); ++i)
    if (impl_->graph.value(impl_->graph.outputs()[i]).name == name) return impl_->outputs[i];
  fail(ErrorKind::kUsage, "[exec] graph '{}' has no output '{}'", impl_->graph.name(), name);
}

}  // namespace hone::exec
