// Up to eight activation rows. One row meets block formats as 16-bit codes where the instruction set has
// integer products, one or two rows run straight from the stored bytes, and more decode a few weight rows to
// the first cache and dot them with all activations. The rows of all products of a group are shared out in
// one parallel region.
#include <algorithm>
#include <cstring>

#include "kernels/decoder.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr size_t kFewRows = 2;    // most rows of a gemv
constexpr size_t kUnitRows = 4;   // weight rows that threads take at once, at least
constexpr size_t kGateRows = 64;  // rows of a gated pair at once

// How one weight meets the rows, chosen once per product.
class FewRows {
 public:
  FewRows(const IsaTable& t, const WeightView& w, const float* x, size_t m, const void* codes)
      : t_(t),
        w_(w),
        x_(x),
        m_(m),
        codes_(codes),
        row_bytes_(bytes_of(w, w.cols)),
        decode_(t, w.format),
        grouped_(t, w.format),
        with_codes_(m == 1 ? t.gemv_codes[static_cast<size_t>(w.format)] : nullptr),
        gemv_(m <= kFewRows ? t.gemv[static_cast<size_t>(w.format)] : nullptr) {}

  static bool by_codes(const IsaTable& t, const WeightView& w, size_t m) {
    return m == 1 && (t.gemv_codes[static_cast<size_t>(w.format)] || Grouped(t, w.format).has_codes(w.cols));
  }

  // Weight rows [begin, end) to y[i * ldy + r - begin]; buffer: 4 rows of row_stride floats.
  void run(size_t begin, size_t end, float* y, size_t ldy, const float* bias, float* buffer) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(w_.data) + begin * row_bytes_;
    const size_t rows = end - begin;
    if (bias) bias += begin;
    if (m_ == 1 && grouped_.has_codes(w_.cols))
      return grouped_.kernels->gemv_codes(grouped_.view, bytes, row_bytes_, rows, w_.cols, codes_, y, bias);
    if (m_ <= kFewRows && grouped_.kernels)
      return grouped_.kernels->gemv(grouped_.view, bytes, row_bytes_, rows, w_.cols, x_, m_, y, ldy, bias);
    if (with_codes_) return with_codes_(bytes, row_bytes_, rows, w_.cols, codes_, y, bias);
    if (gemv_) return gemv_(bytes, row_bytes_, rows, w_.cols, x_, m_, y, ldy, bias);
    const size_t stride = row_stride(w_.cols);
    for (size_t r = 0; r < rows; r += 4) {
      const size_t count = std::min<size_t>(4, rows - r);
      for (size_t i = 0; i < count; ++i) {
        float* row = buffer + i * stride;
        decode_(w_.data + (begin + r + i) * row_bytes_, row, w_.cols);
        std::fill(row + w_.cols, row + round_up(w_.cols, 16), 0.0f);
      }
      t_.dot_rows(buffer, stride, count, w_.cols, x_, m_, y + r, ldy, bias ? bias + r : nullptr);
    }
  }

 private:
  const IsaTable& t_;
  const WeightView& w_;
  const float* x_;
  size_t m_;
  const void* codes_;
  size_t row_bytes_;
  Decoder decode_;
  Grouped grouped_;
  GemvCodesFn with_codes_;
  GemvFn gemv_;
};

// Scratch: the normalised rows, the codes of one row, and per worker a row buffer and the pair of a gate.
struct Places {
  size_t normal, codes, worker, total;
  Places(const ProductGroup& g, int threads) {
    const size_t cols = g.products[0].w.cols, m = g.rows.m;
    normal = 0;
    codes = normal + round_up(g.rows.norm_gain ? m * cols * sizeof(float) : 0, 64);
    const size_t first = codes + round_up(prepared_bytes(cols), 64);
    worker = round_up(
        (4 * row_stride(cols) + (g.gate != Gate::kNone ? 2 * m * kGateRows : 0)) * sizeof(float), 64);
    total = first + static_cast<size_t>(std::max(1, threads)) * worker;
  }
  float* of_worker(std::byte* scratch, int index, int threads) const {
    return reinterpret_cast<float*>(scratch + total - static_cast<size_t>(threads - index) * worker);
  }
};

}  // namespace

size_t few_scratch_bytes(const IsaTable&, const ProductGroup& group, int threads) {
  return Places(group, threads).total;
}

void multiply_few(const IsaTable& t, const ProductGroup& group, ThreadPool& pool, std::byte* scratch) {
  const Places places(group, pool.size());
  const size_t m = group.rows.m, cols = group.products[0].w.cols;
  const float* x = group.rows.x;
  if (group.rows.norm_gain) {
    float* normal = reinterpret_cast<float*>(scratch + places.normal);
    for (size_t i = 0; i < m; ++i)
      t.rms_norm(x + i * cols, group.rows.norm_gain, normal + i * cols, cols, group.rows.epsilon);
    x = normal;
  }
  std::byte* codes = scratch + places.codes;
  size_t rows = 0;
  bool prepared = false;
  for (const Product& p : group.products) {
    rows += p.w.rows;
    if (!prepared && FewRows::by_codes(t, p.w, m)) {
      t.prepare_codes(x, cols, codes);
      prepared = true;
    }
  }
  const bool gated = group.gate != Gate::kNone;
  if (gated) rows = group.products[0].w.rows;

  const auto plain = [&](size_t begin, size_t end, float* buffer) {
    for (const Product& p : group.products) {
      if (begin < p.w.rows) {
        const size_t last = std::min(end, p.w.rows);
        FewRows(t, p.w, x, m, codes).run(begin, last, p.y + begin, p.w.rows, p.bias, buffer);
        for (size_t i = 0; p.add && i < m; ++i) {
          float* y = p.y + i * p.w.rows + begin;
          t.add(y, p.add + i * p.w.rows + begin, y, last - begin);
        }
        begin = last;
      }
      if (begin == end) return;
      begin -= p.w.rows, end -= p.w.rows;
    }
  };
  const auto pair = [&](size_t begin, size_t end, float* buffer) {
    float *first = buffer + 4 * row_stride(cols), *second = first + m * kGateRows;
    const Product &gate = group.products[0], &up = group.products[1];
    const FewRows gates(t, gate.w, x, m, codes), ups(t, up.w, x, m, codes);
    for (size_t r = begin; r < end; r += kGateRows) {
      const size_t last = std::min(end, r + kGateRows);
      gates.run(r, last, first, kGateRows, gate.bias, buffer);
      ups.run(r, last, second, kGateRows, up.bias, buffer);
      for (size_t i = 0; i < m; ++i)
        apply_gate(t, group.gate, first + i * kGateRows, second + i * kGateRows, group.gated + i * rows + r,
                   last - r);
    }
  };
  const auto part = [&](size_t begin, size_t end, int worker) {
    float* buffer = places.of_worker(scratch, worker, pool.size());
    if (gated) return pair(begin, end, buffer);
    plain(begin, end, buffer);
  };
  const size_t threads = static_cast<size_t>(pool.size());
  if (rows * cols * m < kSerialWork || threads == 1) return part(0, rows, 0);
  pool.for_range(rows, std::max<size_t>(kUnitRows, round_up(rows / (threads * 6), kUnitRows)), part);
}

}  // namespace hone::kernels
