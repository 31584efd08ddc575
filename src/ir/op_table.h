// The op table: a row per op with its arity and shape function. Kernels, passes and writers look ops up
// here by name; an op that is not in the table does not exist.
#pragma once

#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace hone::ir {

struct OutputType {
  DType dtype;
  Shape shape;
};

struct InferContext {
  const Node& node;
  std::vector<const Value*> inputs;  // null for an absent optional input
  Graph& graph;                      // for symbols and the values of constants
};

struct OpInfo {
  const char* name;      // ONNX name, or "hone.Name"
  int min_inputs, max_inputs;
  int outputs;           // -1: as many as infer returns
  std::vector<OutputType> (*infer)(const InferContext&);
};

const OpInfo* find_op(std::string_view name);
const std::vector<OpInfo>& all_ops();

}  // namespace hone::ir
