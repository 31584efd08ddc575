// Shares products out over threads. Three regimes by the number of activation rows m:
//   m <= 2   matrix-vector straight from the stored bytes (bound by memory bandwidth); one row of activations
//            meets block formats as 16-bit codes where the instruction set has integer products
//   m < 9    a few weight rows are decoded to L1 and dotted with all activations
//   else     tiles of weights become panels of integer codes and activations codes of 8 or 16 bits, see
//            many_rows.cpp; what has no codes is decoded and transposed into F32 panels
// A format without kernels of its own is decoded by the table's reference codec, in all three regimes.
#include "kernels/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernels/grouped_choice.h"
#include "kernels/isa_table.h"
#include "kernels/many_rows.h"

namespace hone::kernels {
namespace {

constexpr size_t kFewRows = 2;             // gemv
constexpr size_t kSomeRows = 8;            // dot_rows
constexpr size_t kDepth = 1024;            // longest k slice of a panel
constexpr size_t kPanelBytes = 384 << 10;  // panels of one task together, a part of L2
constexpr size_t kSerialWork = 24 << 10;   // multiply-adds below which waking threads costs more

constexpr size_t round_up(size_t n, size_t step) {
  return (n + step - 1) / step * step;
}

// Slices are whole blocks, of 256 elements or more.
size_t slice_depth(size_t cols, size_t block) {
  const size_t slices = (cols + kDepth - 1) / kDepth;
  return slices <= 1 ? cols
                     : std::min(cols, round_up((cols + slices - 1) / slices, std::lcm(size_t{256}, block)));
}
// Row-buffer stride: whole vectors, and off the powers of two that would collide in L1.
size_t row_stride(size_t depth) {
  return round_up(depth, 16) + 16;
}

struct Layout {
  size_t depth, tiles, group, panel_floats, rows_floats, packed_floats;
};

// What a thread needs for the panel path. m is the row bound for the packed activations.
Layout panel_layout(const IsaTable& t, const WeightView& w, size_t m, size_t threads) {
  const size_t rows = w.rows, cols = w.cols;
  Layout l;
  l.depth = slice_depth(cols, tensor::format(w.format).block);
  l.tiles = (rows + t.tile_cols - 1) / t.tile_cols;
  const size_t panel = round_up(l.depth, 16) * t.tile_cols;
  const size_t fit = std::max<size_t>(1, kPanelBytes / (panel * sizeof(float)));
  l.group = std::clamp<size_t>(l.tiles / (threads * 4), 1, fit);
  l.panel_floats = panel * l.group;
  l.rows_floats = row_stride(l.depth) * t.tile_cols;
  l.packed_floats = round_up(m * cols, 16);
  return l;
}

// The instruction set's decoder of a format, else the reference.
class Decoder {
 public:
  Decoder(const IsaTable& t, tensor::FormatId format)
      : fast_(t.decode[static_cast<size_t>(format)]),
        reference_(tensor::format(format).decode),
        grouped_(t, format) {}
  void operator()(const std::byte* src, float* dst, size_t n) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(src);
    if (fast_) return fast_(bytes, dst, n);
    if (grouped_.kernels) return grouped_.kernels->decode(grouped_.view, bytes, dst, n);
    reference_(src, dst, n);
  }

 private:
  DecodeFn fast_;
  void (*reference_)(const std::byte*, float*, size_t);
  Grouped grouped_;
};

size_t bytes_of(const WeightView& w, size_t elements) {
  const auto& f = tensor::format(w.format);
  return elements / f.block * f.block_bytes;
}

void multiply_panels(const IsaTable& t, const WeightView& w, const float* x, size_t m, float* y,
                     const float* bias, ThreadPool& pool, float* scratch) {
  const size_t threads = static_cast<size_t>(pool.size());
  const Layout l = panel_layout(t, w, m, threads);
  float* packed = scratch;
  float* thread_base = packed + l.packed_floats;
  const size_t thread_floats = l.panel_floats + l.rows_floats;
  const size_t row_bytes = bytes_of(w, w.cols);
  const Decoder decode_row(t, w.format);
  const size_t blocks = (m + t.tile_rows - 1) / t.tile_rows;

  pool.for_range(blocks, std::max<size_t>(1, blocks / (threads * 4)), [&](size_t begin, size_t end, int) {
    for (size_t k = 0; k < w.cols; k += l.depth) {
      const size_t depth = std::min(l.depth, w.cols - k);
      const size_t first = begin * t.tile_rows, last = std::min(m, end * t.tile_rows);
      t.pack(x + first * w.cols + k, w.cols, last - first, depth, packed + m * k + first * depth);
    }
  });

  const size_t groups = (l.tiles + l.group - 1) / l.group;
  pool.for_range(groups, 1, [&](size_t begin, size_t end, int worker) {
    float* panels = thread_base + static_cast<size_t>(worker) * thread_floats;
    float* rows = panels + l.panel_floats;
    for (size_t g = begin; g < end; ++g) {
      const size_t first_tile = g * l.group, last_tile = std::min(l.tiles, first_tile + l.group);
      for (size_t k = 0; k < w.cols; k += l.depth) {
        const size_t depth = std::min(l.depth, w.cols - k), stride = row_stride(depth);
        const size_t panel = round_up(depth, 16) * t.tile_cols;
        for (size_t tile = first_tile; tile < last_tile; ++tile) {
          const size_t row = tile * t.tile_cols, count = std::min(t.tile_cols, w.rows - row);
          for (size_t r = 0; r < count; ++r) {
            decode_row(w.data + (row + r) * row_bytes + bytes_of(w, k), rows + r * stride, depth);
          }
          t.transpose_panel(rows, stride, count, depth, panels + (tile - first_tile) * panel, t.tile_cols);
        }
        for (size_t b = 0; b < blocks; ++b) {
          const size_t i = b * t.tile_rows, count = std::min(t.tile_rows, m - i);
          for (size_t tile = first_tile; tile < last_tile; ++tile) {
            const size_t row = tile * t.tile_cols;
            t.tile(packed + m * k + i * depth, count, depth, panels + (tile - first_tile) * panel,
                   t.tile_cols, y + i * w.rows + row, w.rows, std::min(t.tile_cols, w.rows - row),
                   bias && k == 0 ? bias + row : nullptr, k != 0);
          }
        }
      }
    }
  });
}

size_t scratch_bytes(const IsaTable& t, Activations activations, const WeightView& w, size_t max_m,
                     int threads) {
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  const size_t prepared = round_up(prepared_bytes(w.cols), 64);
  if (max_m <= kFewRows && t.gemv[static_cast<size_t>(w.format)]) return prepared;
  const size_t dot = workers * 4 * row_stride(w.cols);
  if (max_m <= kSomeRows) return std::max(prepared, dot * sizeof(float));
  if (const DensePlan plan = dense_plan(t, w, activations))
    return std::max(
        {prepared, dot * sizeof(float), dense_scratch_bytes(plan, w, max_m, static_cast<int>(workers))});
  const Layout l = panel_layout(t, w, max_m, workers);
  const size_t panels = l.packed_floats + workers * (l.panel_floats + l.rows_floats);
  return std::max(prepared, std::max(dot, panels) * sizeof(float));
}

void multiply(const IsaTable& t, Activations activations, const WeightView& w, const float* x, size_t m,
              float* y, const float* bias, ThreadPool& pool, std::span<std::byte> scratch) {
  const size_t f = static_cast<size_t>(w.format);
  HONE_CHECK(matmul_supports(w.format) && scratch.size() >= scratch_bytes(t, activations, w, m, pool.size()));
  if (m == 0 || w.rows == 0) return;
  if (m > kSomeRows) {
    if (const DensePlan plan = dense_plan(t, w, activations))
      return multiply_dense(plan, w, x, m, y, bias, pool, scratch.data());
    return multiply_panels(t, w, x, m, y, bias, pool, reinterpret_cast<float*>(scratch.data()));
  }

  const size_t row_bytes = bytes_of(w, w.cols), threads = static_cast<size_t>(pool.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(w.data);
  const Decoder decode_row(t, w.format);
  const GemvCodesFn with_codes = m == 1 ? t.gemv_codes[f] : nullptr;
  const Grouped grouped(t, w.format);
  const bool grouped_codes = m == 1 && grouped.has_codes(w.cols);
  if (with_codes || grouped_codes) t.prepare_codes(x, w.cols, scratch.data());
  const auto part = [&](size_t begin, size_t end, int worker) {
    const float* part_bias = bias ? bias + begin : nullptr;
    if (grouped_codes) {
      grouped.kernels->gemv_codes(grouped.view, bytes + begin * row_bytes, row_bytes, end - begin, w.cols,
                                  scratch.data(), y + begin, part_bias);
      return;
    }
    if (m <= kFewRows && grouped.kernels) {
      grouped.kernels->gemv(grouped.view, bytes + begin * row_bytes, row_bytes, end - begin, w.cols, x, m,
                            y + begin, w.rows, part_bias);
      return;
    }
    if (with_codes) {
      with_codes(bytes + begin * row_bytes, row_bytes, end - begin, w.cols, scratch.data(), y + begin,
                 part_bias);
      return;
    }
    if (m <= kFewRows && t.gemv[f]) {
      t.gemv[f](bytes + begin * row_bytes, row_bytes, end - begin, w.cols, x, m, y + begin, w.rows,
                part_bias);
      return;
    }
    const size_t stride = row_stride(w.cols);
    float* rows = reinterpret_cast<float*>(scratch.data()) + static_cast<size_t>(worker) * 4 * stride;
    for (size_t r = begin; r < end; r += 4) {
      const size_t count = std::min<size_t>(4, end - r);
      for (size_t i = 0; i < count; ++i) {
        float* row = rows + i * stride;
        decode_row(w.data + (r + i) * row_bytes, row, w.cols);
        std::fill(row + w.cols, row + round_up(w.cols, 16), 0.0f);
      }
      t.dot_rows(rows, stride, count, w.cols, x, m, y + r, w.rows, bias ? bias + r : nullptr);
    }
  };
  if (w.rows * w.cols * m < kSerialWork || threads == 1) return part(0, w.rows, 0);
  pool.for_range(w.rows, std::max<size_t>(4, round_up(w.rows / (threads * 6), 4)), part);
}

}  // namespace

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

const char* activations_used(const WeightView& w) {
  const DensePlan plan = dense_plan(active_table(), w, forced_activations());
  return !plan ? "F32" : plan.words ? "16-bit" : "8-bit";
}

namespace {
Activations chosen(Activations wanted) {
  return forced_activations() == Activations::kAuto ? wanted : forced_activations();
}
}  // namespace

size_t matmul_scratch_bytes(const WeightView& w, size_t max_m, int threads, Activations activations) {
  return scratch_bytes(active_table(), chosen(activations), w, max_m, threads);
}

void matmul(const WeightView& w, const float* x, size_t m, float* y, const float* bias, ThreadPool& pool,
            std::span<std::byte> scratch, Activations activations) {
  multiply(active_table(), chosen(activations), w, x, m, y, bias, pool, scratch);
}

void matmul_on(Isa isa, Activations activations, const WeightView& w, const float* x, size_t m, float* y,
               const float* bias, ThreadPool& pool) {
  const IsaTable& t = table_for(isa);
  std::vector<std::byte> scratch(scratch_bytes(t, activations, w, m, pool.size()) + 64);
  const size_t past = reinterpret_cast<uintptr_t>(scratch.data()) % 64;
  multiply(t, activations, w, x, m, y, bias, pool, std::span(scratch).subspan(64 - past));
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
