// Up to eight activation rows. Weights whose format has small codes meet them as 16-bit codes in integers
// (few.h), straight from the stored bytes; one or two rows of other formats run by unpacking to floats in
// registers, and more decode a few weight rows to the first cache and dot them with all activations. The rows
// of all products of a group are shared out in one parallel region.
#include <algorithm>
#include <cstring>

#include "kernels/decoder.h"
#include "kernels/many_rows.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr size_t kFewRows = 2;           // most rows of a gemv
constexpr size_t kUnitRows = 16;         // weight rows that threads take at once, or a multiple
constexpr size_t kUnitBytes = 16 << 10;  // and about as much of the weights at least
constexpr size_t kUnitsOfThread = 6;
constexpr size_t kGateRows = 64;  // rows of a gated pair at once

// How one weight meets the rows, chosen once per product.
class FewRows {
 public:
  // records: of FewTable::prepare, or where an instruction set has none what prepare_codes() made of one row.
  FewRows(const IsaTable& t, const WeightView& w, const float* x, size_t m, const uint8_t* records)
      : t_(t),
        w_(w),
        x_(x),
        m_(m),
        records_(records),
        row_bytes_(bytes_of(w, w.cols)),
        decode_(t, w.format),
        grouped_(t, w.format),
        with_codes_(m == 1 && !t.few ? t.gemv_codes[static_cast<size_t>(w.format)] : nullptr),
        gemv_(m <= kFewRows || tensor::format(w.format).block == 1 ? t.gemv[static_cast<size_t>(w.format)]
                                                                   : nullptr),
        plan_(dense_plan(t, w, Activations::k16)),
        few_(kernel(t, w, plan_)) {}

  static bool by_codes(const IsaTable& t, const WeightView& w, size_t m) {
    if (t.few) return kernel(t, w, dense_plan(t, w, Activations::k16)) != nullptr;
    return m == 1 && (t.gemv_codes[static_cast<size_t>(w.format)] || Grouped(t, w.format).has_codes(w.cols));
  }

  // Weight rows [begin, end) to y[i * ldy + r - begin]; begin is a multiple of kUnitRows. buffer: of Places.
  void run(size_t begin, size_t end, float* y, size_t ldy, const float* bias, std::byte* buffer) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(w_.data) + begin * row_bytes_;
    const size_t rows = end - begin;
    if (bias) bias += begin;
    if (few_) return run_codes(bytes, rows, y, ldy, bias, reinterpret_cast<uint8_t*>(buffer));
    if (!t_.few && m_ == 1 && grouped_.has_codes(w_.cols))
      return grouped_.kernels->gemv_codes(grouped_.view, bytes, row_bytes_, rows, w_.cols, records_, y, bias);
    if (with_codes_) return with_codes_(bytes, row_bytes_, rows, w_.cols, records_, y, bias);
    if (m_ <= kFewRows && grouped_.kernels)
      return grouped_.kernels->gemv(grouped_.view, bytes, row_bytes_, rows, w_.cols, x_, m_, y, ldy, bias);
    if (gemv_) return gemv_(bytes, row_bytes_, rows, w_.cols, x_, m_, y, ldy, bias);
    const size_t stride = row_stride(w_.cols);
    float* decoded = reinterpret_cast<float*>(buffer);
    for (size_t r = 0; r < rows; r += 4) {
      const size_t count = std::min<size_t>(4, rows - r);
      for (size_t i = 0; i < count; ++i) {
        float* row = decoded + i * stride;
        decode_(w_.data + (begin + r + i) * row_bytes_, row, w_.cols);
        std::fill(row + w_.cols, row + round_up(w_.cols, 16), 0.0f);
      }
      t_.dot_rows(decoded, stride, count, w_.cols, x_, m_, y + r, ldy, bias ? bias + r : nullptr);
    }
  }

 private:
  static FewFn kernel(const IsaTable& t, const WeightView& w, const DensePlan& plan) {
    if (!t.few || !plan || !plan.format.unpack) return nullptr;
    const auto id = static_cast<size_t>(w.format);
    if (id < tensor::kNamedCount && t.few->formats[id]) return t.few->formats[id];
    return t.few->any[plan.format.piece == 16][plan.format.minima];
  }

  void run_codes(const uint8_t* w, size_t rows, float* y, size_t ldy, const float* bias,
                 uint8_t* buffer) const {
    const size_t lanes = t_.few->lanes;
    FewProduct p{w, row_bytes_, rows, w_.cols,       records_,    m_,
                 y, ldy,        bias, &plan_.format, &plan_.view, buffer};
    float some_bias[64] = {};
    if (w_.rows < lanes) {  // the kernels read whole lanes
      const size_t before = lanes - rows;
      uint8_t* copy = buffer + few_buffer_bytes(lanes);
      std::memset(copy, 0, before * row_bytes_);
      std::memcpy(copy + before * row_bytes_, w, rows * row_bytes_);
      p.w = copy + before * row_bytes_;
      if (bias) {
        std::copy(bias, bias + rows, some_bias + before);
        p.bias = some_bias + before;
      }
    }
    few_(p);
  }

  const IsaTable& t_;
  const WeightView& w_;
  const float* x_;
  size_t m_;
  const uint8_t* records_;
  size_t row_bytes_;
  Decoder decode_;
  Grouped grouped_;
  GemvCodesFn with_codes_;
  GemvFn gemv_;
  DensePlan plan_;
  FewFn few_;
};

// Scratch: the normalised rows, their codes, and per worker a buffer of FewRows::run and the pair of a gate.
struct Places {
  size_t normal, records, first, pair, worker, total;
  Places(const IsaTable& t, const ProductGroup& g, int threads) {
    const size_t cols = g.products[0].w.cols, m = g.rows.m;
    normal = 0;
    records = normal + round_up(g.rows.norm_gain ? m * cols * sizeof(float) : 0, 64);
    first = records + round_up(few_record_bytes(kFewMost, cols), 64);
    size_t buffer = 4 * row_stride(cols) * sizeof(float);
    if (t.few) {
      size_t copy = 0;
      for (const Product& p : g.products)
        if (p.w.rows < t.few->lanes) copy = std::max(copy, t.few->lanes * bytes_of(p.w, cols));
      buffer = std::max(buffer, few_buffer_bytes(t.few->lanes) + copy);
    }
    pair = round_up(buffer, 64);
    worker = pair + (g.gate != Gate::kNone ? 2 * kFewMost * kGateRows * sizeof(float) : 0);
    total = first + static_cast<size_t>(std::max(1, threads)) * worker;
  }
};

// The units that threads take, in the order of the products: about the same bytes each.
struct Units {
  size_t bytes;
  const ProductGroup& group;
  Units(const ProductGroup& g, size_t threads) : bytes(0), group(g) {
    size_t all = 0;
    for (const Product& p : g.products) all += bytes_of(p.w, p.w.rows * p.w.cols);
    bytes = std::max(kUnitBytes, all / (threads * kUnitsOfThread));
  }
  size_t rows(const Product& p) const {
    const size_t row_bytes = bytes_of(p.w, p.w.cols) * (group.gate != Gate::kNone ? 2 : 1);
    return round_up(std::max<size_t>(1, bytes / std::max<size_t>(1, row_bytes)), kUnitRows);
  }
  size_t count(const Product& p) const { return (p.w.rows + rows(p) - 1) / rows(p); }
};

}  // namespace

bool few_by_codes(const IsaTable& t, const WeightView& w, size_t m) {
  return FewRows::by_codes(t, w, m);
}

size_t few_scratch_bytes(const IsaTable& t, const ProductGroup& group, int threads) {
  return Places(t, group, threads).total;
}

void multiply_few(const IsaTable& t, const ProductGroup& group, ThreadPool& pool, std::byte* scratch) {
  const Places places(t, group, pool.size());
  const size_t m = group.rows.m, cols = group.products[0].w.cols;
  const float* x = group.rows.x;
  if (group.rows.norm_gain) {
    float* normal = reinterpret_cast<float*>(scratch + places.normal);
    for (size_t i = 0; i < m; ++i)
      t.rms_norm(x + i * cols, group.rows.norm_gain, normal + i * cols, cols, group.rows.epsilon);
    x = normal;
  }
  uint8_t* records = reinterpret_cast<uint8_t*>(scratch + places.records);
  for (const Product& p : group.products)
    if (FewRows::by_codes(t, p.w, m)) {
      if (t.few)
        t.few->prepare(x, m, cols, records);
      else
        t.prepare_codes(x, cols, records);
      break;
    }

  const auto plain = [&](const Product& p, size_t begin, size_t end, std::byte* buffer) {
    FewRows(t, p.w, x, m, records).run(begin, end, p.y + begin, p.w.rows, p.bias, buffer);
    for (size_t i = 0; p.add && i < m; ++i) {
      float* y = p.y + i * p.w.rows + begin;
      t.add(y, p.add + i * p.w.rows + begin, y, end - begin);
    }
  };
  const auto pair = [&](size_t begin, size_t end, std::byte* buffer) {
    float *first = reinterpret_cast<float*>(buffer + places.pair), *second = first + kFewMost * kGateRows;
    const Product &gate = group.products[0], &up = group.products[1];
    const FewRows gates(t, gate.w, x, m, records), ups(t, up.w, x, m, records);
    for (size_t r = begin; r < end; r += kGateRows) {
      const size_t last = std::min(end, r + kGateRows);
      gates.run(r, last, first, kGateRows, gate.bias, buffer);
      ups.run(r, last, second, kGateRows, up.bias, buffer);
      for (size_t i = 0; i < m; ++i)
        apply_gate(t, group.gate, first + i * kGateRows, second + i * kGateRows,
                   group.gated + i * gate.w.rows + r, last - r);
    }
  };
  const bool gated = group.gate != Gate::kNone;
  const auto whole = group.products.first(gated ? 1 : group.products.size());
  const size_t threads = static_cast<size_t>(pool.size());
  const Units units(group, threads);
  size_t count = 0, work = 0;
  for (const Product& p : whole) count += units.count(p), work += p.w.rows * cols * m;
  const auto part = [&](size_t begin, size_t end, int worker) {
    std::byte* buffer = scratch + places.first + static_cast<size_t>(worker) * places.worker;
    for (const Product& p : whole) {
      const size_t here = units.count(p), rows = units.rows(p);
      if (begin < here) {
        const size_t from = begin * rows, to = std::min(p.w.rows, std::min(end, here) * rows);
        if (gated)
          pair(from, to, buffer);
        else
          plain(p, from, to, buffer);
        begin = here;
      }
      if (end <= here) return;
      begin -= here, end -= here;
    }
  };
  if (work < kSerialWork || threads == 1) return part(0, count, 0);
  pool.for_range(count, 1, part);
}

}  // namespace hone::kernels
