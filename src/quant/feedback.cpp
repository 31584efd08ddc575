// Rows go through in small groups, so that a line of the covariance is read once for all of them.
#include "quant/feedback.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/cancel.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/block_form.h"
#include "quant/encode.h"

namespace hone::quant {
namespace {

constexpr size_t kGroup = 8;    // rows
constexpr float kGain = 1e-6f;  // least relative gain of a move, against endless exchanges of rounding

// AVX2 without FMA rounds as SSE2 does, so that every machine finds the same codes.
#if defined(__x86_64__)
#define HONE_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define HONE_WIDE
#endif

HONE_WIDE void add_scaled(float* y, const float* x, float factor, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += factor * x[i];
}
HONE_WIDE float dot(const float* a, const float* b, size_t n) {
  float s[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t k = 0; k < 8; ++k) s[k] += a[i + k] * b[i + k];
  float sum = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// The nearest code to the number t that the scale multiplies.
int nearest_code(const BlockForm& form, float t) {
  if (!form.levels)
    return static_cast<int>(
        std::nearbyint(std::clamp(t, static_cast<float>(form.low), static_cast<float>(form.high))));
  int best = 0;
  float distance = INFINITY;
  for (int c = form.low; c <= form.high; ++c)
    if (const float d = std::fabs(t - form.levels[c]); d < distance) distance = d, best = c;
  return best;
}

float as_f16(float v) {
  return f16_to_f32(f32_to_f16(std::clamp(v, -65504.0f, 65504.0f)));
}

// One weight row on its way: the weights, their errors under the codes chosen so far, and the gradient e H.
struct Row {
  std::vector<float> target, error, gradient;
  std::vector<EncodedBlock> blocks;
};

class Encoder {
 public:
  Encoder(const BlockForm& form, const Covariance& h)
      : form_(form), h_(h), cols_(h.cols()), block_(static_cast<size_t>(form.block)) {
    HONE_CHECK(cols_ % block_ == 0);
    block_bytes_ = tensor::format_bytes(form.format, block_);
    diagonal_.resize(cols_);
    for (size_t i = 0; i < cols_; ++i) diagonal_[i] = h.diagonal(i);
  }

  // x: rows x cols, rows <= kGroup.
  void run(const float* x, size_t rows, int sweeps, std::byte* dst) {
    plain_.resize(rows * cols_ / block_ * block_bytes_);
    encode_rows(form_.format, x, rows, cols_, diagonal_, plain_.data(), nullptr, Effort::kThorough);
    rows_.resize(std::max(rows_.size(), rows));
    for (size_t r = 0; r < rows; ++r) start(rows_[r], x + r * cols_);
    feed(rows);
    gradients(rows);
    for (size_t r = 0; r < rows; ++r) {
      Row& row = rows_[r];
      descend(row, sweeps);
      std::byte* to = dst + r * cols_ / block_ * block_bytes_;
      const std::byte* plain = plain_.data() + r * cols_ / block_ * block_bytes_;
      for (size_t b = 0; b < row.blocks.size(); ++b)
        form_.pack(row.blocks[b], reinterpret_cast<uint8_t*>(to) + b * block_bytes_);
      if (loss_of(plain, x + r * cols_) <= loss_of(to, x + r * cols_))
        std::copy(plain, plain + cols_ / block_ * block_bytes_, to);
    }
  }

 private:
  void start(Row& row, const float* x) const {
    row.target.assign(x, x + cols_);
    row.error.assign(x, x + cols_);
    row.gradient.assign(cols_, 0.0f);
    row.blocks.resize(cols_ / block_);
  }

  // target becomes the weight plus what earlier errors ask of it; error becomes weight minus decoded value.
  void feed(size_t rows) {
    std::vector<float> moved(rows * block_);
    std::vector<std::byte> encoded(rows * block_bytes_);
    for (size_t b = 0; b < cols_ / block_; ++b) {
      const size_t at = b * block_, end = at + block_;
      for (size_t r = 0; r < rows; ++r)
        std::copy_n(rows_[r].target.data() + at, block_, moved.data() + r * block_);
      encode_rows(form_.format, moved.data(), rows, block_, h_.conditional().subspan(at, block_),
                  encoded.data(), nullptr, Effort::kThorough);
      for (size_t r = 0; r < rows; ++r) {
        Row& row = rows_[r];
        EncodedBlock& e = row.blocks[b];
        form_.unpack(reinterpret_cast<const uint8_t*>(encoded.data()) + r * block_bytes_, e);
        for (size_t i = 0; i < block_; ++i) {
          const int p = static_cast<int>(i) / form_.piece;
          const float factor = form_.factor(e, p), addend = form_.addend(e, p), wanted = row.target[at + i];
          if (factor != 0) e.codes[i] = static_cast<int8_t>(nearest_code(form_, (wanted - addend) / factor));
          const float value = factor * form_.level(e.codes[i]) + addend;
          row.error[at + i] -= value;
          add_scaled(row.target.data() + at + i + 1, h_.feedback(at + i) + at + i + 1, row.error[at + i],
                     end - (at + i + 1));
        }
      }
      for (size_t i = at; i < end; ++i)
        for (size_t r = 0; r < rows; ++r)
          add_scaled(rows_[r].target.data() + end, h_.feedback(i) + end, rows_[r].error[i], cols_ - end);
    }
  }

  void gradients(size_t rows) {
    for (size_t i = 0; i < cols_; ++i)
      for (size_t r = 0; r < rows; ++r)
        add_scaled(rows_[r].gradient.data(), h_.row(i), rows_[r].error[i], cols_);
  }

  // Moves the decoded value of element i by delta.
  void move(Row& row, size_t i, float delta) const {
    row.error[i] -= delta;
    add_scaled(row.gradient.data(), h_.row(i), -delta, cols_);
  }

  void descend(Row& row, int sweeps) const {
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      size_t changes = 0;
      for (size_t b = 0; b < row.blocks.size(); ++b) {
        changes += improve_codes(row, b);
        changes += improve_scales(row, b);
      }
      if (changes == 0) break;
    }
  }

  // Each code to the best of its values with all others as they are.
  size_t improve_codes(Row& row, size_t b) const {
    EncodedBlock& e = row.blocks[b];
    size_t changes = 0;
    for (size_t k = 0; k < block_; ++k) {
      const size_t i = b * block_ + k;
      const int p = static_cast<int>(k) / form_.piece;
      const float factor = form_.factor(e, p);
      if (factor == 0) continue;
      const float now = form_.level(e.codes[k]), curve = h_.diagonal(i), slope = row.gradient[i];
      const int code = nearest_code(form_, now + slope / (curve * factor));
      if (code == e.codes[k]) continue;
      const float delta = factor * (form_.level(code) - now);
      if (!(2 * delta * slope - delta * delta * curve > kGain * delta * delta * curve)) continue;
      e.codes[k] = static_cast<int8_t>(code);
      move(row, i, delta);
      ++changes;
    }
    return changes;
  }

  // What a change of the decoded values [at, at + n) along `direction` does to the loss: e H e' falls by
  // 2 t slope - t^2 curve.
  struct Along {
    float slope, curve;
    bool pays(float t) const { return 2 * t * slope - t * t * curve > kGain * t * t * curve; }
  };
  Along along(const Row& row, size_t at, const float* direction, size_t n) const {
    Along a{dot(row.gradient.data() + at, direction, n), 0};
    for (size_t i = 0; i < n; ++i)
      if (direction[i] != 0) a.curve += direction[i] * dot(h_.row(at + i) + at, direction, n);
    return a;
  }
  void go(Row& row, size_t at, const float* direction, size_t n, float t) const {
    for (size_t i = 0; i < n; ++i)
      if (direction[i] != 0) move(row, at + i, t * direction[i]);
  }

  size_t improve_scales(Row& row, size_t b) const {
    EncodedBlock& e = row.blocks[b];
    const size_t at = b * block_;
    size_t changes = 0;
    std::array<float, 256> direction{};
    if (form_.has_sub_scales()) {
      for (int p = 0; p < form_.pieces(); ++p) changes += improve_piece(row, e, at, p);
    }
    // The block's scale, then its minimum.
    for (size_t k = 0; k < block_; ++k) {
      const int p = static_cast<int>(k) / form_.piece;
      direction[k] =
          form_.level(e.codes[k]) * (form_.has_sub_scales() ? static_cast<float>(e.sub_scale[p]) : 1.0f);
    }
    changes += improve_number(row, e.scale, at, direction.data(), form_.power_of_two);
    if (form_.minimum) {
      for (size_t k = 0; k < block_; ++k)
        direction[k] =
            form_.has_sub_scales() ? -static_cast<float>(e.sub_min[static_cast<int>(k) / form_.piece]) : 1.0f;
      changes += improve_number(row, e.offset, at, direction.data(), false);
    }
    return changes;
  }

  size_t improve_number(Row& row, float& number, size_t at, const float* direction, bool power_of_two) const {
    const Along a = along(row, at, direction, block_);
    if (!(a.curve > 0)) return 0;
    const float wanted = number + a.slope / a.curve;
    float best = number, gain = 0;
    const auto consider = [&](float candidate) {
      const float t = candidate - number, g = 2 * t * a.slope - t * t * a.curve;
      if (std::isfinite(candidate) && a.pays(t) && g > gain) best = candidate, gain = g;
    };
    if (power_of_two) {
      for (const float c : {number * 2, number * 0.5f})
        if (c >= 0x1p-126f && c <= 0x1p126f) consider(c);
    } else {
      consider(as_f16(wanted));
    }
    if (best == number) return 0;
    go(row, at, direction, block_, best - number);
    number = best;
    return 1;
  }

  // Whole-number sub-scale and sub-minimum of a piece.
  size_t improve_piece(Row& row, EncodedBlock& e, size_t block_at, int p) const {
    const auto n = static_cast<size_t>(form_.piece);
    const size_t at = block_at + static_cast<size_t>(p) * n;
    std::array<float, 256> direction{};
    size_t changes = 0;
    const auto step = [&](int8_t& number, int low, int high) {
      const Along a = along(row, at, direction.data(), n);
      if (!(a.curve > 0)) return;
      const int wanted = std::clamp(
          number + static_cast<int>(std::nearbyint(std::clamp(a.slope / a.curve, -128.0f, 128.0f))), low,
          high);
      const float t = static_cast<float>(wanted - number);
      if (wanted == number || !a.pays(t)) return;
      go(row, at, direction.data(), n, t);
      number = static_cast<int8_t>(wanted);
      ++changes;
    };
    for (size_t i = 0; i < n; ++i)
      direction[i] = e.scale * form_.level(e.codes[static_cast<size_t>(p) * n + i]);
    step(e.sub_scale[p], form_.sub_low, form_.sub_high);
    if (form_.minimum) {
      std::fill_n(direction.data(), n, -e.offset);
      step(e.sub_min[p], 0, form_.sub_high);
    }
    return changes;
  }

  double loss_of(const std::byte* encoded, const float* x) const {
    std::vector<float> q(cols_);
    tensor::format(form_.format).decode(encoded, q.data(), cols_);
    for (size_t i = 0; i < cols_; ++i) q[i] = x[i] - q[i];
    double total = 0;
    for (size_t i = 0; i < cols_; ++i)
      total += static_cast<double>(q[i]) * (2 * static_cast<double>(dot(h_.row(i), q.data(), i)) +
                                            static_cast<double>(h_.diagonal(i)) * q[i]);
    return total;
  }

  const BlockForm& form_;
  const Covariance& h_;
  size_t cols_, block_, block_bytes_;
  std::vector<float> diagonal_;
  std::vector<std::byte> plain_;
  std::vector<Row> rows_;
};

}  // namespace

bool has_feedback(tensor::FormatId format) {
  return find_block_form(format) != nullptr;
}

void encode_with_feedback(const tensor::TensorView& source, tensor::FormatId format,
                          const Covariance& covariance, std::span<std::byte> dst, ThreadPool* pool,
                          const FeedbackOptions& options) {
  const size_t cols = covariance.cols();
  const auto rows = static_cast<size_t>(source.rows());
  if (static_cast<size_t>(source.row_length()) != cols)
    fail(ErrorKind::kUsage, "[quant] a covariance of {} features for rows of {}", cols, source.row_length());
  const BlockForm* form = find_block_form(format);
  if (!form) {
    std::vector<float> diagonal(cols);
    for (size_t i = 0; i < cols; ++i) diagonal[i] = covariance.diagonal(i);
    return encode_tensor(source, format, diagonal, dst, pool, Effort::kThorough);
  }
  const size_t row_bytes = tensor::format_bytes(format, cols);
  HONE_CHECK(dst.size() == rows * row_bytes);
  const auto part = [&](size_t begin, size_t end, int) {
    Encoder encoder(*form, covariance);
    std::vector<float> x(kGroup * cols);
    for (size_t group = begin; group < end; ++group) {
      throw_if_cancelled();
      const size_t first = group * kGroup, count = std::min(kGroup, rows - first);
      tensor::decode_rows(source, first, count, x.data());
      for (size_t i = 0; i < count * cols; ++i)
        if (!std::isfinite(x[i]))
          fail(ErrorKind::kBadInput, "[quant] the tensor holds NaN or infinity; it cannot be quantized");
      encoder.run(x.data(), count, options.sweeps, dst.data() + first * row_bytes);
    }
  };
  const size_t groups = (rows + kGroup - 1) / kGroup;
  if (pool && groups > 1) return pool->for_range(groups, 4, part);
  part(0, groups, 0);
}

}  // namespace hone::quant
