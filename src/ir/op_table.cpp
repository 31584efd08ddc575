// The list of ops: ONNX names and semantics (opset 24), one row each.
#include "ir/op_table.h"

#include <algorithm>
#include <unordered_map>

#include "ir/infer.h"

namespace hone::ir {

namespace {

const std::vector<OpInfo>& table() {
  static const std::vector<OpInfo> rows = {
      // name, least and most inputs, outputs, shape function
      {"MatMul", 2, 2, 1, infer::matmul},
      {"Gemm", 2, 3, 1, infer::gemm},
      {"Add", 2, 2, 1, infer::binary},
      {"Sub", 2, 2, 1, infer::binary},
      {"Mul", 2, 2, 1, infer::binary},
      {"Div", 2, 2, 1, infer::binary},
      {"Pow", 2, 2, 1, infer::binary},
      {"Sqrt", 1, 1, 1, infer::unary_float},
      {"Exp", 1, 1, 1, infer::unary_float},
      {"Swish", 1, 1, 1, infer::unary_float},    // x * sigmoid(alpha * x), alpha = 1
      {"Sigmoid", 1, 1, 1, infer::unary_float},
      {"Gelu", 1, 1, 1, infer::unary_float},     // approximate = "none" | "tanh"
      {"Tanh", 1, 1, 1, infer::unary_float},
      {"Relu", 1, 1, 1, infer::same_as_input},
      {"Identity", 1, 1, 1, infer::same_as_input},
      {"Softmax", 1, 1, 1, infer::softmax},      // axis = -1
      {"RMSNormalization", 2, 2, 1, infer::rms_normalization},     // axis = -1, epsilon = 1e-5
      {"LayerNormalization", 2, 3, 1, infer::layer_normalization},
      {"RotaryEmbedding", 3, 4, 1, infer::rotary_embedding},
      // Q, K, V, mask, past key, past value -> Y (, present key, present value when a past is given).
      // Attribute "sliding_window" is hone's: query at position p sees keys k with p - window < k <= p.
      {"Attention", 3, 6, -1, infer::attention},
      {"ReduceMean", 1, 2, 1, infer::reduce},
      {"Gather", 2, 2, 1, infer::gather},
      {"Reshape", 2, 2, 1, infer::reshape},
      {"Transpose", 1, 1, 1, infer::transpose},
      {"Concat", 1, 1 << 16, 1, infer::concat},
      {"Slice", 3, 5, 1, infer::slice},
      {"Split", 1, 2, -1, infer::split},
      {"Unsqueeze", 2, 2, 1, infer::unsqueeze},
      {"Squeeze", 1, 2, 1, infer::squeeze},
      {"Shape", 1, 1, 1, infer::shape_of},
      {"Cast", 1, 1, 1, infer::cast},
      {"Where", 3, 3, 1, infer::where},
      {"QuantizeLinear", 2, 3, 1, infer::quantize_linear},
      {"DequantizeLinear", 2, 3, 1, infer::dequantize_linear},
      // What reverse-mode differentiation needs beyond ONNX; see infer_gradient.cpp.
      {"hone.MatMulTransposed", 2, 2, 1, infer::matmul_transposed},
      {"hone.WeightGradient", 2, 2, 1, infer::weight_gradient},
      {"hone.RMSNormalizationGradient", 3, 3, 2, infer::rms_normalization_gradient},
      {"hone.SwishGradient", 2, 2, 1, infer::elementwise_gradient},
      {"hone.GeluGradient", 2, 2, 1, infer::elementwise_gradient},
      {"hone.SoftmaxGradient", 2, 2, 1, infer::elementwise_gradient},
      {"hone.AttentionGradient", 4, 4, 3, infer::attention_gradient},
      {"hone.GatherGradient", 3, 3, 1, infer::gather_gradient},
      {"hone.SumTo", 2, 2, 1, infer::sum_to},
      {"hone.ReshapeLike", 2, 2, 1, infer::reshape_like},
  };
  return rows;
}

}  // namespace

const std::vector<OpInfo>& all_ops() { return table(); }

const OpInfo* find_op(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const OpInfo*> map;
    for (const OpInfo& row : table()) map.emplace(row.name, &row);
    return map;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

}  // namespace hone::ir
