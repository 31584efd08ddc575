// Products that run as one step: what a pattern found, and the kernel that runs it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backends/cpu/fuse.h"
#include "kernels/matmul.h"

namespace hone::backends {

// y[m, rows] = x[m, cols] W^T (+ bias) (+ add) for each part, over rows [first_row, first_row + rows) of a
// stored weight; x may be normalised first. With a gate, two parts make one output. With post_gain the one
// part is normalised before add. Values of the graph; kNoValue: absent.
struct ProductStep {
  struct Part {
    ir::ValueId weight = ir::kNoValue, bias = ir::kNoValue, add = ir::kNoValue, output = ir::kNoValue;
    size_t first_row = 0, rows = 0;
  };
  ir::ValueId x = ir::kNoValue, gain = ir::kNoValue;
  float epsilon = 0;
  std::vector<Part> parts;
  kernels::Gate gate = kernels::Gate::kNone;
  ir::ValueId gated = ir::kNoValue;
  ir::ValueId post_gain = ir::kNoValue;
  float post_epsilon = 0;
  std::vector<ir::NodeId> nodes;  // in any order
};

// Joins the step's nodes.
bool join(exec::Grouping& grouping, const ProductStep& step);
// The kernel, where the step is of exactly these nodes (ascending); else null.
std::unique_ptr<exec::Kernel> kernel_if_same(const exec::Grouping& grouping,
                                             const std::optional<ProductStep>& step,
                                             std::span<const ir::NodeId> nodes);

// The pieces that patterns are made of. Each appends the nodes it takes.

// The product of a node with a stored weight; nothing where it is no such MatMul.
std::optional<ProductStep::Part> product_part(const ir::Graph& graph, ir::NodeId matmul);
// A constant bias added to the part's output and nothing else: taken into it.
void take_bias(const exec::Grouping& grouping, ProductStep::Part& part, std::vector<ir::NodeId>& nodes);
// The part's output is split along its last axis and not read otherwise: the pieces. Else the part itself.
std::vector<ProductStep::Part> split_parts(const exec::Grouping& grouping, const ProductStep::Part& part,
                                           std::vector<ir::NodeId>& nodes);
// step.x is an RMS norm that only these nodes read: the norm becomes part of the step.
void take_norm(const exec::Grouping& grouping, ProductStep& step);

}  // namespace hone::backends
