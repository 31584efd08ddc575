// Shape functions of the ops that reverse-mode differentiation adds (module train). They exist for what ONNX
// has no op for; each is the vector-Jacobian product of the op it is named after.
#include <algorithm>

#include "ir/infer.h"

namespace hone::ir::infer {

namespace {

void expect_same(const InferContext& c, size_t a, size_t b) {
  if (c.inputs[a]->shape != c.inputs[b]->shape)
    reject(c, "{} and {} must have one shape", describe(c, *c.inputs[a]), describe(c, *c.inputs[b]));
}

}  // namespace

// a [.., n] times the transpose of b [k, n]: [.., k].
Outputs matmul_transposed(const InferContext& c) {
  expect_float(c, 0);
  expect_dtype(c, 1, c.inputs[0]->dtype);
  Shape a = c.inputs[0]->shape;
  const Shape& b = c.inputs[1]->shape;
  if (a.empty() || b.size() != 2 || a.back() != b[1])
    reject(c, "{} times the transpose of {} does not fit", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]));
  a.back() = b[0];
  return {{c.inputs[0]->dtype, std::move(a)}};
}

// x [.., k] and dy [.., n] of the same leading axes: their sum of outer products [k, n].
Outputs weight_gradient(const InferContext& c) {
  expect_float(c, 0);
  expect_dtype(c, 1, c.inputs[0]->dtype);
  const Shape &x = c.inputs[0]->shape, &dy = c.inputs[1]->shape;
  if (x.empty() || x.size() != dy.size() || !std::equal(x.begin(), x.end() - 1, dy.begin()))
    reject(c, "{} and {} differ in their leading axes", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]));
  return {{c.inputs[0]->dtype, {x.back(), dy.back()}}};
}

// dy, x, scale: dx and the gradient of the scale.
Outputs rms_normalization_gradient(const InferContext& c) {
  expect_float(c, 0);
  expect_same(c, 0, 1);
  axis_in(c, c.node.int_or("axis", -1), c.inputs[1]->shape.size());
  return {{c.inputs[1]->dtype, c.inputs[1]->shape}, {c.inputs[2]->dtype, c.inputs[2]->shape}};
}

// dy and the op's input (Swish, Gelu) or output (Softmax) of the same shape: dx.
Outputs elementwise_gradient(const InferContext& c) {
  expect_float(c, 0);
  expect_same(c, 0, 1);
  return {{c.inputs[1]->dtype, c.inputs[1]->shape}};
}

// dy, Q, K, V: dQ, dK, dV. Attributes as of Attention; no past, no mask.
Outputs attention_gradient(const InferContext& c) {
  for (size_t i = 0; i < 4; ++i) expect_float(c, i);
  return {{c.inputs[1]->dtype, c.inputs[1]->shape},
          {c.inputs[2]->dtype, c.inputs[2]->shape},
          {c.inputs[3]->dtype, c.inputs[3]->shape}};
}

// dy, indices, data: zeros of data's shape with the rows of dy added at the indices of axis 0. The values of
// data are not read.
Outputs gather_gradient(const InferContext& c) {
  expect_float(c, 0);
  expect_dtype(c, 1, DType::kI64);
  const Shape &dy = c.inputs[0]->shape, &at = c.inputs[1]->shape, &data = c.inputs[2]->shape;
  Shape wanted(at);
  if (!data.empty()) wanted.insert(wanted.end(), data.begin() + 1, data.end());
  if (data.empty() || dy != wanted)
    reject(c, "{} is not what indices {} take of {}", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]),
           describe(c, *c.inputs[2]));
  return {{c.inputs[0]->dtype, data}};
}

// dy summed over the axes along which `like` was repeated. The values of like are not read.
Outputs sum_to(const InferContext& c) {
  expect_float(c, 0);
  const Shape &dy = c.inputs[0]->shape, &like = c.inputs[1]->shape;
  if (broadcast(c, like, dy) != dy)
    reject(c, "{} does not broadcast to {}", describe(c, *c.inputs[1]), describe(c, *c.inputs[0]));
  return {{c.inputs[0]->dtype, like}};
}

// x under the shape of `like`, whose values are not read.
Outputs reshape_like(const InferContext& c) {
  const Shape &x = c.inputs[0]->shape, &like = c.inputs[1]->shape;
  const auto known = [](const Shape& s) {
    return std::all_of(s.begin(), s.end(), [](const Dim& d) { return d.known(); });
  };
  const auto count = [](const Shape& s) {
    int64_t n = 1;
    for (const Dim& d : s) n *= d.size;
    return n;
  };
  if (known(x) && known(like) && count(x) != count(like))
    reject(c, "{} cannot take the shape of {}", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]));
  return {{c.inputs[0]->dtype, like}};
}

}  // namespace hone::ir::infer
