// RotaryEmbedding and Attention with in-place caches.
#include "kernels/attention.h"

#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_op.h"
#include "base/error.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;

// Activations of heads, [batch, sequence, heads * width] or [batch, heads, sequence, width].
struct Heads {
  size_t batch, heads, tokens, width;
  kernels::HeadStrides strides;  // floats
};
Heads heads_of(const Buffer& x, int64_t heads) {
  const auto size = [&](int axis) { return static_cast<size_t>(x.dims[axis]); };
  if (x.rank == 4)
    return {size(0), size(1), size(2), size(3), {size(1) * size(2) * size(3), size(2) * size(3), size(3)}};
  const size_t count = static_cast<size_t>(heads), width = size(2) / count;
  return {size(0), count, size(1), width, {size(1) * size(2), width, size(2)}};
}

class Rotary : public exec::Kernel {
 public:
  explicit Rotary(const ir::Node& node)
      : heads_(node.int_or("num_heads", 0)),
        interleaved_(node.int_or("interleaved", 0) != 0),
        name_(node.name) {}

  bool reads_whole(size_t input) const override { return input == 0; }

  void run(const KernelContext& c) override {
    const kernels::IsaTable& t = kernels::active_table();
    const Heads h = heads_of(c.inputs[0], heads_);
    const Buffer &cosine = c.inputs[1], &sine = c.inputs[2];
    const size_t half = static_cast<size_t>(cosine.dims[cosine.rank - 1]);
    const int64_t* positions = c.inputs.size() > 3 && c.inputs[3].data ? c.inputs[3].i64() : nullptr;
    const float* x = c.inputs[0].f32();
    float* y = c.outputs[0].f32();
    for_items(c.pool, h.batch * h.tokens, h.heads * h.width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        size_t row = i;
        if (positions) {
          if (positions[i] < 0 || positions[i] >= cosine.dims[0])
            fail(ErrorKind::kUsage, "[cpu] node '{}': position {} is outside the rotary table of {}", name_,
                 positions[i], cosine.dims[0]);
          row = static_cast<size_t>(positions[i]);
        }
        for (size_t head = 0; head < h.heads; ++head) {
          const size_t at =
              i / h.tokens * h.strides.batch + head * h.strides.head + i % h.tokens * h.strides.token;
          t.rotate(x + at, cosine.f32() + row * half, sine.f32() + row * half, y + at, half, interleaved_);
          if (2 * half < h.width)
            std::memcpy(y + at + 2 * half, x + at + 2 * half, (h.width - 2 * half) * sizeof(float));
        }
      }
    });
  }

 private:
  int64_t heads_;
  bool interleaved_;
  std::string name_;
};

bool supports_rotary(const ir::Graph& graph, const ir::Node& node) {
  if (has_input(node, 3) && graph.value(node.inputs[3]).dtype != tensor::DType::kI64) return false;
  return is_f32(graph, node, 0) && is_f32(graph, node, 1) && is_f32(graph, node, 2);
}
std::unique_ptr<exec::Kernel> rotary(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<Rotary>(node);
}

class AttentionKernel : public PreciseKernel {
 public:
  explicit AttentionKernel(const ir::Node& node)
      : heads_(node.int_or("q_num_heads", 0)),
        kv_heads_(node.int_or("kv_num_heads", 0)),
        causal_(node.int_or("is_causal", 0) != 0),
        window_(node.int_or("sliding_window", 0)),
        scale_(node.number_or("scale", 0)),
        softcap_(node.number_or("softcap", 0)) {}

  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer> out, int threads) const override {
    return kernels::attention_scratch_bytes(arguments(in, out), threads);
  }

  void run(const KernelContext& c) override {
    kernels::AttentionArgs args = arguments(c.inputs, c.outputs);
    if (args.batch == 0 || args.queries == 0) return;
    const bool cached = c.states.size() > 5 && c.states[4];
    if (cached) {
      append(c);
      args.past = c.past;
      args.keys = rows_of(*c.states[4]);
      args.values = rows_of(*c.states[5]);
    } else {
      const Heads k = heads_of(c.inputs[1], kv_heads_), v = heads_of(c.inputs[2], kv_heads_);
      args.keys = rows_of(c.inputs[1], k);
      args.values = rows_of(c.inputs[2], v);
      if (no_past_.size() < args.batch) no_past_.resize(args.batch);
      args.past = no_past_;
    }
    kernels::attention(args, c.pool, c.scratch);
  }

 private:
  kernels::AttentionArgs arguments(std::span<const Buffer> in, std::span<const Buffer> out) const {
    const Heads q = heads_of(in[0], heads_), k = heads_of(in[1], kv_heads_), v = heads_of(in[2], kv_heads_);
    kernels::AttentionArgs args;
    args.batch = q.batch;
    args.queries = q.tokens;
    args.heads = q.heads;
    args.kv_heads = k.heads;
    args.key_width = k.width;
    args.value_width = v.width;
    args.q = in[0].f32();
    args.q_strides = q.strides;
    args.fresh = k.tokens;
    args.out = out[0].f32();
    args.out_strides = heads_of(out[0], static_cast<int64_t>(q.heads)).strides;
    args.scale = static_cast<float>(scale_ != 0 ? scale_ : 1.0 / std::sqrt(static_cast<double>(k.width)));
    args.softcap = static_cast<float>(softcap_);
    args.causal = causal_;
    args.window = window_;
    args.exact = activations == kernels::Activations::kF32;
    return args;
  }

  static size_t row_bytes(const exec::StateBuffer& s) {
    const auto& f = tensor::format(s.format);
    return static_cast<size_t>(s.width) / f.block * f.block_bytes;
  }
  static kernels::RowsView rows_of(const exec::StateBuffer& s) {
    const size_t row = row_bytes(s), head = row * static_cast<size_t>(s.capacity);
    return {s.data, s.format, head * static_cast<size_t>(s.heads), head, row};
  }
  static kernels::RowsView rows_of(const Buffer& x, const Heads& h) {
    return {x.data, tensor::FormatId::kF32, h.strides.batch * 4, h.strides.head * 4, h.strides.token * 4};
  }

  // New keys and values go behind the `past` rows of each batch row.
  void append(const KernelContext& c) const {
    for (size_t side = 0; side < 2; ++side) {
      const exec::StateBuffer& state = *c.states[4 + side];
      const Heads h = heads_of(c.inputs[1 + side], kv_heads_);
      const kernels::RowsView rows = rows_of(state);
      const float* from = c.inputs[1 + side].f32();
      for_items(c.pool, h.batch * h.tokens, h.heads * h.width, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          const size_t b = i / h.tokens, token = i % h.tokens;
          const size_t at = static_cast<size_t>(c.past[b]) + token;
          for (size_t head = 0; head < h.heads; ++head)
            kernels::encode_row(state.format,
                                from + b * h.strides.batch + head * h.strides.head + token * h.strides.token,
                                const_cast<std::byte*>(rows.data) + b * rows.batch_stride +
                                    head * rows.head_stride + at * rows.row_stride,
                                h.width);
        }
      });
    }
  }

  std::vector<int64_t> no_past_;  // zeros, for graphs without caches
  int64_t heads_, kv_heads_;
  bool causal_;
  int64_t window_;
  double scale_, softcap_;
};

bool is_growing_state(const ir::Graph& graph, ir::ValueId input, ir::ValueId output) {
  for (const ir::State& state : graph.states())
    if (state.input == input && state.output == output && state.growing_axis == 2) return true;
  return false;
}

// Caches only as states, updated in place; masks come with a later op set.
bool supports_attention(const ir::Graph& graph, const ir::Node& node) {
  if (!is_f32(graph, node, 0) || !is_f32(graph, node, 1) || !is_f32(graph, node, 2) || has_input(node, 3))
    return false;
  if (node.outputs.size() > 3) return false;
  if (!has_input(node, 4)) return true;
  return node.outputs.size() == 3 && is_growing_state(graph, node.inputs[4], node.outputs[1]) &&
         is_growing_state(graph, node.inputs[5], node.outputs[2]);
}
std::unique_ptr<exec::Kernel> attention(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<AttentionKernel>(node);
}

}  // namespace

std::span<const CpuOp> attention_ops() {
  static constexpr CpuOp ops[] = {
      {"RotaryEmbedding", supports_rotary, rotary},
      {"Attention", supports_attention, attention},
  };
  return ops;
}

}  // namespace hone::backends
