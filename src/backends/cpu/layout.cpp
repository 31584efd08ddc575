// Ops that move elements: Gather (with decoding of stored rows), Transpose, Concat, Slice, Split, Cast,
// Shape.
#include <cstring>

#include "backends/cpu/cpu_op.h"
#include "base/error.h"
#include "kernels/matmul.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;

size_t element_bytes(const Buffer& x) {
  return tensor::format(x.format).block_bytes;
}
// Elements of the axes [from, to).
size_t span_of(const Buffer& x, int from, int to) {
  size_t n = 1;
  for (int i = from; i < to; ++i) n *= static_cast<size_t>(x.dims[i]);
  return n;
}
int axis_of(const ir::Graph& graph, const ir::Node& node, int64_t fallback) {
  const int64_t axis = node.int_or("axis", fallback);
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank_of(graph, node, 0)) : axis);
}

// Copies a box of `dims` between two strided layouts (strides in elements, may be negative).
void copy_box(const std::byte* src, const int64_t* src_strides, std::byte* dst, const int64_t* dst_strides,
              const int64_t* dims, int rank, size_t bytes) {
  int64_t at[6] = {};
  for (int i = 0; i < rank; ++i)
    if (dims[i] == 0) return;
  const int inner = rank - 1;
  const bool dense = rank > 0 && src_strides[inner] == 1 && dst_strides[inner] == 1;
  for (;;) {
    int64_t s = 0, d = 0;
    for (int i = 0; i < inner; ++i) s += at[i] * src_strides[i], d += at[i] * dst_strides[i];
    const auto size = static_cast<int64_t>(bytes);
    if (rank == 0) {
      std::memcpy(dst, src, bytes);
    } else if (dense) {
      std::memcpy(dst + d * size, src + s * size, static_cast<size_t>(dims[inner]) * bytes);
    } else {
      for (int64_t j = 0; j < dims[inner]; ++j)
        std::memcpy(dst + (d + j * dst_strides[inner]) * size, src + (s + j * src_strides[inner]) * size,
                    bytes);
    }
    int i = inner - 1;
    while (i >= 0 && ++at[i] == dims[i]) at[i--] = 0;
    if (i < 0) return;
  }
}
void dense_strides(const Buffer& x, int64_t* strides) {
  int64_t stride = 1;
  for (int i = x.rank - 1; i >= 0; --i) strides[i] = stride, stride *= x.dims[i];
}

class Gather : public exec::Kernel {
 public:
  Gather(int axis, std::string name) : axis_(axis), name_(std::move(name)) {}
  bool reads_whole(size_t input) const override { return input != 0; }

  void run(const KernelContext& c) override {
    const Buffer &data = c.inputs[0], &indices = c.inputs[1], &y = c.outputs[0];
    const size_t outer = span_of(data, 0, axis_), inner = span_of(data, axis_ + 1, data.rank);
    const size_t count = static_cast<size_t>(indices.elements());
    const auto& f = tensor::format(data.format);
    const size_t row_bytes = inner / f.block * f.block_bytes;
    const bool decoded = data.format != y.format;
    const size_t out_bytes = decoded ? inner * sizeof(float) : row_bytes;
    for_items(c.pool, outer * count, inner, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const size_t row =
            i / count * static_cast<size_t>(data.dims[axis_]) + index(indices, i % count, data.dims[axis_]);
        const std::byte* src = data.data + row * row_bytes;
        std::byte* dst = y.data + i * out_bytes;
        if (decoded)
          kernels::decode(data.format, src, reinterpret_cast<float*>(dst), inner);
        else
          std::memcpy(dst, src, row_bytes);
      }
    });
  }

 private:
  size_t index(const Buffer& indices, size_t i, int64_t size) const {
    int64_t value = 0;
    if (indices.format == tensor::FormatId::kI32)
      value = reinterpret_cast<const int32_t*>(indices.data)[i];
    else
      value = indices.i64()[i];
    if (value < -size || value >= size)
      fail(ErrorKind::kBadInput, "[cpu] node '{}': index {} is outside a table of {}", name_, value, size);
    return static_cast<size_t>(value < 0 ? value + size : value);
  }
  int axis_;
  std::string name_;
};

bool supports_gather(const ir::Graph& graph, const ir::Node& node) {
  const ir::Constant* data = graph.constant_of(node.inputs[0]);
  if (!is_plain(graph, node, 1)) return false;
  if (is_plain(graph, node, 0)) return true;
  // Stored rows: whole blocks per index.
  if (!data || data->transposed || tensor::format(data->format).decode == nullptr) return false;
  const auto& shape = graph.value(node.inputs[0]).shape;
  uint64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis_of(graph, node, 0)) + 1; i < shape.size(); ++i)
    inner *= static_cast<uint64_t>(shape[i].size);
  return graph.value(node.inputs[0]).dtype == tensor::DType::kF32 && tensor::divides(data->format, inner);
}
std::unique_ptr<exec::Kernel> gather(const ir::Graph& graph, const ir::Node& node) {
  return std::make_unique<Gather>(axis_of(graph, node, 0), node.name);
}

class Transpose : public exec::Kernel {
 public:
  explicit Transpose(std::vector<int64_t> order) : order_(std::move(order)) {}
  void run(const KernelContext& c) override {
    const Buffer &x = c.inputs[0], &y = c.outputs[0];
    int64_t own[6], from[6], to[6];
    dense_strides(x, own);
    dense_strides(y, to);
    for (int i = 0; i < y.rank; ++i) from[i] = own[order_[static_cast<size_t>(i)]];
    copy_box(x.data, from, y.data, to, y.dims, y.rank, element_bytes(x));
  }

 private:
  std::vector<int64_t> order_;
};
std::unique_ptr<exec::Kernel> transpose(const ir::Graph& graph, const ir::Node& node) {
  std::vector<int64_t> order;
  if (const ir::Attribute* perm = node.find("perm")) order = std::get<std::vector<int64_t>>(*perm);
  if (order.empty())
    for (size_t i = rank_of(graph, node, 0); i-- > 0;) order.push_back(static_cast<int64_t>(i));
  return std::make_unique<Transpose>(std::move(order));
}

// Concat and Split walk the pieces along one axis; `joining` tells the direction.
class Pieces : public exec::Kernel {
 public:
  Pieces(int axis, bool joining) : axis_(axis), joining_(joining) {}
  void run(const KernelContext& c) override {
    const Buffer& whole = joining_ ? c.outputs[0] : c.inputs[0];
    const std::span<const Buffer> pieces = joining_ ? c.inputs : c.outputs;
    const size_t outer = span_of(whole, 0, axis_),
                 inner = span_of(whole, axis_ + 1, whole.rank) * element_bytes(whole);
    size_t at = 0;
    for (const Buffer& piece : pieces) {
      const size_t bytes = static_cast<size_t>(piece.dims[axis_]) * inner;
      for (size_t o = 0; o < outer; ++o) {
        std::byte* w = whole.data + o * static_cast<size_t>(whole.dims[axis_]) * inner + at;
        std::byte* p = piece.data + o * bytes;
        std::memcpy(joining_ ? w : p, joining_ ? p : w, bytes);
      }
      at += bytes;
    }
  }

 private:
  int axis_;
  bool joining_;
};
std::unique_ptr<exec::Kernel> concat(const ir::Graph& graph, const ir::Node& node) {
  return std::make_unique<Pieces>(axis_of(graph, node, 0), true);
}
std::unique_ptr<exec::Kernel> split(const ir::Graph& graph, const ir::Node& node) {
  return std::make_unique<Pieces>(axis_of(graph, node, 0), false);
}
bool supports_pieces(const ir::Graph& graph, const ir::Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (has_input(node, i) && !is_plain(graph, node, i)) return false;
  return true;
}

// starts, ends, axes, steps are constants; the output's shape is already inferred, so only starts and steps
// matter.
class Slice : public exec::Kernel {
 public:
  void run(const KernelContext& c) override {
    const Buffer &x = c.inputs[0], &y = c.outputs[0];
    int64_t from[6], to[6], start = 0;
    dense_strides(x, from);
    dense_strides(y, to);
    const int64_t count = c.inputs[1].elements();
    for (int64_t i = 0; i < count; ++i) {
      int64_t axis = c.inputs.size() > 3 && c.inputs[3].data ? number(c.inputs[3], i) : i;
      if (axis < 0) axis += x.rank;
      const int64_t step = c.inputs.size() > 4 && c.inputs[4].data ? number(c.inputs[4], i) : 1;
      int64_t first = number(c.inputs[1], i);
      if (first < 0) first += x.dims[axis];
      first = std::clamp<int64_t>(first, 0, step > 0 ? x.dims[axis] : x.dims[axis] - 1);
      if (y.dims[axis] > 0 && first + (y.dims[axis] - 1) * step >= x.dims[axis])
        fail(ErrorKind::kBadInput, "[cpu] slice of {} elements from {} on an axis of {}", y.dims[axis], first,
             x.dims[axis]);
      start += first * from[axis];
      from[axis] *= step;
    }
    copy_box(x.data + start * static_cast<int64_t>(element_bytes(x)), from, y.data, to, y.dims, y.rank,
             element_bytes(x));
  }

 private:
  static int64_t number(const Buffer& x, int64_t i) {
    if (x.format == tensor::FormatId::kI32) return reinterpret_cast<const int32_t*>(x.data)[i];
    return x.i64()[i];
  }
};
std::unique_ptr<exec::Kernel> slice(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Slice>();
}

// Between F32 and every other plain type; floats become integers by truncation, as in ONNX.
class Cast : public exec::Kernel {
 public:
  void run(const KernelContext& c) override {
    const Buffer &x = c.inputs[0], &y = c.outputs[0];
    const size_t n = static_cast<size_t>(y.elements());
    if (x.format == y.format) {
      std::memcpy(y.data, x.data, n * element_bytes(x));
    } else if (y.format == tensor::FormatId::kF32) {
      tensor::format(x.format).decode(x.data, y.f32(), n);
    } else {
      for (size_t i = 0; i < n; ++i) reinterpret_cast<int64_t*>(y.data)[i] = static_cast<int64_t>(x.f32()[i]);
    }
  }
};
bool supports_cast(const ir::Graph& graph, const ir::Node& node) {
  if (!is_plain(graph, node, 0)) return false;
  const tensor::DType from = graph.value(node.inputs[0]).dtype, to = graph.value(node.outputs[0]).dtype;
  if (from == to) return true;
  if (to == tensor::DType::kF32)
    return tensor::format(exec::Buffer{}.format).decode && from != tensor::DType::kC64;
  return from == tensor::DType::kF32 && to == tensor::DType::kI64;
}
std::unique_ptr<exec::Kernel> cast(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Cast>();
}

class ShapeOf : public exec::Kernel {
 public:
  ShapeOf(int64_t start) : start_(start) {}
  void run(const KernelContext& c) override {
    for (int64_t i = 0; i < c.outputs[0].elements(); ++i)
      c.outputs[0].i64()[i] = c.inputs[0].dims[start_ + i];
  }

 private:
  int64_t start_;
};
bool supports_shape(const ir::Graph&, const ir::Node&) {
  return true;
}
std::unique_ptr<exec::Kernel> shape_of(const ir::Graph& graph, const ir::Node& node) {
  const int64_t rank = static_cast<int64_t>(rank_of(graph, node, 0)), start = node.int_or("start", 0);
  return std::make_unique<ShapeOf>(std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank));
}

}  // namespace

std::span<const CpuOp> layout_ops() {
  static constexpr CpuOp ops[] = {
      {"Gather", supports_gather, gather}, {"Transpose", supports_pieces, transpose},
      {"Concat", supports_pieces, concat}, {"Split", supports_pieces, split},
      {"Slice", supports_pieces, slice},   {"Cast", supports_cast, cast},
      {"Shape", supports_shape, shape_of},
  };
  return ops;
}

}  // namespace hone::backends
