#include "quant/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"

namespace hone::quant {

double Difference::relative() const {
  if (squared_norm > 0) return std::sqrt(squared_error / squared_norm);
  return squared_error > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

Difference& Difference::operator+=(const Difference& other) {
  squared_error += other.squared_error;
  squared_norm += other.squared_norm;
  return *this;
}

Difference difference(const tensor::TensorView& original, const tensor::TensorView& encoded,
                      ThreadPool* pool) {
  HONE_CHECK(original.shape == encoded.shape);
  const uint64_t rows = original.rows();
  const auto cols = static_cast<size_t>(original.row_length());
  if (rows == 0 || cols == 0) return {};
  // Chunks of a fixed number of rows, added in order: the sum does not depend on who computed what.
  const uint64_t step = std::clamp<uint64_t>((uint64_t{1} << 16) / cols, 1, rows);
  const uint64_t chunks = (rows + step - 1) / step;
  std::vector<Difference> parts(chunks);
  const auto compare = [&](size_t begin, size_t end, int) {
    std::vector<float> x(step * cols), y(step * cols);
    for (size_t c = begin; c < end; ++c) {
      const uint64_t row = c * step, count = std::min(step, rows - row);
      tensor::decode_rows(original, row, count, x.data());
      tensor::decode_rows(encoded, row, count, y.data());
      Difference& part = parts[c];
      for (size_t i = 0; i < count * cols; ++i) {
        const double d = double{x[i]} - double{y[i]};
        part.squared_error += d * d;
        part.squared_norm += double{x[i]} * double{x[i]};
      }
    }
  };
  if (pool)
    pool->for_range(chunks, 1, compare);
  else
    compare(0, chunks, 0);
  Difference total;
  for (const Difference& part : parts) total += part;
  return total;
}

}  // namespace hone::quant
