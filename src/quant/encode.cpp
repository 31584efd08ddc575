// Rows are encoded independently, so that any number of threads writes the same bytes.
#include "quant/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/cancel.h"
#include "base/error.h"
#include "base/half.h"
#include "quant/encoders.h"
#include "quant/layout_encoders.h"

namespace hone::quant {

using tensor::FormatId;

namespace {

constexpr size_t kChunkElements = 1 << 16;  // per task: a millisecond or a few; decoded, 256 KB stay in the cache

template <typename T, typename Convert>
void encode_plain(const float* x, size_t cols, std::byte* dst, Convert convert) {
  for (size_t i = 0; i < cols; ++i) {
    const T value = convert(x[i]);
    std::memcpy(dst + i * sizeof(T), &value, sizeof(T));
  }
}

// Nearest finite value: past the largest one, infinity would be an infinite error.
void encode_f32(const float* x, const float*, size_t cols, std::byte* dst) { std::memcpy(dst, x, cols * 4); }
void encode_f16(const float* x, const float*, size_t cols, std::byte* dst) {
  encode_plain<uint16_t>(x, cols, dst, [](float v) { return f32_to_f16(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v); });
}
void encode_bf16(const float* x, const float*, size_t cols, std::byte* dst) {
  encode_plain<uint16_t>(x, cols, dst, [](float v) {
    const uint16_t bits = f32_to_bf16(v);
    return static_cast<uint16_t>((bits & 0x7FFF) == 0x7F80 ? bits - 1 : bits);
  });
}

constexpr EncoderRow kPlainEncoders[] = {
    {FormatId::kF32, encode_f32}, {FormatId::kF16, encode_f16}, {FormatId::kBF16, encode_bf16}};

template <typename Body>
void for_row_chunks(size_t rows, size_t cols, ThreadPool* pool, Body body) {
  const size_t grain = std::max<size_t>(1, kChunkElements / std::max<size_t>(1, cols));
  auto guarded = [&](size_t begin, size_t end, int worker) {
    throw_if_cancelled();
    body(begin, end, worker);
  };
  if (pool) return pool->for_range(rows, grain, guarded);
  for (size_t begin = 0; begin < rows; begin += grain) guarded(begin, std::min(rows, begin + grain), 0);
}

std::vector<float> checked_weights(std::span<const float> importance, size_t cols) {
  if (importance.empty()) return std::vector<float>(cols, 1.0f);
  if (importance.size() != cols)
    fail(ErrorKind::kBadInput, "[quant] {} importances for {} columns; they must be one per column", importance.size(), cols);
  for (float v : importance)
    if (!(v >= 0) || !std::isfinite(v))
      fail(ErrorKind::kBadInput, "[quant] an importance is {}; importances must be finite and not negative", v);
  return {importance.begin(), importance.end()};
}

void check_finite(const float* x, size_t n) {
  uint32_t found = 0;
  for (size_t i = 0; i < n; ++i) found |= (std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu) > 0x7F7FFFFFu ? 1u : 0u;
  if (found) fail(ErrorKind::kBadInput, "[quant] the tensor holds NaN or infinity; it cannot be quantized");
}

EncodeRow first_of(EncodeRow a, EncodeRow b) { return a ? a : b; }

// Whatever encodes rows of a format on this machine.
class RowsEncoder {
 public:
  RowsEncoder(FormatId format, size_t cols, Effort effort)
      : cols_(cols), row_bytes_(tensor::format_bytes(format, cols)), layout_(format, active_isa()),
        group_(effort == Effort::kFast ? find_group_encoder(format, active_isa()) : nullptr), row_(find_encoder(format, active_isa())) {
    if (!row_ && !layout_) fail(ErrorKind::kUnsupported, "[quant] {} has no encoder", tensor::format(format).name);
  }
  uint64_t row_bytes() const { return row_bytes_; }
  void operator()(const float* x, const float* weights, size_t rows, std::byte* dst) const {
    check_finite(x, rows * cols_);
    if (layout_) return layout_(x, weights, rows, cols_, dst);
    if (group_) return group_(x, weights, rows, cols_, dst);
    for (size_t r = 0; r < rows; ++r) row_(x + r * cols_, weights, cols_, dst + r * row_bytes_);
  }

 private:
  size_t cols_;
  uint64_t row_bytes_;
  LayoutEncoder layout_;
  EncodeRows group_;
  EncodeRow row_;
};

}  // namespace

EncodeRow find_encoder(FormatId format, Isa isa) {
  for (const EncoderRow& row : kPlainEncoders)
    if (row.format == format) return row.encode;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return first_of(isa_avx512::find_encoder(format), isa_avx512::find_grid_encoder(format));
  if (isa == Isa::kAvx2) return first_of(isa_avx2::find_encoder(format), isa_avx2::find_grid_encoder(format));
#endif
  return first_of(isa_scalar::find_encoder(format), isa_scalar::find_grid_encoder(format));
}

EncodeRows find_group_encoder(FormatId format, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return isa_avx512::find_group_encoder(format);
  if (isa == Isa::kAvx2) return isa_avx2::find_group_encoder(format);
#endif
  return isa_scalar::find_group_encoder(format);
}

bool can_encode(FormatId format) {
  return find_encoder(format, Isa::kScalar) != nullptr || LayoutEncoder(format, Isa::kScalar);
}

void encode_rows(FormatId format, const float* x, size_t rows, size_t cols, std::span<const float> importance,
                 std::byte* dst, ThreadPool* pool, Effort effort) {
  const RowsEncoder encode(format, cols, effort);
  const std::vector<float> weights = checked_weights(importance, cols);
  for_row_chunks(rows, cols, pool, [&](size_t begin, size_t end, int) {
    encode(x + begin * cols, weights.data(), end - begin, dst + begin * encode.row_bytes());
  });
}

void encode_tensor(const tensor::TensorView& source, FormatId format, std::span<const float> importance,
                   std::span<std::byte> dst, ThreadPool* pool, Effort effort) {
  const auto cols = static_cast<uint64_t>(source.row_length());
  const uint64_t rows = source.rows();
  HONE_CHECK(dst.size() == rows * tensor::format_bytes(format, cols));
  if (rows == 0) return;
  const uint64_t sets = importance.empty() ? 1 : importance.size() / cols;
  if (!importance.empty() && (sets == 0 || importance.size() % cols != 0 || rows % sets != 0))
    fail(ErrorKind::kBadInput, "[quant] {} importances for {} rows of {}", importance.size(), rows, cols);
  const RowsEncoder encode(format, cols, effort);
  const uint64_t per_set = rows / sets;
  std::vector<std::vector<float>> decoded(pool ? static_cast<size_t>(pool->size()) : 1);  // per worker
  for (uint64_t set = 0; set < sets; ++set) {
    const std::vector<float> weights =
        checked_weights(importance.empty() ? importance : importance.subspan(set * cols, cols), cols);
    for_row_chunks(per_set, cols, pool, [&](size_t begin, size_t end, int worker) {
      std::vector<float>& x = decoded[static_cast<size_t>(worker)];
      x.resize((end - begin) * cols);
      const uint64_t first = set * per_set + begin;
      tensor::decode_rows(source, first, end - begin, x.data());
      encode(x.data(), weights.data(), end - begin, dst.data() + first * encode.row_bytes());
    });
  }
}

double weighted_error(FormatId format, const float* x, const std::byte* encoded, size_t rows, size_t cols,
                      std::span<const float> importance, ThreadPool* pool) {
  const tensor::QuantFormat& f = tensor::format(format);
  if (!f.decode) fail(ErrorKind::kUnsupported, "[quant] {} has no real values", f.name);
  const uint64_t row_bytes = tensor::format_bytes(format, cols);
  const std::vector<float> weights = checked_weights(importance, cols);
  std::vector<double> row_error(rows);  // summed in row order: the same for any thread count
  for_row_chunks(rows, cols, pool, [&](size_t begin, size_t end, int) {
    std::vector<float> decoded(cols);
    for (size_t r = begin; r < end; ++r) {
      f.decode(encoded + r * row_bytes, decoded.data(), cols);
      double sums[4] = {};
      const float* row = x + r * cols;
      for (size_t i = 0; i < cols; ++i) {
        const double difference = double{row[i]} - double{decoded[i]};
        sums[i % 4] += double{weights[i]} * difference * difference;
      }
      row_error[r] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
  });
  double total = 0;
  for (double e : row_error) total += e;
  return total;
}

}  // namespace hone::quant
