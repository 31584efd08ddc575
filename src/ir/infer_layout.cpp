// Shape functions of ops that move elements: Gather, Reshape, Concat, Slice, Split and friends.
#include <algorithm>
#include <limits>

#include "ir/infer.h"

namespace hone::ir::infer {

Outputs gather(const InferContext& c) {
  const Shape &data = c.inputs[0]->shape, &indices = c.inputs[1]->shape;
  const DType index_type = c.inputs[1]->dtype;
  if (index_type != DType::kI64 && index_type != DType::kI32) reject(c, "indices must be I64 or I32");
  const size_t axis = axis_in(c, c.node.int_or("axis", 0), data.size());
  Shape result(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(axis));
  result.insert(result.end(), indices.begin(), indices.end());
  result.insert(result.end(), data.begin() + static_cast<std::ptrdiff_t>(axis) + 1, data.end());
  return {{c.inputs[0]->dtype, std::move(result)}};
}

namespace {

// A product of sizes taken apart: number and sorted free symbols.
struct Factors {
  int64_t number = 1;
  std::vector<SymbolId> symbols;
};

void multiply(const InferContext& c, const Dim& dim, Factors& into) {
  int64_t number = dim.size;
  if (!dim.known()) {
    const SymbolRule& rule = c.graph.rule(dim.symbol);
    if (rule.kind != SymbolRule::Kind::kProduct) {
      into.symbols.push_back(dim.symbol);
      return;
    }
    number = rule.constant;
    into.symbols.insert(into.symbols.end(), rule.terms.begin(), rule.terms.end());
  }
  if (__builtin_mul_overflow(into.number, number, &into.number)) reject(c, "the number of elements overflows");
}

Factors factors(const InferContext& c, const Shape& shape) {
  Factors result;
  for (const Dim& dim : shape) multiply(c, dim, result);
  std::sort(result.symbols.begin(), result.symbols.end());
  return result;
}

}  // namespace

// shape: constant; 0 copies the input's size (unless allowzero), one -1 takes what is left.
Outputs reshape(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  const std::vector<int64_t> target = required_ints(c, 1, "shape");
  const bool allow_zero = c.node.int_or("allowzero", 0) != 0;
  Shape result;
  std::optional<size_t> free_axis;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] < -1) reject(c, "size {} in the shape", target[i]);
    if (target[i] == -1 && free_axis) reject(c, "more than one -1 in the shape");
    if (target[i] == -1) free_axis = i;
    if (target[i] == 0 && !allow_zero) {
      if (i >= x.size()) reject(c, "0 at axis {} of the shape has no counterpart", i);
      result.push_back(x[i]);
    } else {
      result.push_back(Dim::of(target[i] == -1 ? 1 : target[i]));
    }
  }
  const Factors have = factors(c, x), given = factors(c, result);
  std::vector<SymbolId> left;
  const bool contained = std::includes(have.symbols.begin(), have.symbols.end(), given.symbols.begin(), given.symbols.end());
  std::set_difference(have.symbols.begin(), have.symbols.end(), given.symbols.begin(), given.symbols.end(),
                      std::back_inserter(left));
  const bool fits = contained && (free_axis ? given.number > 0 && have.number % given.number == 0
                                            : left.empty() && have.number == given.number);
  if (!fits) reject(c, "{} cannot become the shape asked for", describe(c, *c.inputs[0]));
  if (free_axis) {
    Dim rest = Dim::of(have.number / given.number);
    for (const SymbolId symbol : left) rest = c.graph.product(rest, Dim::sym(symbol));
    result[*free_axis] = rest;
  }
  return {{c.inputs[0]->dtype, std::move(result)}};
}

Outputs transpose(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  std::vector<int64_t> order = ints_attribute(c, "perm");
  if (order.empty())
    for (size_t i = x.size(); i-- > 0;) order.push_back(static_cast<int64_t>(i));
  if (order.size() != x.size()) reject(c, "perm has {} entries for rank {}", order.size(), x.size());
  std::vector<bool> seen(x.size(), false);
  Shape result;
  for (const int64_t axis : order) {
    if (axis < 0 || axis >= static_cast<int64_t>(x.size()) || seen[static_cast<size_t>(axis)])
      reject(c, "perm is no permutation");
    seen[static_cast<size_t>(axis)] = true;
    result.push_back(x[static_cast<size_t>(axis)]);
  }
  return {{c.inputs[0]->dtype, std::move(result)}};
}

Outputs concat(const InferContext& c) {
  if (!c.node.find("axis")) reject(c, "attribute 'axis' is missing");
  if (std::find(c.inputs.begin(), c.inputs.end(), nullptr) != c.inputs.end()) reject(c, "an input is absent");
  Shape result = c.inputs[0]->shape;
  const size_t axis = axis_in(c, c.node.int_or("axis", 0), result.size());
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    expect_dtype(c, i, c.inputs[0]->dtype);
    Shape next = c.inputs[i]->shape;
    if (next.size() != result.size()) reject(c, "ranks differ");
    const Dim joined = c.graph.sum(result[axis], next[axis]);
    next[axis] = result[axis];
    if (next != result) reject(c, "{} does not fit beside {}", describe(c, *c.inputs[i]), describe(c, *c.inputs[0]));
    result[axis] = joined;
  }
  return {{c.inputs[0]->dtype, std::move(result)}};
}

namespace {

constexpr int64_t kOpenEnd = std::numeric_limits<int32_t>::max();  // published graphs use this or int64's

// Size of [start : end : step] over a number, as ONNX clamps.
int64_t slice_size(int64_t size, int64_t start, int64_t end, int64_t step) {
  if (size == 0) return 0;
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  start = std::clamp(start < 0 ? start + size : start, int64_t{0}, high);
  end = std::clamp(end < 0 ? end + size : end, low, high);
  const int64_t span = step > 0 ? end - start : start - end;
  const int64_t stride = step > 0 ? step : -step;
  return span <= 0 ? 0 : (span + stride - 1) / stride;
}

// Over a symbol only forms whose size is an expression: [n:], [-n:], [:n], [:-n]. The axis must hold the
// elements asked for at run time.
Dim slice_symbol(const InferContext& c, const Dim& dim, int64_t start, int64_t end, int64_t step) {
  if (step != 1) reject(c, "a symbolic axis can be sliced with step 1 only");
  const bool open = end >= kOpenEnd;
  if (open && start >= 0) return start == 0 ? dim : c.graph.sum(dim, Dim::of(-start));
  if (open) return Dim::of(-start);
  if (start >= 0 && end >= start) return Dim::of(end - start);
  if (start < 0 && end < 0 && end >= start) return Dim::of(end - start);
  if (start >= 0 && end < 0) return c.graph.sum(dim, Dim::of(end - start));
  reject(c, "slice [{}:{}] of a symbolic axis is not supported", start, end);
}

}  // namespace

Outputs slice(const InferContext& c) {
  Shape result = c.inputs[0]->shape;
  const std::vector<int64_t> starts = required_ints(c, 1, "starts"), ends = required_ints(c, 2, "ends");
  std::vector<int64_t> axes, steps;
  if (optional_input(c, 3)) axes = required_ints(c, 3, "axes");
  else
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (optional_input(c, 4)) steps = required_ints(c, 4, "steps");
  else steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    reject(c, "starts, ends, axes and steps differ in length");
  constexpr int64_t kLimit = int64_t{1} << 62;  // keeps the arithmetic below inside 64 bits
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t start = std::clamp(starts[i], -kLimit, kLimit), end = std::clamp(ends[i], -kLimit, kLimit);
    const int64_t step = std::clamp(steps[i], -kLimit, kLimit);
    if (step == 0) reject(c, "step 0");
    Dim& dim = result[axis_in(c, axes[i], result.size())];
    dim = dim.known() ? Dim::of(slice_size(dim.size, start, end, step)) : slice_symbol(c, dim, start, end, step);
  }
  return {{c.inputs[0]->dtype, std::move(result)}};
}

// Sizes: constant input 1, or num_outputs equal parts (the last may be smaller).
Outputs split(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  const size_t axis = axis_in(c, c.node.int_or("axis", 0), x.size());
  if (!x[axis].known()) reject(c, "the split axis must have a number as size");
  std::vector<int64_t> sizes;
  if (optional_input(c, 1)) {
    sizes = required_ints(c, 1, "split");
  } else {
    const int64_t count = c.node.int_or("num_outputs", 0);
    if (count <= 0 || count > std::clamp<int64_t>(x[axis].size, 1, 1 << 16)) reject(c, "num_outputs {} for size {}", count, x[axis].size);
    const int64_t part = (x[axis].size + count - 1) / count;
    for (int64_t i = 0; i < count; ++i) sizes.push_back(std::clamp(x[axis].size - i * part, int64_t{0}, part));
  }
  int64_t left = x[axis].size;
  Outputs outputs;
  for (const int64_t size : sizes) {
    if (size < 0 || size > left) reject(c, "parts do not add up to {}", x[axis].size);
    left -= size;
    outputs.push_back({c.inputs[0]->dtype, x});
    outputs.back().shape[axis] = Dim::of(size);
  }
  if (left != 0 || outputs.empty()) reject(c, "parts do not add up to {}", x[axis].size);
  return outputs;
}

Outputs unsqueeze(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  const std::vector<int64_t> axes = required_ints(c, 1, "axes");
  const size_t rank = x.size() + axes.size();
  std::vector<bool> added(rank, false);
  for (const int64_t axis : axes) {
    const size_t at = axis_in(c, axis, rank);
    if (added[at]) reject(c, "axis {} is named twice", axis);
    added[at] = true;
  }
  Shape result;
  for (size_t i = 0, next = 0; i < rank; ++i) result.push_back(added[i] ? Dim::of(1) : x[next++]);
  return {{c.inputs[0]->dtype, std::move(result)}};
}

Outputs squeeze(const InferContext& c) {
  const Shape& x = c.inputs[0]->shape;
  const bool all = !optional_input(c, 1);
  std::vector<bool> dropped(x.size(), false);
  if (all) {
    for (size_t i = 0; i < x.size(); ++i) dropped[i] = x[i] == Dim::of(1);
  } else {
    for (const int64_t axis : required_ints(c, 1, "axes")) {
      const size_t at = axis_in(c, axis, x.size());
      if (x[at] != Dim::of(1)) reject(c, "axis {} of {} is not 1", axis, describe(c, *c.inputs[0]));
      dropped[at] = true;
    }
  }
  Shape result;
  for (size_t i = 0; i < x.size(); ++i)
    if (!dropped[i]) result.push_back(x[i]);
  return {{c.inputs[0]->dtype, std::move(result)}};
}

Outputs shape_of(const InferContext& c) {
  const auto rank = static_cast<int64_t>(c.inputs[0]->shape.size());
  auto place = [&](int64_t at) { return std::clamp(at < 0 ? at + rank : at, int64_t{0}, rank); };
  const int64_t start = place(c.node.int_or("start", 0)), end = place(c.node.int_or("end", rank));
  return {{DType::kI64, {Dim::of(std::max<int64_t>(end - start, 0))}}};
}

}  // namespace hone::ir::infer
