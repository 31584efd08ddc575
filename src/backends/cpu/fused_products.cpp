#include "backends/cpu/fused_products.h"

#include <algorithm>

#include "backends/cpu/cpu_op.h"
#include "base/error.h"
#include "ir/op_table.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;
using kernels::Product;

constexpr size_t kAbsent = ~size_t{0};

size_t index_of(const std::vector<ir::ValueId>& list, ir::ValueId id) {
  if (id == ir::kNoValue) return kAbsent;
  const auto at = std::find(list.begin(), list.end(), id);
  HONE_CHECK(at != list.end());
  return static_cast<size_t>(at - list.begin());
}

class ProductKernel : public exec::Kernel {
 public:
  ProductKernel(const exec::GroupEdges& edges, const ProductStep& step)
      : x_(index_of(edges.inputs, step.x)),
        gain_(index_of(edges.inputs, step.gain)),
        gated_(index_of(edges.outputs, step.gated)),
        post_gain_(index_of(edges.inputs, step.post_gain)),
        epsilon_(step.epsilon),
        post_epsilon_(step.post_epsilon),
        gate_(step.gate),
        products_(step.parts.size()) {
    for (const ProductStep::Part& p : step.parts)
      parts_.push_back(
          {index_of(edges.inputs, p.weight), index_of(edges.inputs, p.bias), index_of(edges.inputs, p.add),
           gated_ == kAbsent ? index_of(edges.outputs, p.output) : kAbsent, p.first_row, p.rows});
  }

  size_t scratch_bytes(std::span<const Buffer> in, std::span<const Buffer> out, int threads) const override {
    std::vector<Product> products(parts_.size());
    return kernels::group_scratch_bytes(group(in, out, products), threads);
  }

  void run(const KernelContext& c) override {
    const kernels::ProductGroup g = group(c.inputs, c.outputs, products_);
    kernels::matmul_group(g, c.pool, c.scratch);
    if (post_gain_ != kAbsent) finish(c, g.rows.m);
  }

 private:
  struct Part {
    size_t weight, bias, add, output, first_row, rows;  // places in the buffers, then rows of the weight
  };

  kernels::ProductGroup group(std::span<const Buffer> in, std::span<const Buffer> out,
                              std::vector<Product>& products) const {
    // Asked for scratch, buffers have sizes but no bytes; what is there must still count as there.
    static constexpr float kThere = 0;
    const auto f32 = [&](size_t at) -> const float* {
      return at == kAbsent ? nullptr : in[at].data ? in[at].f32() : &kThere;
    };
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Part& p = parts_[i];
      const Buffer& w = in[p.weight];  // logically [cols, rows]
      const auto cols = static_cast<size_t>(w.dims[0]);
      const auto& f = tensor::format(w.format);
      products[i].w = {w.format, w.data ? w.data + p.first_row * (cols / f.block * f.block_bytes) : nullptr,
                       p.rows, cols};
      products[i].y = p.output == kAbsent ? nullptr : out[p.output].f32();
      products[i].bias = p.bias == kAbsent ? nullptr : f32(p.bias) + p.first_row;
      products[i].add = post_gain_ == kAbsent ? f32(p.add) : nullptr;
    }
    const auto cols = static_cast<size_t>(in[parts_[0].weight].dims[0]);
    kernels::ProductGroup g{products, {}, gate_, nullptr};
    g.rows = {in[x_].f32(), static_cast<size_t>(in[x_].elements()) / cols, f32(gain_), epsilon_};
    if (gated_ != kAbsent) g.gated = out[gated_].f32();
    return g;
  }

  // The norm behind the product, and the residual behind that.
  void finish(const KernelContext& c, size_t m) const {
    const kernels::IsaTable& t = kernels::active_table();
    const Part& p = parts_[0];
    const float *gain = c.inputs[post_gain_].f32(), *add = p.add == kAbsent ? nullptr : c.inputs[p.add].f32();
    float* y = c.outputs[p.output].f32();
    for_items(c.pool, m, 2 * p.rows, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        float* row = y + r * p.rows;
        t.rms_norm(row, gain, row, p.rows, post_epsilon_);
        if (add) t.add(add + r * p.rows, row, row, p.rows);
      }
    });
  }

  size_t x_, gain_, gated_, post_gain_;
  float epsilon_, post_epsilon_;
  kernels::Gate gate_;
  std::vector<Part> parts_;
  std::vector<Product> products_;  // of the run under way
};

}  // namespace

bool join(exec::Grouping& grouping, const ProductStep& step) {
  std::vector<ir::NodeId> nodes = step.nodes;
  std::sort(nodes.begin(), nodes.end());
  return nodes.size() > 1 && grouping.join(nodes);
}

std::unique_ptr<exec::Kernel> kernel_if_same(const exec::Grouping& grouping,
                                             const std::optional<ProductStep>& step,
                                             std::span<const ir::NodeId> nodes) {
  if (!step) return nullptr;
  std::vector<ir::NodeId> own = step->nodes;
  std::sort(own.begin(), own.end());
  if (!std::equal(own.begin(), own.end(), nodes.begin(), nodes.end())) return nullptr;
  return std::make_unique<ProductKernel>(grouping.edges(nodes), *step);
}

std::optional<ProductStep::Part> product_part(const ir::Graph& graph, ir::NodeId matmul) {
  if (matmul < 0) return std::nullopt;
  const ir::Node& node = graph.nodes()[static_cast<size_t>(matmul)];
  if (std::string_view(node.op->name) != "MatMul" || !is_f32(graph, node, 0)) return std::nullopt;
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (!w || !w->transposed || rank_of(graph, node, 1) != 2 || !kernels::matmul_supports(w->format))
    return std::nullopt;
  ProductStep::Part part;
  part.weight = node.inputs[1];
  part.output = node.outputs[0];
  part.rows = static_cast<size_t>(graph.value(part.weight).shape[1].size);
  return part;
}

void take_bias(const exec::Grouping& grouping, ProductStep::Part& part, std::vector<ir::NodeId>& nodes) {
  const ir::Graph& graph = grouping.graph();
  const ir::NodeId user = only_user(grouping, part.output, "Add");
  if (user < 0) return;
  const ir::Node& node = graph.nodes()[static_cast<size_t>(user)];
  const size_t side = node.inputs[0] == part.output ? 1 : 0;
  const ir::Shape wide{ir::Dim::of(static_cast<int64_t>(part.rows))};
  if (!graph.constant_of(node.inputs[side]) || !is_f32(graph, node, side) ||
      graph.value(node.inputs[side]).shape != wide)
    return;
  part.bias = node.inputs[side];
  part.output = node.outputs[0];
  nodes.push_back(user);
}

std::vector<ProductStep::Part> split_parts(const exec::Grouping& grouping, const ProductStep::Part& part,
                                           std::vector<ir::NodeId>& nodes) {
  const ir::Graph& graph = grouping.graph();
  const ir::NodeId user = only_user(grouping, part.output, "Split");
  if (user < 0 || !last_axis(graph, graph.nodes()[static_cast<size_t>(user)], 0)) return {part};
  std::vector<ProductStep::Part> parts;
  size_t row = part.first_row;
  for (const ir::ValueId out : graph.nodes()[static_cast<size_t>(user)].outputs) {
    ProductStep::Part piece = part;
    piece.output = out;
    piece.first_row = row;
    piece.rows = static_cast<size_t>(graph.value(out).shape.back().size);
    row += piece.rows;
    parts.push_back(piece);
  }
  nodes.push_back(user);
  return parts;
}

void take_norm(const exec::Grouping& grouping, ProductStep& step) {
  const ir::Graph& graph = grouping.graph();
  const ir::NodeId norm = made_by(graph, step.x, "RMSNormalization");
  if (norm < 0 || grouping.kept(step.x) || !plain_norm(graph, graph.nodes()[static_cast<size_t>(norm)]))
    return;
  for (const ir::NodeId user : grouping.users(step.x))
    if (std::find(step.nodes.begin(), step.nodes.end(), user) == step.nodes.end()) return;
  const ir::Node& node = graph.nodes()[static_cast<size_t>(norm)];
  step.x = node.inputs[0];
  step.gain = node.inputs[1];
  step.epsilon = static_cast<float>(node.number_or("epsilon", 1e-5));
  step.nodes.push_back(norm);
}

}  // namespace hone::backends
