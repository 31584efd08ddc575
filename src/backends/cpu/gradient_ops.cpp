// The ops that reverse-mode differentiation adds (module train), over kernels/gradients.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_op.h"
#include "base/error.h"
#include "kernels/gradients.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;

size_t width_of(const Buffer& x) {
  return static_cast<size_t>(x.dims[x.rank - 1]);
}
size_t rows_of(const Buffer& x) {
  const size_t width = width_of(x);
  return width == 0 ? 0 : static_cast<size_t>(x.elements()) / width;
}

// a [.., n] times the transpose of b [k, n]. A weight stored as rows of [n, k] is decoded tile by tile; a
// plain b is rows of its own.
class MatMulTransposed : public exec::Kernel {
 public:
  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int threads) const override {
    const kernels::WeightView w = view(in[1]);
    return in[1].transposed
               ? kernels::matmul_transposed_scratch_bytes(w, rows_of(in[0]), threads)
               : kernels::matmul_scratch_bytes(w, rows_of(in[0]), threads, kernels::Activations::kF32);
  }
  void run(const KernelContext& c) override {
    const kernels::WeightView w = view(c.inputs[1]);
    const float* a = c.inputs[0].f32();
    const size_t m = rows_of(c.inputs[0]);
    if (c.inputs[1].transposed)
      return kernels::matmul_transposed(w, a, m, c.outputs[0].f32(), c.pool, c.scratch);
    kernels::matmul(w, a, m, c.outputs[0].f32(), nullptr, c.pool, c.scratch, kernels::Activations::kF32);
  }

 private:
  static kernels::WeightView view(const Buffer& b) {
    const auto k = static_cast<size_t>(b.dims[0]), n = static_cast<size_t>(b.dims[1]);
    if (b.transposed) return {b.format, b.data, n, k};
    return {b.format, b.data, k, n};
  }
};

class WeightGradient : public exec::Kernel {
 public:
  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int threads) const override {
    return kernels::weight_gradient_scratch_bytes(rows_of(in[0]), width_of(in[0]), threads);
  }
  void run(const KernelContext& c) override {
    kernels::weight_gradient(c.inputs[0].f32(), rows_of(c.inputs[0]), width_of(c.inputs[0]),
                             c.inputs[1].f32(), width_of(c.inputs[1]), c.outputs[0].f32(), c.pool, c.scratch);
  }
};

// Scale gradients are summed per thread and then in the order of the threads' shares, so that the result
// does not depend on which thread took which rows.
class RmsNormGradient : public exec::Kernel {
 public:
  explicit RmsNormGradient(float epsilon) : epsilon_(epsilon) {}
  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int) const override {
    return kShares * width_of(in[1]) * sizeof(double);
  }
  void run(const KernelContext& c) override {
    const size_t n = width_of(c.inputs[1]), rows = rows_of(c.inputs[1]);
    double* sums = reinterpret_cast<double*>(c.scratch.data());
    std::fill(sums, sums + kShares * n, 0.0);
    const size_t share = (rows + kShares - 1) / kShares;
    c.pool.for_range(kShares, 1, [&](size_t begin, size_t end, int) {
      for (size_t s = begin; s < end; ++s)
        for (size_t r = s * share; r < std::min(rows, (s + 1) * share); ++r)
          kernels::rms_norm_gradient(c.inputs[0].f32() + r * n, c.inputs[1].f32() + r * n, c.inputs[2].f32(),
                                     c.outputs[0].f32() + r * n, sums + s * n, n, epsilon_);
    });
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t s = 0; s < kShares; ++s) sum += sums[s * n + i];
      c.outputs[1].f32()[i] = static_cast<float>(sum);
    }
  }

 private:
  static constexpr size_t kShares = 16;
  float epsilon_;
};

using PairFn = void (*)(const float* dy, const float* x, float* dx, size_t n, float parameter);

class PairGradient : public exec::Kernel {
 public:
  PairGradient(PairFn fn, float parameter, bool by_rows)
      : fn_(fn), parameter_(parameter), by_rows_(by_rows) {}
  void run(const KernelContext& c) override {
    const float *dy = c.inputs[0].f32(), *x = c.inputs[1].f32();
    float* dx = c.outputs[0].f32();
    const size_t count = static_cast<size_t>(c.inputs[1].elements()),
                 width = by_rows_ ? width_of(c.inputs[1]) : 1;
    if (count == 0) return;
    for_items(c.pool, count / width, 4 * width, [&](size_t begin, size_t end) {
      if (!by_rows_) return fn_(dy + begin, x + begin, dx + begin, end - begin, parameter_);
      for (size_t r = begin; r < end; ++r)
        fn_(dy + r * width, x + r * width, dx + r * width, width, parameter_);
    });
  }

 private:
  PairFn fn_;
  float parameter_;
  bool by_rows_;
};

class AttentionGradient : public exec::Kernel {
 public:
  explicit AttentionGradient(const ir::Node& node)
      : heads_(node.int_or("q_num_heads", 0)),
        kv_heads_(node.int_or("kv_num_heads", 0)),
        causal_(node.int_or("is_causal", 0) != 0),
        window_(node.int_or("sliding_window", 0)),
        scale_(node.number_or("scale", 0)),
        softcap_(node.number_or("softcap", 0)) {}

  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer>, int threads) const override {
    return kernels::attention_gradient_scratch_bytes(arguments(in), threads);
  }
  void run(const KernelContext& c) override {
    kernels::AttentionGradientArgs args;
    args.forward = arguments(c.inputs);
    if (args.forward.batch == 0 || args.forward.queries == 0) return;
    args.dy = c.inputs[0].f32();
    args.dq = c.outputs[0].f32();
    args.dk = c.outputs[1].f32();
    args.dv = c.outputs[2].f32();
    kernels::attention_gradient(args, c.pool, c.scratch);
  }

 private:
  struct Heads {
    size_t batch, heads, tokens, width;
    kernels::HeadStrides strides;
  };
  static Heads heads_of(const Buffer& x, int64_t heads) {
    const auto size = [&](int axis) { return static_cast<size_t>(x.dims[axis]); };
    if (x.rank == 4)
      return {size(0), size(1), size(2), size(3), {size(1) * size(2) * size(3), size(2) * size(3), size(3)}};
    const size_t count = static_cast<size_t>(heads), width = size(2) / count;
    return {size(0), count, size(1), width, {size(1) * size(2), width, size(2)}};
  }
  static kernels::RowsView rows_of(const Buffer& x, const Heads& h) {
    return {x.data, tensor::FormatId::kF32, h.strides.batch * 4, h.strides.head * 4, h.strides.token * 4};
  }
  kernels::AttentionArgs arguments(std::span<const Buffer> in) const {
    const Heads q = heads_of(in[1], heads_), k = heads_of(in[2], kv_heads_), v = heads_of(in[3], kv_heads_);
    kernels::AttentionArgs a;
    a.batch = q.batch, a.queries = q.tokens, a.heads = q.heads, a.kv_heads = k.heads;
    a.key_width = k.width, a.value_width = v.width;
    a.q = in[1].f32(), a.q_strides = q.strides;
    a.keys = rows_of(in[2], k), a.values = rows_of(in[3], v);
    a.out_strides = heads_of(in[0], static_cast<int64_t>(q.heads)).strides;
    a.fresh = k.tokens;
    a.scale = static_cast<float>(scale_ != 0 ? scale_ : 1.0 / std::sqrt(static_cast<double>(k.width)));
    a.softcap = static_cast<float>(softcap_);
    a.causal = causal_, a.window = window_;
    return a;
  }
  int64_t heads_, kv_heads_;
  bool causal_;
  int64_t window_;
  double scale_, softcap_;
};

// Rows of dy added at the indices of axis 0 of zeros.
class GatherGradient : public exec::Kernel {
 public:
  bool reads_whole(size_t input) const override { return input != 2; }
  void run(const KernelContext& c) override {
    const Buffer &dy = c.inputs[0], &at = c.inputs[1], &y = c.outputs[0];
    const size_t count = static_cast<size_t>(at.elements()), rows = static_cast<size_t>(y.dims[0]);
    std::memset(y.data, 0, y.bytes);
    if (count == 0 || rows == 0) return;
    const size_t width = static_cast<size_t>(y.elements()) / rows;
    for (size_t i = 0; i < count; ++i) {
      int64_t row = at.i64()[i];
      if (row < 0) row += y.dims[0];
      if (row < 0 || row >= y.dims[0])
        fail(ErrorKind::kUsage, "[cpu] hone.GatherGradient: index {} is outside {} rows", at.i64()[i], rows);
      float* to = y.f32() + static_cast<size_t>(row) * width;
      const float* from = dy.f32() + i * width;
      for (size_t d = 0; d < width; ++d) to[d] += from[d];
    }
  }
};

// Sums in double precision over the axes that `like` repeats.
class SumTo : public exec::Kernel {
 public:
  bool reads_whole(size_t input) const override { return input == 0; }
  size_t scratch_bytes(std::span<const Buffer>, std::span<const Buffer> out, int) const override {
    return static_cast<size_t>(out[0].elements()) * sizeof(double);
  }
  void run(const KernelContext& c) override {
    const Buffer &dy = c.inputs[0], &y = c.outputs[0];
    const size_t n = static_cast<size_t>(dy.elements()), outputs = static_cast<size_t>(y.elements());
    double* sums = reinterpret_cast<double*>(c.scratch.data());
    std::fill(sums, sums + outputs, 0.0);
    size_t strides[6] = {}, stride = 1;
    for (int axis = dy.rank - 1; axis >= 0; --axis) {
      const int own = axis - (dy.rank - y.rank);
      if (own < 0) continue;
      strides[axis] = y.dims[own] == 1 ? 0 : stride;
      stride *= static_cast<size_t>(y.dims[own]);
    }
    for (size_t i = 0; i < n; ++i) {
      size_t rest = i, at = 0;
      for (int axis = dy.rank - 1; axis >= 0; --axis) {
        const auto size = static_cast<size_t>(dy.dims[axis]);
        at += rest % size * strides[axis];
        rest /= size;
      }
      sums[at] += static_cast<double>(dy.f32()[i]);
    }
    for (size_t i = 0; i < outputs; ++i) y.f32()[i] = static_cast<float>(sums[i]);
  }
};

bool supports_transposed(const ir::Graph& graph, const ir::Node& node) {
  if (!is_f32(graph, node, 0)) return false;
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (!w) return is_f32(graph, node, 1);
  return kernels::matmul_supports(w->format);
}
bool supports_gather_gradient(const ir::Graph& graph, const ir::Node& node) {
  return is_f32(graph, node, 0) && is_plain(graph, node, 1);
}
bool supports_sum_to(const ir::Graph& graph, const ir::Node& node) {
  return is_f32(graph, node, 0);
}

template <typename K>
std::unique_ptr<exec::Kernel> plain(const ir::Graph&, const ir::Node&) {
  return std::make_unique<K>();
}
std::unique_ptr<exec::Kernel> rms_norm_gradient(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<RmsNormGradient>(static_cast<float>(node.number_or("epsilon", 1e-5)));
}
std::unique_ptr<exec::Kernel> swish_gradient(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<PairGradient>(kernels::swish_gradient,
                                        static_cast<float>(node.number_or("alpha", 1)), false);
}
std::unique_ptr<exec::Kernel> gelu_gradient(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<PairGradient>([](const float* dy, const float* x, float* dx, size_t n,
                                           float form) { kernels::gelu_gradient(dy, x, dx, n, form != 0); },
                                        node.string_or("approximate", "none") == "tanh" ? 1.0f : 0.0f, false);
}
std::unique_ptr<exec::Kernel> softmax_gradient(const ir::Graph&, const ir::Node&) {
  return std::make_unique<PairGradient>([](const float* dy, const float* y, float* dx, size_t n,
                                           float) { kernels::softmax_gradient(dy, y, dx, n); },
                                        0.0f, true);
}
bool supports_norm_gradient(const ir::Graph& graph, const ir::Node& node) {
  return all_f32(graph, node) && last_axis(graph, node, -1) &&
         graph.value(node.inputs[2]).shape == ir::Shape{graph.value(node.inputs[1]).shape.back()};
}
bool supports_softmax_gradient(const ir::Graph& graph, const ir::Node& node) {
  return all_f32(graph, node) && last_axis(graph, node, -1);
}
std::unique_ptr<exec::Kernel> attention_gradient(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<AttentionGradient>(node);
}

}  // namespace

std::span<const CpuOp> gradient_ops() {
  static constexpr CpuOp ops[] = {
      {"hone.MatMulTransposed", supports_transposed, plain<MatMulTransposed>},
      {"hone.WeightGradient", all_f32, plain<WeightGradient>},
      {"hone.RMSNormalizationGradient", supports_norm_gradient, rms_norm_gradient},
      {"hone.SwishGradient", all_f32, swish_gradient},
      {"hone.GeluGradient", all_f32, gelu_gradient},
      {"hone.SoftmaxGradient", supports_softmax_gradient, softmax_gradient},
      {"hone.AttentionGradient", all_f32, attention_gradient},
      {"hone.GatherGradient", supports_gather_gradient, plain<GatherGradient>},
      {"hone.SumTo", supports_sum_to, plain<SumTo>},
  };
  return ops;
}

}  // namespace hone::backends
