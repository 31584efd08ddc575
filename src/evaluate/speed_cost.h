// What a run of a graph must read and multiply at least, node by node, from the graph and its sizes alone:
// the numbers behind the roofs of `hone bench`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "kernels/peak.h"

namespace hone::evaluate {

struct OpCost {
  uint64_t weight_bytes =
      0;  // constants that are read whole; tables of which a few rows are read do not count
  uint64_t cache_bytes = 0;  // keys and values that are attended to, as they are stored
  double multiply_adds = 0;  // of products and attention
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kF32;  // in which they are done
  OpCost& operator+=(const OpCost& other);                     // keeps its own arithmetic
};

// Sizes of one run. `past` is the number of tokens that each batch row holds before it.
struct RunSizes {
  int64_t batch = 1, sequence = 1, past = 0, rows = 1;
  tensor::FormatId cache_format = tensor::FormatId::kF16;
};
// One cost per node of the graph. Error(kBadInput) when a size overflows.
std::vector<OpCost> run_costs(const ir::Graph& graph, const RunSizes& sizes);

// Which precision activations have where a weight meets `rows` of them: "16-bit", and the arithmetic of that.
struct ProductPrecision {
  std::string activations;
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kF32;
};
ProductPrecision product_precision(tensor::FormatId format, uint64_t out, uint64_t in, int64_t rows);

// Matrix weights by storage format, in the order of their first use.
struct ProductUse {
  std::string format;
  std::string decode, prefill;  // precision of the activations they meet
  int count = 0;
  uint64_t bytes = 0;
};
std::vector<ProductUse> product_uses(const ir::Graph& graph, int64_t decode_rows, int64_t prefill_rows);

}  // namespace hone::evaluate
