// Shape functions of products, normalisations, rotation and attention.
#include "ir/infer.h"

namespace hone::ir::infer {

Outputs matmul(const InferContext& c) {
  expect_float(c, 0);
  expect_dtype(c, 1, c.inputs[0]->dtype);
  const Shape &a = c.inputs[0]->shape, &b = c.inputs[1]->shape;
  if (a.empty() || b.empty()) reject(c, "a scalar cannot be multiplied as a matrix");
  const Dim& inner_b = b.size() == 1 ? b[0] : b[b.size() - 2];
  if (a.back() != inner_b)
    reject(c, "inner sizes differ: {} times {}", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]));
  const Shape batch_a(a.begin(), a.size() > 2 ? a.end() - 2 : a.begin());
  const Shape batch_b(b.begin(), b.size() > 2 ? b.end() - 2 : b.begin());
  Shape result = broadcast(c, batch_a, batch_b);
  if (a.size() > 1) result.push_back(a[a.size() - 2]);
  if (b.size() > 1) result.push_back(b.back());
  return {{c.inputs[0]->dtype, std::move(result)}};
}

Outputs gemm(const InferContext& c) {
  expect_float(c, 0);
  expect_dtype(c, 1, c.inputs[0]->dtype);
  const Shape &a = c.inputs[0]->shape, &b = c.inputs[1]->shape;
  if (a.size() != 2 || b.size() != 2) reject(c, "both factors must be matrices");
  const bool trans_a = c.node.int_or("transA", 0) != 0, trans_b = c.node.int_or("transB", 0) != 0;
  if (a[trans_a ? 0 : 1] != b[trans_b ? 1 : 0])
    reject(c, "inner sizes differ: {} times {}", describe(c, *c.inputs[0]), describe(c, *c.inputs[1]));
  const Shape result{a[trans_a ? 1 : 0], b[trans_b ? 0 : 1]};
  if (const Value* bias = optional_input(c, 2); bias && broadcast(c, bias->shape, result) != result)
    reject(c, "bias {} does not fit the product", describe(c, *bias));
  return {{c.inputs[0]->dtype, result}};
}

Outputs softmax(const InferContext& c) {
  axis_in(c, c.node.int_or("axis", -1), c.inputs[0]->shape.size());
  return unary_float(c);
}

namespace {

// Scale and bias of a normalisation broadcast to the normalised axes [axis, rank).
Outputs normalization(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  const size_t axis = axis_in(c, c.node.int_or("axis", -1), x.size());
  const Shape normalised(x.begin() + static_cast<std::ptrdiff_t>(axis), x.end());
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    if (!c.inputs[i]) continue;
    expect_float(c, i);
    if (broadcast(c, c.inputs[i]->shape, normalised) != normalised)
      reject(c, "{} does not fit the normalised axes of {}", describe(c, *c.inputs[i]), describe(c, *c.inputs[0]));
  }
  if (!(c.node.number_or("epsilon", 1e-5) >= 0)) reject(c, "epsilon must not be negative");
  return unary_float(c);
}

}  // namespace

Outputs rms_normalization(const InferContext& c) { return normalization(c); }
Outputs layer_normalization(const InferContext& c) { return normalization(c); }

// X [batch, heads, sequence, D] or, with num_heads, [batch, sequence, heads * D]. cos and sin: [positions, d/2] with
// position_ids [batch, sequence], else [batch, sequence, d/2]; d = rotary_embedding_dim, or D when that is 0.
Outputs rotary_embedding(const InferContext& c) {
  expect_float(c, 0);
  const Shape& x = c.inputs[0]->shape;
  const int64_t heads = c.node.int_or("num_heads", 0);
  if (x.size() != 3 && x.size() != 4) reject(c, "X {} must have rank 3 or 4", describe(c, *c.inputs[0]));
  if (!x.back().known()) reject(c, "the last size of X must be a number");
  int64_t head_size = x.back().size;
  if (x.size() == 3) {
    if (heads <= 0 || head_size % heads != 0) reject(c, "num_heads {} does not divide {}", heads, head_size);
    head_size /= heads;
  }
  const int64_t rotary = c.node.int_or("rotary_embedding_dim", 0);
  const int64_t width = rotary == 0 ? head_size : rotary;
  if (width <= 0 || width > head_size || width % 2 != 0)
    reject(c, "rotary width {} must be even and at most the head size {}", width, head_size);
  const Value* positions = optional_input(c, 3);
  const Dim& batch = x[0];
  const Dim& sequence = x.size() == 3 ? x[1] : x[2];
  if (positions) {
    expect_dtype(c, 3, DType::kI64);
    if (positions->shape != Shape{batch, sequence})
      reject(c, "position_ids {} must be [batch, sequence]", describe(c, *positions));
  }
  for (size_t i = 1; i <= 2; ++i) {
    expect_float(c, i);
    const Shape& cache = c.inputs[i]->shape;
    const bool fits = positions ? cache.size() == 2 : cache.size() == 3 && cache[0] == batch && cache[1] == sequence;
    if (!fits || cache.back() != Dim::of(width / 2))
      reject(c, "cache {} does not fit a rotary width of {}", describe(c, *c.inputs[i]), width);
  }
  return {{c.inputs[0]->dtype, x}};
}

namespace {

struct HeadsView {  // one of Q, K, V seen as [batch, heads, sequence, width]
  Dim batch, sequence;
  int64_t heads, width;
};

HeadsView heads_of(const InferContext& c, size_t input, const char* heads_key) {
  const Value& value = *c.inputs[input];
  const Shape& s = value.shape;
  expect_float(c, input);
  if (s.size() == 4) {
    if (!s[1].known() || !s[3].known()) reject(c, "heads and width of {} must be numbers", describe(c, value));
    return {s[0], s[2], s[1].size, s[3].size};
  }
  const int64_t heads = c.node.int_or(heads_key, 0);
  if (s.size() != 3 || !s[2].known()) reject(c, "{} must have rank 3 or 4", describe(c, value));
  if (heads <= 0 || s[2].size % heads != 0) reject(c, "{} {} does not divide {}", heads_key, heads, s[2].size);
  return {s[0], s[1], heads, s[2].size / heads};
}

}  // namespace

Outputs attention(const InferContext& c) {
  const HeadsView q = heads_of(c, 0, "q_num_heads"), k = heads_of(c, 1, "kv_num_heads"),
                  v = heads_of(c, 2, "kv_num_heads");
  if (q.batch != k.batch || k.batch != v.batch || k.sequence != v.sequence || k.heads != v.heads)
    reject(c, "batch, heads or length of Q, K and V differ");
  if (k.heads <= 0 || q.heads % k.heads != 0) reject(c, "{} query heads over {} key heads", q.heads, k.heads);
  if (q.width != k.width) reject(c, "Q has head size {}, K {}", q.width, k.width);
  if (c.node.int_or("sliding_window", 0) < 0) reject(c, "sliding_window must not be negative");
  if (c.node.number_or("softcap", 0) < 0) reject(c, "softcap must not be negative");

  const DType dtype = c.inputs[0]->dtype;
  Outputs outputs;
  if (c.inputs[0]->shape.size() == 4)
    outputs.push_back({dtype, {q.batch, Dim::of(q.heads), q.sequence, Dim::of(v.width)}});
  else
    outputs.push_back({dtype, {q.batch, q.sequence, c.graph.product(Dim::of(q.heads), Dim::of(v.width))}});

  const Value *past_key = optional_input(c, 4), *past_value = optional_input(c, 5);
  if (!past_key != !past_value) reject(c, "past_key and past_value come together");
  Dim total = k.sequence;
  if (past_key) {
    const Shape &pk = past_key->shape, &pv = past_value->shape;
    const bool fits = pk.size() == 4 && pv.size() == 4 && pk[0] == k.batch && pv[0] == k.batch &&
                      pk[1] == Dim::of(k.heads) && pv[1] == pk[1] && pk[2] == pv[2] && pk[3] == Dim::of(k.width) &&
                      pv[3] == Dim::of(v.width);
    if (!fits) reject(c, "past {} does not fit K and V", describe(c, *past_key));
    total = c.graph.sum(pk[2], k.sequence);
    outputs.push_back({past_key->dtype, {k.batch, Dim::of(k.heads), total, Dim::of(k.width)}});
    outputs.push_back({past_value->dtype, {k.batch, Dim::of(k.heads), total, Dim::of(v.width)}});
  }
  if (const Value* mask = optional_input(c, 3)) {
    const Shape full{q.batch, Dim::of(q.heads), q.sequence, total};
    if (broadcast(c, mask->shape, full) != full) reject(c, "mask {} does not fit the scores", describe(c, *mask));
  }
  return outputs;
}

// axes: input 1 (constant) or attribute (before opset 18); none reduces all, unless noop_with_empty_axes.
Outputs reduce(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  std::vector<int64_t> axes =
      optional_input(c, 1) ? required_ints(c, 1, "axes") : ints_attribute(c, "axes");
  std::vector<bool> reduced(x.size(), axes.empty() && c.node.int_or("noop_with_empty_axes", 0) == 0);
  for (const int64_t axis : axes) reduced[axis_in(c, axis, x.size())] = true;
  const bool keep = c.node.int_or("keepdims", 1) != 0;
  Shape result;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!reduced[i]) result.push_back(x[i]);
    else if (keep) result.push_back(Dim::of(1));
  }
  return {{c.inputs[0]->dtype, std::move(result)}};
}

}  // namespace hone::ir::infer
