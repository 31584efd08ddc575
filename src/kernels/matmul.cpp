// Shares products out over threads. Regimes by the number of activation rows m:
//   m <= 8   few_rows.cpp: straight from the stored bytes (bound by memory bandwidth)
//   else     many_rows.cpp: tiles of weights become panels of integer codes and activations codes of 8 or 16
//            bits; what has no codes goes by f32_panels.cpp
// A format without kernels of its own is decoded by the table's reference codec, in all regimes.
#include "kernels/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernels/decoder.h"
#include "kernels/many_rows.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

// Of all m up to the group's: fewer rows may take another regime.
size_t scratch_bytes(const IsaTable& t, Activations activations, ProductGroup group, int threads) {
  const size_t most = group.rows.m;
  group.rows.m = std::min(most, kSomeRows);
  const size_t few = few_scratch_bytes(t, group, threads);
  if (most <= kSomeRows) return few;
  group.rows.m = most;
  return std::max(few, many_scratch_bytes(t, activations, group, threads));
}

void multiply(const IsaTable& t, Activations activations, const ProductGroup& group, ThreadPool& pool,
              std::span<std::byte> scratch) {
  for (const Product& p : group.products)
    HONE_CHECK(matmul_supports(p.w.format) && p.w.cols == group.products[0].w.cols);
  HONE_CHECK(group.gate == Gate::kNone ||
             (group.products.size() == 2 && group.products[0].w.rows == group.products[1].w.rows));
  HONE_CHECK(scratch.size() >= scratch_bytes(t, activations, group, pool.size()));
  if (group.rows.m == 0) return;
  if (group.rows.m <= kSomeRows) return multiply_few(t, group, pool, scratch.data());
  multiply_many(t, activations, group, pool, scratch.data());
}

}  // namespace

void apply_gate(const IsaTable& t, Gate gate, const float* first, const float* second, float* y, size_t n) {
  if (gate == Gate::kSilu)
    t.swish(first, y, n, 1.0f);
  else
    t.gelu(first, y, n, gate == Gate::kGeluTanh);
  t.mul(y, second, y, n);
}

bool matmul_supports(tensor::FormatId format) {
  return tensor::format(format).decode != nullptr;
}

Activations forced_activations() {
  static const Activations forced = [] {
    const char* text = std::getenv("HONE_ACTIVATIONS");
    const std::string_view name = text ? text : "";
    if (name.empty()) return Activations::kAuto;
    if (name == "8") return Activations::k8;
    if (name == "16") return Activations::k16;
    if (name == "f32") return Activations::kF32;
    fail(ErrorKind::kUsage, "[kernels] HONE_ACTIVATIONS={}: unknown; use 8, 16 or f32", name);
  }();
  return forced;
}

const char* activations_used(const WeightView& w, size_t rows) {
  if (rows <= kSomeRows) return few_by_codes(active_table(), w, rows) ? "16-bit" : "F32";
  const DensePlan plan = dense_plan(active_table(), w, forced_activations());
  return !plan ? "F32" : plan.kernel.words() ? "16-bit" : "8-bit";
}

namespace {
Activations chosen(Activations wanted) {
  return forced_activations() == Activations::kAuto ? wanted : forced_activations();
}
}  // namespace

size_t matmul_scratch_bytes(const WeightView& w, size_t max_m, int threads, Activations activations) {
  const Product p{w};
  return group_scratch_bytes({{&p, 1}, {nullptr, max_m}}, threads, activations);
}
size_t group_scratch_bytes(const ProductGroup& group, int threads, Activations activations) {
  return scratch_bytes(active_table(), chosen(activations), group, threads);
}

void matmul(const WeightView& w, const float* x, size_t m, float* y, const float* bias, ThreadPool& pool,
            std::span<std::byte> scratch, Activations activations) {
  const Product p{w, y, bias};
  matmul_group({{&p, 1}, {x, m}}, pool, scratch, activations);
}
void matmul_group(const ProductGroup& group, ThreadPool& pool, std::span<std::byte> scratch,
                  Activations activations) {
  multiply(active_table(), chosen(activations), group, pool, scratch);
}

void matmul_on(Isa isa, Activations activations, const WeightView& w, const float* x, size_t m, float* y,
               const float* bias, ThreadPool& pool) {
  const Product p{w, y, bias};
  matmul_group_on(isa, activations, {{&p, 1}, {x, m}}, pool);
}
void matmul_group_on(Isa isa, Activations activations, const ProductGroup& group, ThreadPool& pool) {
  const IsaTable& t = table_for(isa);
  std::vector<std::byte> scratch(scratch_bytes(t, activations, group, pool.size()) + 64);
  const size_t past = reinterpret_cast<uintptr_t>(scratch.data()) % 64;
  multiply(t, activations, group, pool, std::span(scratch).subspan(64 - past));
}

size_t matmul_f32_scratch_bytes(size_t max_m, size_t max_k, int threads) {
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  return (round_up(max_m * max_k, 16) + workers * max_k * active_table().tile_cols) * sizeof(float);
}

void matmul_f32(const float* a, size_t m, size_t k, const float* b, size_t n, float* y, ThreadPool& pool,
                std::span<std::byte> scratch) {
  const IsaTable& t = active_table();
  HONE_CHECK(scratch.size() >= matmul_f32_scratch_bytes(m, k, pool.size()));
  if (m == 0 || n == 0) return;
  float* packed = reinterpret_cast<float*>(scratch.data());
  float* edges = packed + round_up(m * k, 16);
  t.pack(a, k, m, k, packed);
  const size_t tiles = (n + t.tile_cols - 1) / t.tile_cols;
  const auto part = [&](size_t begin, size_t end, int worker) {
    for (size_t tile = begin; tile < end; ++tile) {
      const size_t column = tile * t.tile_cols, width = std::min(t.tile_cols, n - column);
      const float* panel = b + column;
      size_t stride = n;
      if (width < t.tile_cols) {  // the kernel reads whole tiles: the ragged edge is copied
        float* edge = edges + static_cast<size_t>(worker) * k * t.tile_cols;
        for (size_t j = 0; j < k; ++j) {
          std::copy(b + j * n + column, b + j * n + column + width, edge + j * t.tile_cols);
          std::fill(edge + j * t.tile_cols + width, edge + (j + 1) * t.tile_cols, 0.0f);
        }
        panel = edge;
        stride = t.tile_cols;
      }
      for (size_t i = 0; i < m; i += t.tile_rows)
        t.tile(packed + i * k, std::min(t.tile_rows, m - i), k, panel, stride, y + i * n + column, n, width,
               nullptr, false);
    }
  };
  if (m * n * k < kSerialWork) return part(0, tiles, 0);
  pool.for_range(tiles, std::max<size_t>(1, tiles / (static_cast<size_t>(pool.size()) * 4)), part);
}

void decode_on(Isa isa, tensor::FormatId format, const std::byte* src, float* dst, size_t n) {
  Decoder(table_for(isa), format)(src, dst, n);
}

bool grouped_gemv_on(Isa isa, const WeightView& w, const float* x, size_t m, float* y, const float* bias,
                     bool by_codes) {
  const IsaTable& t = table_for(isa);
  const Grouped grouped(t, w.format);
  const auto* bytes = reinterpret_cast<const uint8_t*>(w.data);
  if (!grouped.kernels || (by_codes && !grouped.has_codes(w.cols))) return false;
  if (by_codes) {
    std::vector<std::byte> prepared(prepared_bytes(w.cols));
    t.prepare_codes(x, w.cols, prepared.data());
    grouped.kernels->gemv_codes(grouped.view, bytes, bytes_of(w, w.cols), w.rows, w.cols, prepared.data(), y,
                                bias);
  } else {
    grouped.kernels->gemv(grouped.view, bytes, bytes_of(w, w.cols), w.rows, w.cols, x, m, y, w.rows, bias);
  }
  return true;
}

void decode(tensor::FormatId format, const std::byte* src, float* dst, size_t n) {
  Decoder(active_table(), format)(src, dst, n);
}

}  // namespace hone::kernels
