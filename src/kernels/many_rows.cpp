// Activations are quantized once; then each task unpacks a tile of weight rows into a panel in the cache and
// runs the integer kernel over all activation rows, slice by slice of the depth.
#include "kernels/many_rows.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "kernels/grouped_choice.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr int kFineBits = 6;  // grouped integers from here on are fine in the sense of DenseFormat
constexpr size_t kPanelBytes = 32 << 10;  // of a slice, about the first cache

// Bytes and places of what a task and the whole product need.
struct Layout {
  size_t depth, blocks, row_blocks, record, codes_bytes, buffer_bytes, panel_bytes, scales_bytes;
  size_t task_bytes() const { return buffer_bytes + panel_bytes + 2 * scales_bytes; }
};

Layout layout_of(const DensePlan& p, const WeightView& w, size_t m) {
  const size_t tile_rows = p.table->tile_rows, tile_cols = p.table->tile_cols, bytes = p.words ? 2 : 1;
  const size_t block = tensor::format(w.format).block;
  const size_t slices = std::max<size_t>(1, (w.cols * tile_cols * bytes + kPanelBytes - 1) / kPanelBytes);
  Layout l;
  l.depth = slices == 1
                ? w.cols
                : std::min(w.cols, round_up((w.cols + slices - 1) / slices, std::lcm(size_t{256}, block)));
  l.blocks = w.cols / 32;
  l.row_blocks = (m + tile_rows - 1) / tile_rows;
  l.record = dense_record_bytes(tile_rows, p.words);
  l.codes_bytes = round_up(l.row_blocks * l.blocks * l.record, 64);
  l.buffer_bytes = dense_buffer_bytes(l.depth, p.words);
  l.panel_bytes = round_up(l.depth * tile_cols * bytes, 64);
  l.scales_bytes = round_up(l.depth / p.format.piece * tile_cols * sizeof(float), 64);
  return l;
}

// A row of DenseTable::formats from a layout.
DenseFormat grouped_format(const Grouped& g) {
  const bool integers = g.layout->code == tensor::CodeKind::kInt;
  const int bits = g.layout->bits, top = integers ? (1 << bits) - 1 : 24;
  const int centre = !integers ? 12 : g.layout->zero == tensor::ZeroKind::kMiddle ? 1 << (bits - 1) : 0;
  const bool minima =
      g.layout->zero == tensor::ZeroKind::kBias || g.layout->zero == tensor::ZeroKind::kZeroPoint;
  return {g.kernels->unpack,
          static_cast<uint16_t>(g.layout->group == 16 ? 16 : 32),
          static_cast<uint16_t>(top),
          static_cast<uint16_t>(centre),
          minima,
          integers && bits >= kFineBits};
}

}  // namespace

DensePlan dense_plan(const IsaTable& t, const WeightView& w, Activations activations) {
  DensePlan p;
  const auto id = static_cast<size_t>(w.format);
  if (activations == Activations::kF32 || !t.dense || w.cols % 32 != 0) return p;
  p.table = t.dense;
  if (const Grouped grouped(t, w.format); grouped.layout) {
    p.format = grouped_format(grouped);
    p.view = grouped.view;
  } else if (id < tensor::kNamedCount) {
    p.format = t.dense->formats[id];
  }
  if (!p.format.unpack) return p;
  // 16 bits unless fewer are asked for: with 8 the same weights in another container, or as F32, spoke
  // another text.
  p.words = activations != Activations::k8;
  if (!p.words) p.tile = t.dense->tile(p.format.top, p.format.piece == 16, p.format.minima);
  if (!p.tile) {  // asked for, or codes too large for the byte products
    p.words = true;
    p.tile = t.dense->tile(0, p.format.piece == 16, p.format.minima);
  }
  return p;
}

size_t dense_scratch_bytes(const DensePlan& plan, const WeightView& w, size_t m, int threads) {
  const Layout l = layout_of(plan, w, m);
  return l.codes_bytes + static_cast<size_t>(threads) * l.task_bytes();
}

void multiply_dense(const DensePlan& p, const WeightView& w, const float* x, size_t m, float* y,
                    const float* bias, ThreadPool& pool, std::byte* scratch) {
  const DenseTable& t = *p.table;
  const Layout l = layout_of(p, w, m);
  const size_t threads = static_cast<size_t>(pool.size());
  uint8_t* records = reinterpret_cast<uint8_t*>(scratch);
  const size_t row_stride = l.blocks * l.record;
  pool.for_range(
      l.row_blocks, std::max<size_t>(1, l.row_blocks / (threads * 4)), [&](size_t begin, size_t end, int) {
        for (size_t i = begin; i < end; ++i)
          t.quantize(x + i * t.tile_rows * w.cols, w.cols, std::min(t.tile_rows, m - i * t.tile_rows),
                     l.blocks, p.words, p.format, records + i * row_stride);
      });

  const auto& f = tensor::format(w.format);
  const size_t row_bytes = w.cols / f.block * f.block_bytes;
  const size_t tiles = (w.rows + t.tile_cols - 1) / t.tile_cols;
  pool.for_range(tiles, 1, [&](size_t begin, size_t end, int worker) {
    uint8_t* buffer = records + l.codes_bytes + static_cast<size_t>(worker) * l.task_bytes();
    uint8_t* panel = buffer + l.buffer_bytes;
    float* scales = reinterpret_cast<float*>(panel + l.panel_bytes);
    float* minima = reinterpret_cast<float*>(panel + l.panel_bytes + l.scales_bytes);
    for (size_t tile = begin; tile < end; ++tile) {
      const size_t row = tile * t.tile_cols, count = std::min(t.tile_cols, w.rows - row);
      for (size_t k = 0; k < w.cols; k += l.depth) {
        const size_t depth = std::min(l.depth, w.cols - k);
        const auto* from =
            reinterpret_cast<const uint8_t*>(w.data) + row * row_bytes + k / f.block * f.block_bytes;
        t.panel(p.format, &p.view, from, row_bytes, count, depth, p.words, buffer, panel, scales, minima);
        DenseTile d{panel,  scales, minima, records + k / 32 * l.record,           depth / 32, y + row,
                    w.rows, 0,      count,  bias && k == 0 ? bias + row : nullptr, k != 0};
        for (size_t i = 0; i < l.row_blocks; ++i) {
          d.rows = std::min(t.tile_rows, m - i * t.tile_rows);
          p.tile(d);
          d.x += row_stride;
          d.y += t.tile_rows * w.rows;
        }
      }
    }
  });
}

namespace {

size_t plain_scratch_bytes(const IsaTable& t, Activations activations, const WeightView& w, size_t m,
                           int threads) {
  if (const DensePlan plan = dense_plan(t, w, activations)) return dense_scratch_bytes(plan, w, m, threads);
  return panels_scratch_bytes(t, w, m, threads);
}

// Scratch: the normalised rows, the pair of a gate, then what one product needs.
struct Places {
  size_t normal = 0, pair, product, total;
  Places(const IsaTable& t, Activations activations, const ProductGroup& g, int threads) {
    const size_t cols = g.products[0].w.cols, m = g.rows.m;
    pair = g.rows.norm_gain ? round_up(m * cols * sizeof(float), 64) : 0;
    const bool gated = g.gate != Gate::kNone;
    product = pair + (gated ? 2 * round_up(m * g.products[0].w.rows * sizeof(float), 64) : 0);
    size_t most = 0;
    for (const Product& p : g.products)
      most = std::max(most, plain_scratch_bytes(t, activations, p.w, m, threads));
    total = product + round_up(most, 64);
  }
};

}  // namespace

size_t many_scratch_bytes(const IsaTable& t, Activations activations, const ProductGroup& group,
                          int threads) {
  return Places(t, activations, group, std::max(1, threads)).total;
}

void multiply_many(const IsaTable& t, Activations activations, const ProductGroup& group, ThreadPool& pool,
                   std::byte* scratch) {
  const Places places(t, activations, group, pool.size());
  const size_t m = group.rows.m, cols = group.products[0].w.cols;
  const float* x = group.rows.x;
  if (group.rows.norm_gain) {
    float* normal = reinterpret_cast<float*>(scratch + places.normal);
    pool.for_range(m, 16, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i)
        t.rms_norm(x + i * cols, group.rows.norm_gain, normal + i * cols, cols, group.rows.epsilon);
    });
    x = normal;
  }
  const auto product = [&](const Product& p, float* y) {
    std::byte* rest = scratch + places.product;
    if (const DensePlan plan = dense_plan(t, p.w, activations))
      return multiply_dense(plan, p.w, x, m, y, p.bias, pool, rest);
    multiply_panels(t, p.w, x, m, y, p.bias, pool, reinterpret_cast<float*>(rest));
  };
  if (group.gate == Gate::kNone) {
    for (const Product& p : group.products) {
      // A residual that is y itself must be read before it is written.
      HONE_CHECK(p.add != p.y || !p.add);
      product(p, p.y);
      if (!p.add) continue;
      pool.for_range(m, 16, [&](size_t begin, size_t end, int) {
        t.add(p.y + begin * p.w.rows, p.add + begin * p.w.rows, p.y + begin * p.w.rows,
              (end - begin) * p.w.rows);
      });
    }
    return;
  }
  const size_t rows = group.products[0].w.rows;
  float* first = reinterpret_cast<float*>(scratch + places.pair);
  float* second = reinterpret_cast<float*>(scratch + places.pair + round_up(m * rows * sizeof(float), 64));
  product(group.products[0], first);
  product(group.products[1], second);
  pool.for_range(m, 8, [&](size_t begin, size_t end, int) {
    apply_gate(t, group.gate, first + begin * rows, second + begin * rows, group.gated + begin * rows,
               (end - begin) * rows);
  });
}

}  // namespace hone::kernels
