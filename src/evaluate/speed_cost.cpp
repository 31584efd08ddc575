#include "evaluate/speed_cost.h"

#include <algorithm>
#include <string_view>

#include "ir/op_table.h"
#include "kernels/matmul.h"

namespace hone::evaluate {
namespace {

using ir::Graph;
using ir::Node;
using ir::ValueId;

// Sizes of values under bound symbols.
class Sizes {
 public:
  Sizes(const Graph& graph, const RunSizes& run) : graph_(graph), symbols_(graph.symbols().size(), -1) {
    for (size_t i = 0; i < symbols_.size(); ++i) {
      const std::string& name = graph.symbols()[i];
      if (graph.rule(static_cast<ir::SymbolId>(i)).kind != ir::SymbolRule::Kind::kFree) continue;
      symbols_[i] = name == "batch"      ? run.batch
                    : name == "sequence" ? run.sequence
                    : name == "past"     ? run.past
                    : name == "rows"     ? run.rows
                                         : 1;
    }
    graph.resolve_symbols(symbols_);
  }
  int64_t dim(ValueId value, int axis_from_end) const {
    const ir::Shape& shape = graph_.value(value).shape;
    return std::max<int64_t>(
        0, Graph::size_of(shape[shape.size() - static_cast<size_t>(axis_from_end)], symbols_));
  }
  double elements(ValueId value) const {
    double n = 1;
    for (const ir::Dim& d : graph_.value(value).shape)
      n *= static_cast<double>(std::max<int64_t>(0, Graph::size_of(d, symbols_)));
    return n;
  }

 private:
  const Graph& graph_;
  std::vector<int64_t> symbols_;
};

// Inputs of which a run reads a few rows only.
bool is_table(const Node& node, size_t input) {
  const std::string_view op = node.op->name;
  return (op == "Gather" && input == 0) || (op == "RotaryEmbedding" && input > 0);
}

uint64_t constant_bytes(const Graph& graph, const Node& node) {
  uint64_t total = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == ir::kNoValue || is_table(node, i)) continue;
    if (const ir::Constant* c = graph.constant_of(node.inputs[i])) total += c->bytes.size();
  }
  return total;
}

void add_product(const Graph& graph, const Node& node, const Sizes& sizes, OpCost& cost) {
  const double in = static_cast<double>(sizes.dim(node.inputs[0], 1)), out = sizes.elements(node.outputs[0]);
  cost.multiply_adds = in * out;
  const ir::Constant* w = graph.constant_of(node.inputs[1]);
  if (!w) return;
  const auto width = static_cast<double>(sizes.dim(node.outputs[0], 1));
  cost.arithmetic = product_precision(w->format, static_cast<uint64_t>(width), static_cast<uint64_t>(in),
                                      static_cast<int64_t>(width > 0 ? out / width : 0))
                        .arithmetic;
}

// Queries at positions past .. past + sequence see the keys up to their own, the last `window` where there is
// one.
void add_attention(const Graph& graph, const Node& node, const Sizes& sizes, const RunSizes& run,
                   OpCost& cost) {
  const ValueId q = node.inputs[0], k = node.inputs[1], v = node.inputs[2];
  const auto width_of = [&](ValueId value, const char* heads) {
    return graph.value(value).shape.size() == 4
               ? sizes.dim(value, 1)
               : sizes.dim(value, 1) / std::max<int64_t>(1, node.int_or(heads, 1));
  };
  const int64_t key_width = width_of(k, "kv_num_heads"), value_width = width_of(v, "kv_num_heads");
  const bool cached = node.inputs.size() > 4 && node.inputs[4] != ir::kNoValue;
  const int64_t queries = sizes.dim(q, 2);
  const int64_t past = cached ? run.past : 0, all = past + queries, window = node.int_or("sliding_window", 0);
  const bool causal = node.int_or("is_causal", 0) != 0;
  double pairs = 0;
  int64_t first = all;
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t last = causal ? past + i + 1 : all,
                  begin = window > 0 ? std::max<int64_t>(0, last - window) : 0;
    pairs += static_cast<double>(last - begin);
    first = std::min(first, begin);
  }
  const double heads =
      sizes.elements(q) / std::max<double>(1, static_cast<double>(queries * key_width));  // and batch
  cost.multiply_adds = pairs * heads * static_cast<double>(key_width + value_width);
  if (!cached) return;
  const auto& format = tensor::format(run.cache_format);
  const double kv_heads = sizes.elements(k) / std::max<double>(1, static_cast<double>(queries * key_width));
  const auto row = static_cast<double>(key_width + value_width) / static_cast<double>(format.block) *
                   static_cast<double>(format.block_bytes);
  cost.cache_bytes = static_cast<uint64_t>(kv_heads * static_cast<double>(all - first) * row);
}

}  // namespace

OpCost& OpCost::operator+=(const OpCost& other) {
  weight_bytes += other.weight_bytes;
  cache_bytes += other.cache_bytes;
  multiply_adds += other.multiply_adds;
  return *this;
}

ProductPrecision product_precision(tensor::FormatId format, uint64_t out, uint64_t in, int64_t rows) {
  ProductPrecision precision;
  precision.activations = kernels::activations_used({format, nullptr, out, in}, static_cast<size_t>(rows));
  if (precision.activations == "8-bit") precision.arithmetic = kernels::Arithmetic::kInt8;
  if (precision.activations == "16-bit") precision.arithmetic = kernels::Arithmetic::kInt16;
  if (precision.activations == "BF16") precision.arithmetic = kernels::Arithmetic::kBF16;
  return precision;
}

std::vector<OpCost> run_costs(const ir::Graph& graph, const RunSizes& run) {
  const Sizes sizes(graph, run);
  std::vector<OpCost> costs;
  costs.reserve(graph.nodes().size());
  for (const Node& node : graph.nodes()) {
    OpCost cost;
    cost.weight_bytes = constant_bytes(graph, node);
    const std::string_view op = node.op->name;
    if (op == "MatMul" || op == "Gemm") add_product(graph, node, sizes, cost);
    if (op == "Attention") add_attention(graph, node, sizes, run, cost);
    costs.push_back(cost);
  }
  return costs;
}

std::vector<ProductUse> product_uses(const ir::Graph& graph, int64_t decode_rows, int64_t prefill_rows) {
  std::vector<ProductUse> uses;
  for (const Node& node : graph.nodes()) {
    if (std::string_view(node.op->name) != "MatMul" && std::string_view(node.op->name) != "Gemm") continue;
    const ir::Constant* w = graph.constant_of(node.inputs[1]);
    if (!w || !w->transposed) continue;
    const ir::Shape& shape = graph.value(node.inputs[1]).shape;  // [in, out]
    const auto in = static_cast<uint64_t>(shape[0].size), out = static_cast<uint64_t>(shape[1].size);
    ProductUse use{std::string(tensor::format(w->format).name),
                   product_precision(w->format, out, in, decode_rows).activations,
                   product_precision(w->format, out, in, prefill_rows).activations, 0, 0};
    auto at = std::find_if(uses.begin(), uses.end(), [&](const ProductUse& u) {
      return u.format == use.format && u.decode == use.decode && u.prefill == use.prefill;
    });
    if (at == uses.end()) at = uses.insert(uses.end(), std::move(use));
    ++at->count;
    at->bytes += w->bytes.size();
  }
  return uses;
}

}  // namespace hone::evaluate
