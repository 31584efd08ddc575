// MatMul and Gemm. A constant right operand stored as rows of [out, in] is used from its stored bytes in any
// format; other products run on plain F32.
#include "kernels/matmul.h"

#include <cstring>

#include "backends/cpu/cpu_op.h"
#include "base/error.h"
#include "tensor/tensor.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;

// The constant as weight rows [out, in]: shape of the stored matrix does not depend on `transposed`.
bool stored_by_output(const ir::Constant& constant, bool transpose_operand) {
  return constant.transposed != transpose_operand;
}

kernels::WeightView weight_view(const Buffer& w, bool transpose_operand) {
  const auto rows = static_cast<size_t>(w.dims[transpose_operand ? 0 : 1]),
             cols = static_cast<size_t>(w.dims[transpose_operand ? 1 : 0]);
  return {w.format, w.data, rows, cols};
}

// x [.., in] times weight rows [out, in] (+ bias [out]).
class WeightProduct : public PreciseKernel {
 public:
  explicit WeightProduct(bool transpose_operand) : transpose_operand_(transpose_operand) {}

  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int threads) const override {
    const kernels::WeightView w = weight_view(in[1], transpose_operand_);
    const size_t m = w.cols == 0 ? 0 : static_cast<size_t>(in[0].elements()) / w.cols;
    return kernels::matmul_scratch_bytes(w, m, threads, activations);
  }
  void run(const KernelContext& c) override {
    const kernels::WeightView w = weight_view(c.inputs[1], transpose_operand_);
    const size_t m = w.cols == 0 ? 0 : static_cast<size_t>(c.inputs[0].elements()) / w.cols;
    const float* bias = c.inputs.size() > 2 && c.inputs[2].data ? c.inputs[2].f32() : nullptr;
    kernels::matmul(w, c.inputs[0].f32(), m, c.outputs[0].f32(), bias, c.pool, c.scratch, activations);
  }

 private:
  bool transpose_operand_;
};

// a [.., m, k] times b [.., k, n], leading axes broadcast; b may be a decoded constant.
class PlainProduct : public exec::Kernel {
 public:
  explicit PlainProduct(std::vector<float> decoded) : decoded_(std::move(decoded)) {}

  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int threads) const override {
    const Shape s = shape(in[0], in[1]);
    return kernels::matmul_f32_scratch_bytes(s.m, s.k, threads);
  }
  void run(const KernelContext& c) override {
    const Buffer &a = c.inputs[0], &b = c.inputs[1], &y = c.outputs[0];
    const Shape s = shape(a, b);
    const float* right = decoded_.empty() ? b.f32() : decoded_.data();
    const int batch_rank = std::max({a.rank - 2, b.rank - 2, 0});
    size_t batches = 1;
    for (int i = 0; i < batch_rank; ++i) batches *= static_cast<size_t>(y.dims[i]);
    for (size_t index = 0; index < batches; ++index)
      kernels::matmul_f32(a.f32() + offset(a, y, batch_rank, index) * s.m * s.k, s.m, s.k,
                          right + offset(b, y, batch_rank, index) * s.k * s.n, s.n,
                          y.f32() + index * s.m * s.n, c.pool, c.scratch);
  }

 private:
  struct Shape {
    size_t m, k, n;
  };
  static Shape shape(const Buffer& a, const Buffer& b) {
    const auto size = [](const Buffer& x, int axis) { return static_cast<size_t>(x.dims[axis]); };
    return {a.rank > 1 ? size(a, a.rank - 2) : 1, size(a, a.rank - 1), b.rank > 1 ? size(b, b.rank - 1) : 1};
  }
  // Which matrix of x belongs to the output's batch number `index`.
  static size_t offset(const Buffer& x, const Buffer& y, int batch_rank, size_t index) {
    size_t result = 0, stride = 1;
    for (int i = batch_rank - 1; i >= 0; --i) {
      const size_t at = index % static_cast<size_t>(y.dims[i]);
      index /= static_cast<size_t>(y.dims[i]);
      const int axis = i - (batch_rank - (x.rank - 2));
      if (axis < 0 || x.rank <= 2) continue;
      const auto size = static_cast<size_t>(x.dims[axis]);
      if (size != 1) result += at * stride;
      stride *= size;
    }
    return result;
  }
  std::vector<float> decoded_;
};

bool supports_matmul(const ir::Graph& graph, const ir::Node& node) {
  if (!is_f32(graph, node, 0)) return false;
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (!w) return is_f32(graph, node, 1);
  if (w->transposed) return rank_of(graph, node, 1) == 2 && kernels::matmul_supports(w->format);
  return tensor::format(w->format).decode != nullptr;
}

std::unique_ptr<exec::Kernel> compile_matmul(const ir::Graph& graph, const ir::Node& node) {
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (w && w->transposed) return std::make_unique<WeightProduct>(false);
  std::vector<float> decoded;
  if (w && w->format != tensor::FormatId::kF32) {
    uint64_t elements = 1;
    for (const ir::Dim& dim : graph.value(node.inputs[1]).shape) elements *= static_cast<uint64_t>(dim.size);
    decoded.resize(elements);
    kernels::decode(w->format, w->bytes.data(), decoded.data(), elements);
  }
  return std::make_unique<PlainProduct>(std::move(decoded));
}

// Gemm: alpha A B' (+ beta C) where B is a weight; the rest is left to MatMul and Add.
bool supports_gemm(const ir::Graph& graph, const ir::Node& node) {
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (!is_f32(graph, node, 0) || !w || !kernels::matmul_supports(w->format)) return false;
  if (node.int_or("transA", 0) != 0 || node.number_or("alpha", 1) != 1) return false;
  if (!stored_by_output(*w, node.int_or("transB", 0) != 0)) return false;
  if (!has_input(node, 2)) return true;
  const auto& bias = graph.value(node.inputs[2]).shape;
  const auto& out = graph.value(node.outputs[0]).shape;
  return is_f32(graph, node, 2) && node.number_or("beta", 1) == 1 && bias.size() == 1 && bias[0] == out[1];
}

std::unique_ptr<exec::Kernel> compile_gemm(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<WeightProduct>(node.int_or("transB", 0) != 0);
}

}  // namespace

std::span<const CpuOp> matmul_ops() {
  static constexpr CpuOp ops[] = {
      {"MatMul", supports_matmul, compile_matmul},
      {"Gemm", supports_gemm, compile_gemm},
  };
  return ops;
}

}  // namespace hone::backends
