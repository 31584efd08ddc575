// Ops over the last axis: norms, softmax, mean.
#include "backends/cpu/cpu_op.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;

size_t width_of(const Buffer& x) {
  return static_cast<size_t>(x.dims[x.rank - 1]);
}

class Normalization : public exec::Kernel {
 public:
  Normalization(bool centred, float epsilon) : centred_(centred), epsilon_(epsilon) {}
  void run(const KernelContext& c) override {
    const kernels::IsaTable& t = kernels::active_table();
    const size_t n = width_of(c.inputs[0]);
    if (n == 0) return;
    const float *x = c.inputs[0].f32(), *scale = c.inputs[1].f32();
    const float* bias = c.inputs.size() > 2 && c.inputs[2].data ? c.inputs[2].f32() : nullptr;
    float* y = c.outputs[0].f32();
    for_items(c.pool, static_cast<size_t>(c.inputs[0].elements()) / n, n, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        if (centred_)
          t.layer_norm(x + r * n, scale, bias, y + r * n, n, epsilon_);
        else
          t.rms_norm(x + r * n, scale, y + r * n, n, epsilon_);
      }
    });
  }

 private:
  bool centred_;
  float epsilon_;
};

class Softmax : public exec::Kernel {
 public:
  void run(const KernelContext& c) override {
    const kernels::IsaTable& t = kernels::active_table();
    const size_t n = width_of(c.inputs[0]);
    if (n == 0) return;
    const float* x = c.inputs[0].f32();
    float* y = c.outputs[0].f32();
    for_items(c.pool, static_cast<size_t>(c.inputs[0].elements()) / n, 4 * n, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) t.softmax(x + r * n, y + r * n, n);
    });
  }
};

class MeanOfRows : public exec::Kernel {
 public:
  void run(const KernelContext& c) override {
    const size_t n = width_of(c.inputs[0]),
                 rows = n == 0 ? 0 : static_cast<size_t>(c.inputs[0].elements()) / n;
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += c.inputs[0].f32()[r * n + i];
      c.outputs[0].f32()[r] = static_cast<float>(sum / static_cast<double>(n));
    }
  }
};

std::unique_ptr<exec::Kernel> rms_norm(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<Normalization>(false, static_cast<float>(node.number_or("epsilon", 1e-5)));
}
std::unique_ptr<exec::Kernel> layer_norm(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<Normalization>(true, static_cast<float>(node.number_or("epsilon", 1e-5)));
}

bool supports_softmax(const ir::Graph& graph, const ir::Node& node) {
  return all_f32(graph, node) && last_axis(graph, node, -1);
}
std::unique_ptr<exec::Kernel> softmax(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Softmax>();
}

// Over the last axis only, given as attribute or constant.
bool supports_mean(const ir::Graph& graph, const ir::Node& node) {
  if (!is_f32(graph, node, 0)) return false;
  const int64_t rank = static_cast<int64_t>(rank_of(graph, node, 0));
  int64_t axis = 0;
  if (has_input(node, 1)) {
    const ir::Constant* axes = graph.constant_of(node.inputs[1]);
    if (!axes || axes->bytes.size() != sizeof(int64_t)) return false;
    axis = *reinterpret_cast<const int64_t*>(axes->bytes.data());
  } else {
    const ir::Attribute* axes = node.find("axes");
    const auto* list = axes ? std::get_if<std::vector<int64_t>>(axes) : nullptr;
    if (!list || list->size() != 1) return false;
    axis = (*list)[0];
  }
  return axis == -1 || axis == rank - 1;
}
std::unique_ptr<exec::Kernel> mean(const ir::Graph&, const ir::Node&) {
  return std::make_unique<MeanOfRows>();
}

}  // namespace

// The scale and bias as vectors of the last axis.
bool plain_norm(const ir::Graph& graph, const ir::Node& node) {
  if (!all_f32(graph, node) || !last_axis(graph, node, -1)) return false;
  const ir::Dim& width = graph.value(node.inputs[0]).shape.back();
  for (size_t i = 1; i < node.inputs.size(); ++i)
    if (has_input(node, i) && graph.value(node.inputs[i]).shape != ir::Shape{width}) return false;
  return true;
}

std::span<const CpuOp> row_ops() {
  static constexpr CpuOp ops[] = {
      {"RMSNormalization", plain_norm, rms_norm},
      {"LayerNormalization", plain_norm, layer_norm},
      {"Softmax", supports_softmax, softmax},
      {"ReduceMean", supports_mean, mean},
  };
  return ops;
}

}  // namespace hone::backends
