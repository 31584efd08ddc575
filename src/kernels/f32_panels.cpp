// Products of many rows in F32: tiles of weight rows are decoded, transposed into panels in the cache and
// meet blocks of packed activations. For formats without integer codes, and for devices that must be exact.
#include <algorithm>
#include <numeric>

#include "kernels/decoder.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr size_t kDepth = 1024;            // longest k slice of a panel
constexpr size_t kPanelBytes = 384 << 10;  // panels of one task together, a part of L2

// Slices are whole blocks, of 256 elements or more.
size_t slice_depth(size_t cols, size_t block) {
  const size_t slices = (cols + kDepth - 1) / kDepth;
  return slices <= 1 ? cols
                     : std::min(cols, round_up((cols + slices - 1) / slices, std::lcm(size_t{256}, block)));
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

}  // namespace

size_t panels_scratch_bytes(const IsaTable& t, const WeightView& w, size_t m, int threads) {
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  const Layout l = panel_layout(t, w, m, workers);
  return (l.packed_floats + workers * (l.panel_floats + l.rows_floats)) * sizeof(float);
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

}  // namespace hone::kernels
