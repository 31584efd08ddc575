// What a backend offers: which nodes it can run, and a compiled kernel for each. exec knows no concrete
// device.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "exec/grouping.h"
#include "ir/graph.h"

namespace hone::exec {

// A run-time view of a value: raw pointer plus bound sizes. At most 6 dimensions, no allocation.
struct Buffer {
  std::byte* data = nullptr;
  tensor::FormatId format = tensor::FormatId::kF32;
  int rank = 0;
  int64_t dims[6] = {};
  bool transposed = false;  // constants only, see ir::Constant
  size_t bytes = 0;
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  float* f32() const { return reinterpret_cast<float*>(data); }
  int64_t* i64() const { return reinterpret_cast<int64_t*>(data); }
};

// The in-place KV buffers of one state: [batch, heads, capacity, head_dim] in `format`, rows of
// head_dim encoded one by one. KernelContext::past[b] tokens are valid before the step. A state of fixed size
// is [batch, 1, 1, elements per batch row] in F32; its kernel sees it as an ordinary input.
struct StateBuffer {
  std::byte* data = nullptr;
  tensor::FormatId format = tensor::FormatId::kF16;
  int64_t batch = 0, heads = 0, capacity = 0, width = 0;
};

struct KernelContext {
  std::span<const Buffer> inputs;  // data is null for absent inputs
  std::span<const Buffer> outputs;
  std::span<StateBuffer* const> states;  // parallel to inputs: set where the input is a state
  std::span<const int64_t> past;         // tokens already in the cache, per batch row
  ThreadPool& pool;
  std::span<std::byte> scratch;  // at least what scratch_bytes() asked for
};

// One step, a node or a group of them, compiled: chosen once, run many times, allocates nothing in run().
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Upper bound over all sizes of the plan's limits.
  virtual size_t scratch_bytes(std::span<const Buffer> max_inputs, std::span<const Buffer> max_outputs,
                               int threads) const {
    (void)max_inputs, (void)max_outputs, (void)threads;
    return 0;
  }
  virtual void run(const KernelContext& context) = 0;
  // Output 0 is the memory of input 0 under another shape; run() is never called.
  virtual bool is_view() const { return false; }
  // False where a run touches a few rows of the input only (tables); for the accounting of bytes read.
  virtual bool reads_whole(size_t input) const {
    (void)input;
    return true;
  }
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual ThreadPool& pool() = 0;
  virtual bool supports(const ir::Graph& graph, const ir::Node& node) const = 0;
  virtual std::unique_ptr<Kernel> compile(const ir::Graph& graph, const ir::Node& node) = 0;
  // Joins nodes that one kernel should run together; the rest run one by one. A group runs at the place of
  // its last node, and what only its members read has no memory.
  virtual void group(Grouping& grouping) const { (void)grouping; }
  // The kernel of such a group. Its inputs and outputs are grouping.edges(nodes). Called again when a
  // constant is bound to other bytes: whatever format supports() takes must do.
  virtual std::unique_ptr<Kernel> compile_group(const Grouping& grouping, std::span<const ir::NodeId> nodes) {
    (void)grouping, (void)nodes;
    return nullptr;
  }
  // Storage of KV caches this device can attend over.
  virtual bool supports_state(tensor::FormatId format) const = 0;
};

}  // namespace hone::exec
