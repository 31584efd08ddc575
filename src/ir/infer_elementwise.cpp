// Shape helpers, and ops that work element by element with NumPy broadcasting.
#include <cstring>

#include "ir/infer.h"

namespace hone::ir::infer {

const Value* optional_input(const InferContext& c, size_t i) { return i < c.inputs.size() ? c.inputs[i] : nullptr; }

std::string describe(const InferContext& c, const Value& value) { return type_text(c.graph, value.dtype, value.shape); }

void expect_dtype(const InferContext& c, size_t input, DType dtype) {
  const Value& value = *c.inputs[input];
  if (value.dtype != dtype)
    reject(c, "input {} '{}' is {}, must be {}", input, value.name, tensor::dtype_name(value.dtype),
           tensor::dtype_name(dtype));
}

void expect_float(const InferContext& c, size_t input) {
  const Value& value = *c.inputs[input];
  const DType d = value.dtype;
  if (d != DType::kF32 && d != DType::kF16 && d != DType::kBF16 && d != DType::kF64)
    reject(c, "input {} '{}' is {}, must be a float type", input, value.name, tensor::dtype_name(d));
}

size_t axis_in(const InferContext& c, int64_t axis, size_t rank) {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) reject(c, "axis {} is out of range for rank {}", axis, rank);
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

Shape broadcast(const InferContext& c, const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const size_t offset = longer.size() - shorter.size();
  Shape result = longer;
  for (size_t i = 0; i < shorter.size(); ++i) {
    Dim& into = result[offset + i];
    if (into == shorter[i] || shorter[i] == Dim::of(1)) continue;
    if (into != Dim::of(1))
      reject(c, "{} and {} do not broadcast", type_text(c.graph, DType::kF32, a), type_text(c.graph, DType::kF32, b));
    into = shorter[i];
  }
  return result;
}

std::optional<std::vector<int64_t>> constant_ints(const InferContext& c, size_t input) {
  const Value* value = optional_input(c, input);
  if (!value || value->constant < 0 || value->dtype != DType::kI64) return std::nullopt;
  const Constant& constant = c.graph.constants()[static_cast<size_t>(value->constant)];
  if (value->shape.size() > 1 || constant.lazy()) return std::nullopt;
  const size_t count = value->shape.empty() ? 1 : static_cast<size_t>(value->shape[0].size);
  if (constant.bytes.size() != count * sizeof(int64_t)) return std::nullopt;
  std::vector<int64_t> numbers(count);
  if (count) std::memcpy(numbers.data(), constant.bytes.data(), constant.bytes.size());
  return numbers;
}

std::vector<int64_t> required_ints(const InferContext& c, size_t input, const char* what) {
  auto numbers = constant_ints(c, input);
  if (!numbers) reject(c, "{} must be a constant of type I64 and rank 0 or 1", what);
  return std::move(*numbers);
}

std::vector<int64_t> ints_attribute(const InferContext& c, const char* key) {
  const Attribute* attribute = c.node.find(key);
  if (!attribute) return {};
  if (const auto* list = std::get_if<std::vector<int64_t>>(attribute)) return *list;
  reject(c, "attribute '{}' must be a list of integers", key);
}

DType dtype_from_onnx(const InferContext& c, int64_t code) {
  switch (code) {  // the numbering of the file format, not of our table
    case 1: return DType::kF32;
    case 2: return DType::kU8;
    case 3: return DType::kI8;
    case 4: return DType::kU16;
    case 5: return DType::kI16;
    case 6: return DType::kI32;
    case 7: return DType::kI64;
    case 9: return DType::kBool;
    case 10: return DType::kF16;
    case 11: return DType::kF64;
    case 12: return DType::kU32;
    case 13: return DType::kU64;
    case 16: return DType::kBF16;
    default: reject(c, "element type {} is not supported", code);
  }
}

Outputs unary_float(const InferContext& c) {
  expect_float(c, 0);
  return same_as_input(c);
}

Outputs same_as_input(const InferContext& c) { return {{c.inputs[0]->dtype, c.inputs[0]->shape}}; }

Outputs binary(const InferContext& c) {
  expect_dtype(c, 1, c.inputs[0]->dtype);
  return {{c.inputs[0]->dtype, broadcast(c, c.inputs[0]->shape, c.inputs[1]->shape)}};
}

Outputs where(const InferContext& c) {
  expect_dtype(c, 0, DType::kBool);
  expect_dtype(c, 2, c.inputs[1]->dtype);
  const Shape branches = broadcast(c, c.inputs[1]->shape, c.inputs[2]->shape);
  return {{c.inputs[1]->dtype, broadcast(c, c.inputs[0]->shape, branches)}};
}

Outputs cast(const InferContext& c) {
  if (!c.node.find("to")) reject(c, "attribute 'to' is missing");
  return {{dtype_from_onnx(c, c.node.int_or("to", 0)), c.inputs[0]->shape}};
}

Outputs quantize_linear(const InferContext& c) {
  expect_float(c, 0);
  expect_float(c, 1);
  const Value* zero_point = optional_input(c, 2);
  const int64_t code = c.node.int_or("output_dtype", 0);
  DType result = zero_point ? zero_point->dtype : DType::kU8;
  if (code != 0) result = dtype_from_onnx(c, code);
  if (zero_point) expect_dtype(c, 2, result);
  return {{result, c.inputs[0]->shape}};
}

Outputs dequantize_linear(const InferContext& c) {
  expect_float(c, 1);
  if (optional_input(c, 2)) expect_dtype(c, 2, c.inputs[0]->dtype);
  return {{c.inputs[1]->dtype, c.inputs[0]->shape}};
}

}  // namespace hone::ir::infer
