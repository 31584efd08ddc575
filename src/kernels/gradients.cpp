// Gradients stand on the F32 products and row functions of the dispatch table. Products dominate; what is
// left are plain loops.
#include "kernels/gradients.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/decoder.h"
#include "kernels/regimes.h"

namespace hone::kernels {
namespace {

constexpr size_t kSliceRows = 32;  // weight rows decoded at once: with 1,536 columns about 200 KB

// Floats of a decoded row: whole register tiles must be readable behind the last column.
size_t slice_stride(const IsaTable& t, size_t cols) {
  return row_stride(round_up(cols, t.tile_cols));
}

// to[cols][rows] = transpose of from[rows][ld].
void transpose(const float* from, size_t ld, size_t rows, size_t cols, float* to) {
  constexpr size_t kTile = 16;
  for (size_t i = 0; i < rows; i += kTile)
    for (size_t j = 0; j < cols; j += kTile)
      for (size_t a = i; a < std::min(rows, i + kTile); ++a)
        for (size_t b = j; b < std::min(cols, j + kTile); ++b) to[b * rows + a] = from[a * ld + b];
}

}  // namespace

size_t matmul_transposed_scratch_bytes(const WeightView& w, size_t max_m, int threads) {
  const IsaTable& t = active_table();
  const size_t workers = static_cast<size_t>(std::max(1, threads));
  const size_t slice = kSliceRows * slice_stride(t, w.cols) + 16;
  return (workers * slice + round_up(max_m, t.tile_rows) * kSliceRows + workers * t.tile_rows * kSliceRows) *
         sizeof(float);
}

// Threads share the rows of dy and each decodes all of W, which costs little beside many rows.
void matmul_transposed(const WeightView& w, const float* dy, size_t m, float* y, ThreadPool& pool,
                       std::span<std::byte> scratch) {
  const IsaTable& t = active_table();
  HONE_CHECK(scratch.size() >= matmul_transposed_scratch_bytes(w, m, pool.size()));
  if (m == 0 || w.cols == 0) return;
  const size_t workers = static_cast<size_t>(pool.size()), stride = slice_stride(t, w.cols);
  const size_t row_bytes = bytes_of(w, w.cols);
  const size_t blocks = (m + t.tile_rows - 1) / t.tile_rows, share = (blocks + workers - 1) / workers;
  const size_t parts = (blocks + share - 1) / share;
  const Decoder decode_row(t, w.format);
  float* slices = reinterpret_cast<float*>(scratch.data());
  float* packs = slices + workers * (kSliceRows * stride + 16);
  pool.for_range(parts, 1, [&](size_t begin, size_t end, int worker) {
    float* slice = slices + static_cast<size_t>(worker) * (kSliceRows * stride + 16);
    for (size_t part = begin; part < end; ++part) {
      const size_t first = part * share * t.tile_rows, last = std::min(m, first + share * t.tile_rows);
      float* packed = packs + part * share * t.tile_rows * kSliceRows;
      for (size_t n = 0; n < w.rows; n += kSliceRows) {
        const size_t depth = std::min(kSliceRows, w.rows - n);
        for (size_t r = 0; r < depth; ++r) {
          decode_row(w.data + (n + r) * row_bytes, slice + r * stride, w.cols);
          std::fill(slice + r * stride + w.cols, slice + (r + 1) * stride, 0.0f);
        }
        t.pack(dy + first * w.rows + n, w.rows, last - first, depth, packed);
        for (size_t j = 0; j < w.cols; j += t.tile_cols)
          for (size_t i = first; i < last; i += t.tile_rows)
            t.tile(packed + (i - first) * depth, std::min(t.tile_rows, last - i), depth, slice + j, stride,
                   y + i * w.cols + j, w.cols, std::min(t.tile_cols, w.cols - j), nullptr, n != 0);
      }
    }
  });
}

size_t weight_gradient_scratch_bytes(size_t max_m, size_t k, int threads) {
  return round_up(max_m * k * sizeof(float), 64) + matmul_f32_scratch_bytes(k, max_m, threads);
}

void weight_gradient(const float* x, size_t m, size_t k, const float* dy, size_t n, float* dw,
                     ThreadPool& pool, std::span<std::byte> scratch) {
  HONE_CHECK(scratch.size() >= weight_gradient_scratch_bytes(m, k, pool.size()));
  if (m == 0) return std::fill(dw, dw + k * n, 0.0f);
  float* turned = reinterpret_cast<float*>(scratch.data());
  transpose(x, k, m, k, turned);
  matmul_f32(turned, k, m, dy, n, dw, pool, scratch.subspan(round_up(m * k * sizeof(float), 64)));
}

void rms_norm_gradient(const float* dy, const float* x, const float* scale, float* dx, double* dscale,
                       size_t n, float epsilon) {
  double squares = 0, along = 0;
  for (size_t i = 0; i < n; ++i) {
    squares += static_cast<double>(x[i]) * x[i];
    along += static_cast<double>(dy[i]) * scale[i] * x[i];
  }
  const double mean = squares / static_cast<double>(n) + static_cast<double>(epsilon);
  const double inverse = 1 / std::sqrt(mean), pull = along / (mean * static_cast<double>(n));
  for (size_t i = 0; i < n; ++i) {
    dscale[i] += static_cast<double>(dy[i]) * x[i] * inverse;
    dx[i] = static_cast<float>(inverse * (static_cast<double>(dy[i]) * scale[i] - pull * x[i]));
  }
}

void swish_gradient(const float* dy, const float* x, float* dx, size_t n, float alpha) {
  const IsaTable& t = active_table();
  constexpr size_t kPiece = 256;
  float scaled[kPiece], s[kPiece];
  for (size_t at = 0; at < n; at += kPiece) {
    const size_t count = std::min(kPiece, n - at);
    for (size_t i = 0; i < count; ++i) scaled[i] = alpha * x[at + i];
    t.sigmoid(scaled, s, count);
    for (size_t i = 0; i < count; ++i) dx[at + i] = dy[at + i] * s[i] * (1 + scaled[i] * (1 - s[i]));
  }
}

void gelu_gradient(const float* dy, const float* x, float* dx, size_t n, bool tanh_form) {
  constexpr float kSlope = 0.7978845608f, kCube = 0.044715f, kDensity = 0.3989422804f, kRoot = 0.7071067812f;
  if (!tanh_form) {
    for (size_t i = 0; i < n; ++i)
      dx[i] = dy[i] * (0.5f * (1 + std::erf(x[i] * kRoot)) + x[i] * kDensity * std::exp(-0.5f * x[i] * x[i]));
    return;
  }
  const IsaTable& t = active_table();
  constexpr size_t kPiece = 256;
  float inner[kPiece], h[kPiece];
  for (size_t at = 0; at < n; at += kPiece) {
    const size_t count = std::min(kPiece, n - at);
    for (size_t i = 0; i < count; ++i) {
      const float v = x[at + i];
      inner[i] = kSlope * (v + kCube * v * v * v);
    }
    t.tanh(inner, h, count);
    for (size_t i = 0; i < count; ++i) {
      const float v = x[at + i], slope = kSlope * (1 + 3 * kCube * v * v);
      dx[at + i] = dy[at + i] * 0.5f * (1 + h[i] + v * (1 - h[i] * h[i]) * slope);
    }
  }
}

void softmax_gradient(const float* dy, const float* y, float* dx, size_t n) {
  double along = 0;
  for (size_t i = 0; i < n; ++i) along += static_cast<double>(dy[i]) * y[i];
  for (size_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - static_cast<float>(along));
}

namespace {

// One head at a time: the score matrices of all would not fit the cache, and the products inside are
// parallel already. Sizes in floats.
struct HeadSpace {
  size_t tokens, keys, width, value_width;
  size_t q, k, kt, v, vt, dy, p, dp, turned, dq, dk, dv, total;
  explicit HeadSpace(const AttentionArgs& a)
      : tokens(a.queries), keys(a.fresh), width(a.key_width), value_width(a.value_width) {
    size_t at = 0;
    const auto take = [&](size_t floats) {
      const size_t here = at;
      at += round_up(floats, 16);
      return here;
    };
    q = take(tokens * width), k = take(keys * width), kt = take(keys * width);
    v = take(keys * value_width), vt = take(keys * value_width), dy = take(tokens * value_width);
    p = take(tokens * keys), dp = take(tokens * keys), turned = take(tokens * keys);
    dq = take(tokens * width), dk = take(keys * width), dv = take(keys * value_width);
    total = at;
  }
};

void gather_rows(const float* from, size_t stride, size_t rows, size_t width, float factor, float* to) {
  for (size_t i = 0; i < rows; ++i)
    for (size_t d = 0; d < width; ++d) to[i * width + d] = from[i * stride + d] * factor;
}

// Scores to probabilities p, and dp to the gradient of the scores, row by row.
void score_gradient(const AttentionArgs& a, const IsaTable& t, float* p, float* dp, size_t begin,
                    size_t end) {
  const size_t keys = a.fresh;
  for (size_t i = begin; i < end; ++i) {
    float *row = p + i * keys, *drow = dp + i * keys;
    const size_t high = a.causal ? std::min(keys, i + 1) : keys;
    const size_t window = static_cast<size_t>(std::max<int64_t>(0, a.window));
    const size_t low = window > 0 && i + 1 > window ? std::min(high, i + 1 - window) : 0;
    std::fill(row, row + low, 0.0f), std::fill(row + high, row + keys, 0.0f);
    std::fill(drow, drow + low, 0.0f), std::fill(drow + high, drow + keys, 0.0f);
    if (low == high) continue;
    const size_t n = high - low;
    float *s = row + low, *d = drow + low;
    double along = 0;
    if (a.softcap > 0) {
      for (size_t j = 0; j < n; ++j) s[j] = a.softcap * std::tanh(s[j] / a.softcap);
      // The slope of the cap must survive the softmax over the scores: fold it into dp first, once the sum
      // that needs the plain dp is known.
      float top = *std::max_element(s, s + n);
      double total = 0;
      for (size_t j = 0; j < n; ++j) total += std::exp(static_cast<double>(s[j] - top));
      for (size_t j = 0; j < n; ++j) along += std::exp(static_cast<double>(s[j] - top)) / total * d[j];
      for (size_t j = 0; j < n; ++j) {
        const float share = s[j] / a.softcap, slope = 1 - share * share;
        const float probability = static_cast<float>(std::exp(static_cast<double>(s[j] - top)) / total);
        d[j] = probability * (d[j] - static_cast<float>(along)) * slope;
        s[j] = probability;
      }
      continue;
    }
    t.softmax(s, s, n);
    for (size_t j = 0; j < n; ++j) along += static_cast<double>(s[j]) * d[j];
    for (size_t j = 0; j < n; ++j) d[j] = s[j] * (d[j] - static_cast<float>(along));
  }
}

}  // namespace

size_t attention_gradient_scratch_bytes(const AttentionArgs& a, int threads) {
  const size_t longest = std::max(a.queries, a.fresh), widest = std::max(a.key_width, a.value_width);
  return HeadSpace(a).total * sizeof(float) + std::max(matmul_f32_scratch_bytes(longest, longest, threads),
                                                       matmul_f32_scratch_bytes(longest, widest, threads));
}

void attention_gradient(const AttentionGradientArgs& args, ThreadPool& pool, std::span<std::byte> scratch) {
  const AttentionArgs& a = args.forward;
  const IsaTable& t = active_table();
  HONE_CHECK(scratch.size() >= attention_gradient_scratch_bytes(a, pool.size()));
  const HeadSpace s(a);
  float* f = reinterpret_cast<float*>(scratch.data());
  const std::span<std::byte> rest = scratch.subspan(s.total * sizeof(float));
  const size_t group = a.heads / a.kv_heads, key_stride = a.keys.row_stride / sizeof(float),
               value_stride = a.values.row_stride / sizeof(float);
  const auto product = [&](size_t x, size_t m, size_t k, size_t y, size_t n, size_t to) {
    matmul_f32(f + x, m, k, f + y, n, f + to, pool, rest);
  };
  const auto write = [](const float* from, size_t rows, size_t width, float factor, float* to, size_t stride,
                        bool sum) {
    for (size_t i = 0; i < rows; ++i)
      for (size_t d = 0; d < width; ++d) {
        float& y = to[i * stride + d];
        y = from[i * width + d] * factor + (sum ? y : 0.0f);
      }
  };
  for (size_t b = 0; b < a.batch; ++b)
    for (size_t head = 0; head < a.heads; ++head) {
      const size_t kv = head / group;
      const size_t q_at = b * a.q_strides.batch + head * a.q_strides.head;
      const size_t k_at = (b * a.keys.batch_stride + kv * a.keys.head_stride) / sizeof(float);
      const size_t v_at = (b * a.values.batch_stride + kv * a.values.head_stride) / sizeof(float);
      const bool first = head % group == 0;
      gather_rows(a.q + q_at, a.q_strides.token, s.tokens, s.width, a.scale, f + s.q);
      gather_rows(args.dy + b * a.out_strides.batch + head * a.out_strides.head, a.out_strides.token,
                  s.tokens, s.value_width, 1, f + s.dy);
      if (first) {
        gather_rows(reinterpret_cast<const float*>(a.keys.data) + k_at, key_stride, s.keys, s.width, 1,
                    f + s.k);
        gather_rows(reinterpret_cast<const float*>(a.values.data) + v_at, value_stride, s.keys, s.value_width,
                    1, f + s.v);
        transpose(f + s.k, s.width, s.keys, s.width, f + s.kt);
        transpose(f + s.v, s.value_width, s.keys, s.value_width, f + s.vt);
      }
      product(s.q, s.tokens, s.width, s.kt, s.keys, s.p);
      product(s.dy, s.tokens, s.value_width, s.vt, s.keys, s.dp);
      pool.for_range(s.tokens, 16, [&](size_t begin, size_t end, int) {
        score_gradient(a, t, f + s.p, f + s.dp, begin, end);
      });
      product(s.dp, s.tokens, s.keys, s.k, s.width, s.dq);
      write(f + s.dq, s.tokens, s.width, a.scale, args.dq + q_at, a.q_strides.token, false);
      transpose(f + s.dp, s.keys, s.tokens, s.keys, f + s.turned);
      product(s.turned, s.keys, s.tokens, s.q, s.width, s.dk);
      write(f + s.dk, s.keys, s.width, 1, args.dk + k_at, key_stride, !first);
      transpose(f + s.p, s.keys, s.tokens, s.keys, f + s.turned);
      product(s.turned, s.keys, s.tokens, s.dy, s.value_width, s.dv);
      write(f + s.dv, s.keys, s.value_width, 1, args.dv + v_at, value_stride, !first);
    }
}

}  // namespace hone::kernels
