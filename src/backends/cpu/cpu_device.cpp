// The CPU device: looks ops up in one list and hands out its thread pool.
#include "backends/cpu/cpu_device.h"

#include <string_view>
#include <unordered_map>

#include "backends/cpu/cpu_op.h"
#include "backends/cpu/fuse.h"
#include "base/error.h"
#include "ir/op_table.h"
#include "kernels/matmul.h"

namespace hone::backends {

namespace {

const CpuOp* find(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const CpuOp*> map;
    for (const auto& list : {matmul_ops(), elementwise_ops(), row_ops(), attention_ops(), view_ops(),
                             layout_ops(), gradient_ops()})
      for (const CpuOp& op : list) map.emplace(op.name, &op);
    return map;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

class CpuDevice : public exec::Device {
 public:
  explicit CpuDevice(const CpuOptions& options)
      : pool_(options.threads), exact_(options.exact), grouped_(options.grouped && !options.exact) {}
  std::string name() const override { return fmt::format("cpu ({})", isa_name(active_isa())); }
  ThreadPool& pool() override { return pool_; }
  bool supports(const ir::Graph& graph, const ir::Node& node) const override {
    const CpuOp* op = find(node.op->name);
    return op && op->supports(graph, node);
  }
  std::unique_ptr<exec::Kernel> compile(const ir::Graph& graph, const ir::Node& node) override {
    const CpuOp* op = find(node.op->name);
    HONE_CHECK(op && op->supports(graph, node));
    std::unique_ptr<exec::Kernel> kernel = op->compile(graph, node);
    if (auto* product = dynamic_cast<PreciseKernel*>(kernel.get()); product && exact_)
      product->activations = kernels::Activations::kF32;
    return kernel;
  }
  void group(exec::Grouping& grouping) const override {
    if (!grouped_) return;
    for (const Fusion& fusion : fusions()) fusion.match(grouping);
  }
  std::unique_ptr<exec::Kernel> compile_group(const exec::Grouping& grouping,
                                              std::span<const ir::NodeId> nodes) override {
    for (const Fusion& fusion : fusions())
      if (auto kernel = fusion.compile(grouping, nodes)) return kernel;
    return nullptr;
  }
  bool supports_state(tensor::FormatId format) const override {
    using Id = tensor::FormatId;
    return format == Id::kF32 || format == Id::kF16 || format == Id::kBF16 || format == Id::kQ8_0;
  }

 private:
  ThreadPool pool_;
  bool exact_, grouped_;
};

}  // namespace

std::unique_ptr<exec::Device> make_cpu_device(int threads) {
  return make_cpu_device(CpuOptions{threads});
}
std::unique_ptr<exec::Device> make_cpu_device(const CpuOptions& options) {
  return std::make_unique<CpuDevice>(options);
}

bool has_input(const ir::Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i] != ir::kNoValue;
}

bool is_plain(const ir::Graph& graph, const ir::Node& node, size_t i) {
  if (!has_input(node, i)) return false;
  const ir::Constant* constant = graph.constant_of(node.inputs[i]);
  return !constant || (!constant->transposed && static_cast<int>(constant->format) ==
                                                    static_cast<int>(graph.value(node.inputs[i]).dtype));
}

bool is_f32(const ir::Graph& graph, const ir::Node& node, size_t i) {
  return is_plain(graph, node, i) && graph.value(node.inputs[i]).dtype == tensor::DType::kF32;
}

bool all_f32(const ir::Graph& graph, const ir::Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (has_input(node, i) && !is_f32(graph, node, i)) return false;
  return true;
}

size_t rank_of(const ir::Graph& graph, const ir::Node& node, size_t i) {
  return graph.value(node.inputs[i]).shape.size();
}

bool last_axis(const ir::Graph& graph, const ir::Node& node, int64_t fallback) {
  const int64_t axis = node.int_or("axis", fallback), rank = static_cast<int64_t>(rank_of(graph, node, 0));
  return rank > 0 && (axis == -1 || axis == rank - 1);
}

}  // namespace hone::backends
