// The CPU backend's list of ops. An op is one row: its name, what it can take, and how it becomes a kernel.
#pragma once

#include <algorithm>
#include <memory>
#include <span>

#include "exec/device.h"
#include "kernels/isa_table.h"
#include "kernels/matmul.h"

namespace hone::backends {

struct CpuOp {
  const char* name;
  bool (*supports)(const ir::Graph& graph, const ir::Node& node);
  std::unique_ptr<exec::Kernel> (*compile)(const ir::Graph& graph, const ir::Node& node);
};

// A kernel that may round activations; the device says how much.
class PreciseKernel : public exec::Kernel {
 public:
  kernels::Activations activations = kernels::Activations::kAuto;
};

// One list per source file; cpu_device.cpp joins them.
std::span<const CpuOp> matmul_ops();
std::span<const CpuOp> elementwise_ops();
std::span<const CpuOp> row_ops();
std::span<const CpuOp> attention_ops();
std::span<const CpuOp> view_ops();
std::span<const CpuOp> layout_ops();
std::span<const CpuOp> gradient_ops();

// Questions that supports() functions ask. An absent input answers false to is_*, true to *_or_absent.
bool has_input(const ir::Node& node, size_t i);
bool is_f32(const ir::Graph& graph, const ir::Node& node, size_t i);  // F32 and stored as plain F32
bool is_plain(const ir::Graph& graph, const ir::Node& node,
              size_t i);                                     // stored element by element, not transposed
bool all_f32(const ir::Graph& graph, const ir::Node& node);  // every present input
size_t rank_of(const ir::Graph& graph, const ir::Node& node, size_t i);
bool last_axis(const ir::Graph& graph, const ir::Node& node,
               int64_t fallback);  // attribute axis is the last of input 0

// A norm over the last axis whose scale and bias are F32 vectors of it.
bool plain_norm(const ir::Graph& graph, const ir::Node& node);

// Runs body(begin, end) over [0, count) items of `cost` elements each: threads only where it pays.
template <typename Body>
void for_items(ThreadPool& pool, size_t count, size_t cost, Body&& body) {
  constexpr size_t kSerial = 32 << 10;
  if (count * cost < kSerial || pool.size() == 1) return body(size_t{0}, count);
  const size_t grain = std::max<size_t>(1, count / (static_cast<size_t>(pool.size()) * 4));
  pool.for_range(count, grain, [&](size_t begin, size_t end, int) { body(begin, end); });
}

}  // namespace hone::backends
