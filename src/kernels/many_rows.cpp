// Many activation rows in integers. A group's activations are normalised and quantized once, a block of rows
// at a time; then all products share one parallel region whose tasks unpack a tile of weight rows into a
// panel in the cache and run the integer kernel over all rows. Residuals are added and gates applied as tiles
// are written.
#include "kernels/many_rows.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "kernels/grouped_choice.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr int kFineBits = 6;         // grouped integers from here on are fine in the sense of DenseFormat
constexpr size_t kMostProducts = 8;  // of a group that is multiplied together

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

void decode_row(const void* decoder, const uint8_t* src, float* dst, size_t n) {
  (*static_cast<const Decoder*>(decoder))(reinterpret_cast<const std::byte*>(src), dst, n);
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
  if (!p.format.unpack) {
    // Words are ten times finer than BF16's own rounding, but no finer than F16's: that and F32 stay floats.
    if (w.format != tensor::FormatId::kBF16 && tensor::format(w.format).block == 1) return p;
    p.format = {};
    p.format.decode = decode_row;
    p.format.fine = true;
    p.decoder.emplace(t, w.format);
  }
  // Formats whose own loss is large bear 8 bits, which add less than a tenth to it (docs/speed.md).
  const bool bytes = activations == Activations::k8 || (activations == Activations::kAuto && !p.format.fine);
  p.kernel = t.dense->kernel(p.format, bytes);
  return p;
}

namespace {

// The activations of a group as codes of one reach.
struct Codes {
  int reach = 0;
  size_t record = 0, row_stride = 0, offset = 0;  // bytes: of a block, of a block of rows, in scratch
};

// A group whose products all have plans: what runs and where it lies in scratch.
class DenseGroup {
 public:
  DenseGroup(const IsaTable& t, const ProductGroup& group, std::span<const DensePlan> plans, int threads)
      : t_(t),
        dense_(*plans[0].table),
        group_(group),
        plans_(plans),
        threads_(static_cast<size_t>(threads)),
        cols_(group.products[0].w.cols),
        row_blocks_((group.rows.m + dense_.tile_rows - 1) / dense_.tile_rows) {
    for (size_t i = 0; i < plans.size(); ++i) {
      place_codes(i);
      place_panel(plans[i]);
      if (i == 0 || group.gate == Gate::kNone) tiles_ += tiles_of(group.products[i]);
    }
    const bool gated = group.gate != Gate::kNone;
    if (gated) worker_bytes_ += panel_bytes_ + round_up(2 * tile_floats() * sizeof(float), 64);
    norm_offset_ = total_ = codes_end_ + threads_ * worker_bytes_;
    if (group.rows.norm_gain) total_ += threads_ * norm_bytes();
  }
  size_t scratch_bytes() const { return total_; }

  void run(ThreadPool& pool, std::byte* scratch) const {
    auto* base = reinterpret_cast<uint8_t*>(scratch);
    const size_t grain = std::max<size_t>(1, row_blocks_ / (threads_ * 4));
    pool.for_range(row_blocks_, grain, [&](size_t begin, size_t end, int worker) {
      for (size_t i = begin; i < end; ++i) quantize(i, base, static_cast<size_t>(worker));
    });
    // Few tiles for many threads: rows are shared out as well, each share with its own panel.
    const size_t shares = std::clamp<size_t>(4 * threads_ / tiles_, 1, std::max<size_t>(1, row_blocks_ / 8));
    const size_t step = (row_blocks_ + shares - 1) / shares;
    pool.for_range(tiles_ * shares, 1, [&](size_t begin, size_t end, int worker) {
      uint8_t* mine = base + codes_end_ + static_cast<size_t>(worker) * worker_bytes_;
      for (size_t i = begin; i < end; ++i) {
        const size_t first = i % shares * step, last = std::min(row_blocks_, first + step);
        if (group_.gate != Gate::kNone)
          gated_tile(i / shares, first, last, base, mine);
        else
          plain_tile(i / shares, first, last, base, mine);
      }
    });
  }

 private:
  size_t tiles_of(const Product& p) const { return (p.w.rows + dense_.tile_cols - 1) / dense_.tile_cols; }
  size_t tile_floats() const { return dense_.tile_rows * dense_.tile_cols; }
  size_t norm_bytes() const { return round_up(dense_.tile_rows * cols_ * sizeof(float), 64); }

  void place_codes(size_t i) {
    const int reach = plans_[i].kernel.reach;
    size_t k = 0;
    while (k < kinds_ && codes_[k].reach != reach) ++k;
    kind_[i] = k;
    if (k < kinds_) return;
    ++kinds_;
    const size_t record = dense_record_bytes(dense_.tile_rows, plans_[i].kernel.words());
    codes_[k] = {reach, record, cols_ / 32 * record, codes_end_};
    codes_end_ += round_up(row_blocks_ * codes_[k].row_stride, 64);
  }
  // Of one panel: its buffer, the panel, scales, minima, starts.
  void place_panel(const DensePlan& p) {
    const bool words = p.kernel.words();
    buffer_bytes_ = std::max(buffer_bytes_, round_up(dense_buffer_bytes(cols_, words), 64));
    codes_bytes_ = std::max(codes_bytes_, round_up(cols_ * dense_.tile_cols * (words ? 2 : 1), 64));
    pieces_bytes_ =
        std::max(pieces_bytes_, round_up(cols_ / p.format.piece * dense_.tile_cols * sizeof(float), 64));
    panel_bytes_ = codes_bytes_ + 3 * pieces_bytes_;
    worker_bytes_ = buffer_bytes_ + panel_bytes_;
  }
  DensePanel panel_at(uint8_t* buffer, uint8_t* panel) const {
    uint8_t* pieces = panel + codes_bytes_;
    return {buffer, panel, reinterpret_cast<float*>(pieces), reinterpret_cast<float*>(pieces + pieces_bytes_),
            reinterpret_cast<int32_t*>(pieces + 2 * pieces_bytes_)};
  }

  void quantize(size_t block, uint8_t* base, size_t worker) const {
    const ActivationRows& rows = group_.rows;
    const size_t first = block * dense_.tile_rows, count = std::min(dense_.tile_rows, rows.m - first);
    const float* x = rows.x + first * cols_;
    if (rows.norm_gain) {
      float* normal = reinterpret_cast<float*>(base + norm_offset_ + worker * norm_bytes());
      for (size_t i = 0; i < count; ++i)
        t_.rms_norm(x + i * cols_, rows.norm_gain, normal + i * cols_, cols_, rows.epsilon);
      x = normal;
    }
    for (size_t k = 0; k < kinds_; ++k)
      dense_.quantize(x, cols_, count, cols_ / 32, codes_[k].reach,
                      base + codes_[k].offset + block * codes_[k].row_stride);
  }

  // The panel of a product's tile, and what its register tiles have in common.
  DenseTile prepare(size_t index, size_t tile, const uint8_t* base, const DensePanel& panel) const {
    const DensePlan& plan = plans_[index];
    const Product& p = group_.products[index];
    const size_t row = tile * dense_.tile_cols, count = std::min(dense_.tile_cols, p.w.rows - row);
    const size_t row_bytes = bytes_of(p.w, cols_);
    dense_.panel(plan.format, plan.kernel,
                 {&plan.view, plan.decoder ? &*plan.decoder : nullptr,
                  reinterpret_cast<const uint8_t*>(p.w.data) + row * row_bytes, row_bytes, count},
                 cols_, panel);
    return {panel.panel,
            panel.scales,
            panel.minima,
            panel.starts,
            base + codes_[kind_[index]].offset,
            cols_ / 32,
            nullptr,
            0,
            0,
            count,
            p.bias ? p.bias + row : nullptr,
            nullptr,
            p.w.rows};
  }
  void run_block(size_t index, DenseTile& d, size_t block) const {
    const Codes& codes = codes_[kind_[index]];
    const uint8_t* records = d.x;
    d.x += block * codes.row_stride;
    d.rows = std::min(dense_.tile_rows, group_.rows.m - block * dense_.tile_rows);
    plans_[index].kernel.tile(d);
    d.x = records;
  }

  void plain_tile(size_t tile, size_t first, size_t last, const uint8_t* base, uint8_t* mine) const {
    size_t index = 0;
    for (; tile >= tiles_of(group_.products[index]); ++index) tile -= tiles_of(group_.products[index]);
    const Product& p = group_.products[index];
    DenseTile d = prepare(index, tile, base, panel_at(mine, mine + buffer_bytes_));
    d.ldy = p.w.rows;
    for (size_t b = first; b < last; ++b) {
      const size_t at = b * dense_.tile_rows * p.w.rows + tile * dense_.tile_cols;
      d.y = p.y + at;
      d.add = p.add ? p.add + at : nullptr;
      run_block(index, d, b);
    }
  }
  void gated_tile(size_t tile, size_t first, size_t last, const uint8_t* base, uint8_t* mine) const {
    uint8_t* panels = mine + buffer_bytes_;
    float* gate = reinterpret_cast<float*>(panels + 2 * panel_bytes_);
    DenseTile g = prepare(0, tile, base, panel_at(mine, panels));
    DenseTile u = prepare(1, tile, base, panel_at(mine, panels + panel_bytes_));
    g.y = gate;
    u.y = gate + tile_floats();
    g.ldy = u.ldy = g.cols;
    const size_t rows = group_.products[0].w.rows;
    for (size_t b = first; b < last; ++b) {
      run_block(0, g, b);
      run_block(1, u, b);
      apply_gate(t_, group_.gate, g.y, u.y, g.y, g.rows * g.cols);
      for (size_t i = 0; i < g.rows; ++i)
        std::copy_n(g.y + i * g.cols, g.cols,
                    group_.gated + (b * dense_.tile_rows + i) * rows + tile * dense_.tile_cols);
    }
  }

  const IsaTable& t_;
  const DenseTable& dense_;
  const ProductGroup& group_;
  std::span<const DensePlan> plans_;
  size_t threads_, cols_, row_blocks_, tiles_ = 0;
  std::array<Codes, kMostProducts> codes_;
  std::array<size_t, kMostProducts> kind_{};  // of each product, an index of codes_
  size_t kinds_ = 0, codes_end_ = 0;
  size_t buffer_bytes_ = 0, codes_bytes_ = 0, pieces_bytes_ = 0, panel_bytes_ = 0, worker_bytes_ = 0;
  size_t norm_offset_ = 0, total_ = 0;
};

// Plans of all products, or none where one of them goes by F32 panels.
class Plans {
 public:
  Plans(const IsaTable& t, Activations activations, const ProductGroup& group) {
    if (group.products.size() > kMostProducts) return;
    for (const Product& p : group.products) {
      plans_[count_] = dense_plan(t, p.w, activations);
      if (!plans_[count_]) {
        count_ = 0;
        return;
      }
      ++count_;
    }
  }
  std::span<const DensePlan> all() const { return {plans_.data(), count_}; }
  explicit operator bool() const { return count_ != 0; }

 private:
  std::array<DensePlan, kMostProducts> plans_;
  size_t count_ = 0;
};

// A product of a group by itself.
ProductGroup alone(const Product& p, const float* x, size_t m) {
  return {{&p, 1}, {x, m}};
}
size_t alone_scratch_bytes(const IsaTable& t, Activations activations, const Product& p, size_t m,
                           int threads) {
  const ProductGroup group = alone(p, nullptr, m);
  if (const Plans plans(t, activations, group); plans)
    return DenseGroup(t, group, plans.all(), threads).scratch_bytes();
  return panels_scratch_bytes(t, p.w, m, threads);
}

// One product after the other. Scratch: the normalised rows, the pair of a gate, then what one product needs.
struct Places {
  size_t pair, product, total;
  Places(const IsaTable& t, Activations activations, const ProductGroup& g, int threads) {
    const size_t cols = g.products[0].w.cols, m = g.rows.m;
    pair = g.rows.norm_gain ? round_up(m * cols * sizeof(float), 64) : 0;
    const bool gated = g.gate != Gate::kNone;
    product = pair + (gated ? 2 * round_up(m * g.products[0].w.rows * sizeof(float), 64) : 0);
    size_t most = 0;
    for (const Product& p : g.products)
      most = std::max(most, alone_scratch_bytes(t, activations, p, m, threads));
    total = product + round_up(most, 64);
  }
};
void multiply_apart(const IsaTable& t, Activations activations, const ProductGroup& group, ThreadPool& pool,
                    std::byte* scratch) {
  const Places places(t, activations, group, pool.size());
  const size_t m = group.rows.m, cols = group.products[0].w.cols;
  const float* x = group.rows.x;
  if (group.rows.norm_gain) {
    float* normal = reinterpret_cast<float*>(scratch);
    pool.for_range(m, 16, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i)
        t.rms_norm(x + i * cols, group.rows.norm_gain, normal + i * cols, cols, group.rows.epsilon);
    });
    x = normal;
  }
  const auto product = [&](Product p, float* y) {
    std::byte* rest = scratch + places.product;
    p.y = y;
    const ProductGroup one = alone(p, x, m);
    if (const Plans plans(t, activations, one); plans)
      return DenseGroup(t, one, plans.all(), pool.size()).run(pool, rest);
    multiply_panels(t, p.w, x, m, y, p.bias, pool, reinterpret_cast<float*>(rest));
    if (!p.add) return;
    pool.for_range(m, 16, [&](size_t begin, size_t end, int) {
      t.add(y + begin * p.w.rows, p.add + begin * p.w.rows, y + begin * p.w.rows, (end - begin) * p.w.rows);
    });
  };
  if (group.gate == Gate::kNone) {
    for (const Product& p : group.products) product(p, p.y);
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

}  // namespace

size_t many_scratch_bytes(const IsaTable& t, Activations activations, const ProductGroup& group,
                          int threads) {
  threads = std::max(1, threads);
  if (const Plans plans(t, activations, group); plans)
    return DenseGroup(t, group, plans.all(), threads).scratch_bytes();
  return Places(t, activations, group, threads).total;
}

void multiply_many(const IsaTable& t, Activations activations, const ProductGroup& group, ThreadPool& pool,
                   std::byte* scratch) {
  // A residual that is y itself must be read before it is written.
  for (const Product& p : group.products) HONE_CHECK(p.add != p.y || !p.add);
  if (const Plans plans(t, activations, group); plans)
    return DenseGroup(t, group, plans.all(), pool.size()).run(pool, scratch);
  multiply_apart(t, activations, group, pool, scratch);
}

}  // namespace hone::kernels
