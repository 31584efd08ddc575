// Ops on single elements: binary with broadcasting, and functions of one value.
#include <cmath>

#include "backends/cpu/cpu_op.h"

namespace hone::backends {

namespace {

using exec::Buffer;
using exec::KernelContext;
using kernels::IsaTable;
using BinaryRow = void (*)(const float* a, const float* b, float* y, size_t n);

// Strides of x (in elements) along the axes of y; 0 where x is repeated.
void broadcast_strides(const Buffer& x, const Buffer& y, size_t* strides) {
  size_t stride = 1;
  for (int axis = y.rank - 1; axis >= 0; --axis) {
    const int own = axis - (y.rank - x.rank);
    strides[axis] = own < 0 || x.dims[own] == 1 ? 0 : stride;
    if (own >= 0) stride *= static_cast<size_t>(x.dims[own]);
  }
}

class Binary : public exec::Kernel {
 public:
  explicit Binary(BinaryRow row) : row_(row) {}

  void run(const KernelContext& c) override {
    const Buffer &a = c.inputs[0], &b = c.inputs[1], &y = c.outputs[0];
    const size_t n = static_cast<size_t>(y.elements());
    if (n == 0) return;
    const bool same_a = static_cast<size_t>(a.elements()) == n,
               same_b = static_cast<size_t>(b.elements()) == n;
    if (same_a && same_b)
      return for_items(c.pool, n, 1, [&](size_t begin, size_t end) {
        row_(a.f32() + begin, b.f32() + begin, y.f32() + begin, end - begin);
      });
    // The inner axis in one go where neither side repeats along it.
    size_t sa[6], sb[6];
    broadcast_strides(a, y, sa);
    broadcast_strides(b, y, sb);
    const int inner = y.rank - 1;
    const size_t width = static_cast<size_t>(y.dims[inner]);
    for_items(c.pool, n / width, width, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        const float *pa = a.f32() + offset(y, sa, r), *pb = b.f32() + offset(y, sb, r);
        float* py = y.f32() + r * width;
        if (sa[inner] && sb[inner]) {
          row_(pa, pb, py, width);
        } else {
          repeated_row(pa, sa[inner], pb, sb[inner], py, width);
        }
      }
    });
  }

 private:
  // A side that repeats along the row is written out for a piece of it, so that the vectorised row function runs.
  void repeated_row(const float* a, size_t step_a, const float* b, size_t step_b, float* y, size_t n) const {
    constexpr size_t kPiece = 256;
    float left[kPiece], right[kPiece];
    const size_t piece = std::min(kPiece, n);
    if (!step_a) std::fill_n(left, piece, *a);
    if (!step_b) std::fill_n(right, piece, *b);
    for (size_t i = 0; i < n; i += piece)
      row_(step_a ? a + i : left, step_b ? b + i : right, y + i, std::min(piece, n - i));
  }
  static size_t offset(const Buffer& y, const size_t* strides, size_t row) {
    size_t at = 0;
    for (int axis = y.rank - 2; axis >= 0; --axis) {
      const auto size = static_cast<size_t>(y.dims[axis]);
      at += row % size * strides[axis];
      row /= size;
    }
    return at;
  }
  BinaryRow row_;
};

using UnaryRow = void (*)(const IsaTable& t, const float* x, float* y, size_t n, float parameter);

class Unary : public exec::Kernel {
 public:
  Unary(UnaryRow row, float parameter) : row_(row), parameter_(parameter) {}
  void run(const KernelContext& c) override {
    const IsaTable& t = kernels::active_table();
    const float* x = c.inputs[0].f32();
    float* y = c.outputs[0].f32();
    for_items(c.pool, static_cast<size_t>(c.outputs[0].elements()), 4,
              [&](size_t begin, size_t end) { row_(t, x + begin, y + begin, end - begin, parameter_); });
  }

 private:
  UnaryRow row_;
  float parameter_;
};

void pow_row(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = std::pow(a[i], b[i]);
}

template <BinaryRow IsaTable::*row>
std::unique_ptr<exec::Kernel> binary(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Binary>(kernels::active_table().*row);
}
std::unique_ptr<exec::Kernel> power(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Binary>(pow_row);
}

template <UnaryRow row>
std::unique_ptr<exec::Kernel> unary(const ir::Graph&, const ir::Node&) {
  return std::make_unique<Unary>(row, 0.0f);
}
void sigmoid_row(const IsaTable& t, const float* x, float* y, size_t n, float) {
  t.sigmoid(x, y, n);
}
void tanh_row(const IsaTable& t, const float* x, float* y, size_t n, float) {
  t.tanh(x, y, n);
}
void relu_row(const IsaTable& t, const float* x, float* y, size_t n, float) {
  t.relu(x, y, n);
}
void exp_row(const IsaTable& t, const float* x, float* y, size_t n, float) {
  t.exp(x, y, n);
}
void swish_row(const IsaTable& t, const float* x, float* y, size_t n, float alpha) {
  t.swish(x, y, n, alpha);
}
void gelu_row(const IsaTable& t, const float* x, float* y, size_t n, float form) {
  t.gelu(x, y, n, form != 0);
}
void sqrt_row(const IsaTable&, const float* x, float* y, size_t n, float) {
  for (size_t i = 0; i < n; ++i) y[i] = std::sqrt(x[i]);
}

std::unique_ptr<exec::Kernel> swish(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<Unary>(swish_row, static_cast<float>(node.number_or("alpha", 1)));
}
std::unique_ptr<exec::Kernel> gelu(const ir::Graph&, const ir::Node& node) {
  return std::make_unique<Unary>(gelu_row, node.string_or("approximate", "none") == "tanh" ? 1.0f : 0.0f);
}

}  // namespace

std::span<const CpuOp> elementwise_ops() {
  static constexpr CpuOp ops[] = {
      {"Add", all_f32, binary<&IsaTable::add>},
      {"Sub", all_f32, binary<&IsaTable::sub>},
      {"Mul", all_f32, binary<&IsaTable::mul>},
      {"Div", all_f32, binary<&IsaTable::div>},
      {"Pow", all_f32, power},
      {"Swish", all_f32, swish},
      {"Gelu", all_f32, gelu},
      {"Sigmoid", all_f32, unary<sigmoid_row>},
      {"Tanh", all_f32, unary<tanh_row>},
      {"Relu", all_f32, unary<relu_row>},
      {"Exp", all_f32, unary<exp_row>},
      {"Sqrt", all_f32, unary<sqrt_row>},
  };
  return ops;
}

}  // namespace hone::backends
