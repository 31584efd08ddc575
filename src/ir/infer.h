// Helpers and shape functions behind the op table. One function per group of ops with the same rule.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "ir/op_table.h"

namespace hone::ir::infer {

using Outputs = std::vector<OutputType>;

// Error(kBadInput) that names the node: "[ir] node 'x' (MatMul): ...".
template <typename... Args>
[[noreturn]] void reject(const InferContext& c, fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorKind::kBadInput, "[ir] node '{}' ({}): {}", c.node.name, c.node.op->name,
       fmt::format(format, std::forward<Args>(args)...));
}

// Input i, or null when it is absent or was left out at the end.
const Value* optional_input(const InferContext& c, size_t i);
std::string describe(const InferContext& c, const Value& value);  // "F32[2, 3]"
void expect_dtype(const InferContext& c, size_t input, DType dtype);
void expect_float(const InferContext& c, size_t input);
// An axis attribute or number counted from either end, checked against the rank.
size_t axis_in(const InferContext& c, int64_t axis, size_t rank);
Shape broadcast(const InferContext& c, const Shape& a, const Shape& b);
// Numbers of an I64 constant; nullopt when the input is not a constant with bytes.
std::optional<std::vector<int64_t>> constant_ints(const InferContext& c, size_t input);
// The same, or Error: the op needs them when the graph is built.
std::vector<int64_t> required_ints(const InferContext& c, size_t input, const char* what);
std::vector<int64_t> ints_attribute(const InferContext& c, const char* key);  // empty when absent
DType dtype_from_onnx(const InferContext& c, int64_t code);                   // TensorProto.DataType

Outputs unary_float(const InferContext& c);
Outputs same_as_input(const InferContext& c);
Outputs binary(const InferContext& c);
Outputs where(const InferContext& c);
Outputs cast(const InferContext& c);
Outputs quantize_linear(const InferContext& c);
Outputs dequantize_linear(const InferContext& c);

Outputs matmul(const InferContext& c);
Outputs gemm(const InferContext& c);
Outputs softmax(const InferContext& c);
Outputs rms_normalization(const InferContext& c);
Outputs layer_normalization(const InferContext& c);
Outputs rotary_embedding(const InferContext& c);
Outputs attention(const InferContext& c);
Outputs reduce(const InferContext& c);

Outputs matmul_transposed(const InferContext& c);
Outputs weight_gradient(const InferContext& c);
Outputs rms_normalization_gradient(const InferContext& c);
Outputs elementwise_gradient(const InferContext& c);
Outputs attention_gradient(const InferContext& c);
Outputs gather_gradient(const InferContext& c);
Outputs sum_to(const InferContext& c);
Outputs reshape_like(const InferContext& c);

Outputs gather(const InferContext& c);
Outputs reshape(const InferContext& c);
Outputs transpose(const InferContext& c);
Outputs concat(const InferContext& c);
Outputs slice(const InferContext& c);
Outputs split(const InferContext& c);
Outputs unsqueeze(const InferContext& c);
Outputs squeeze(const InferContext& c);
Outputs shape_of(const InferContext& c);

}  // namespace hone::ir::infer
