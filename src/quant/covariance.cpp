#include "quant/covariance.h"

#include <algorithm>
#include <cmath>

#include "base/cancel.h"
#include "base/error.h"

namespace hone::quant {
namespace {

template <typename Body>
void for_rows(size_t rows, size_t grain, ThreadPool* pool, Body body) {
  if (pool && rows > grain)
    return pool->for_range(rows, grain,
                           [&](size_t begin, size_t end, int worker) { body(begin, end, worker); });
  if (rows > 0) body(size_t{0}, rows, 0);
}

}  // namespace

Covariance::Covariance(std::span<const float> moments, size_t cols, double damping, ThreadPool* pool)
    : cols_(cols), matrix_(cols * cols), factor_(cols * cols), conditional_(cols) {
  HONE_CHECK(moments.size() == cols * cols && damping >= 0);
  double mean = 0;
  for (size_t i = 0; i < cols; ++i) {
    const float d = moments[i * cols + i];
    if (!std::isfinite(d) || d < 0)
      fail(ErrorKind::kBadInput,
           "[quant] the second moment of feature {} is {}; moments must be finite and not negative", i, d);
    mean += d / static_cast<double>(cols);
  }
  const double added = mean > 0 ? damping * mean : 1;
  std::vector<double> a(cols * cols);  // lower triangle: what is left to factor
  for (size_t i = 0; i < cols; ++i)
    for (size_t j = 0; j <= i; ++j) {
      const double v = moments[i * cols + j] + (i == j ? added : 0);
      if (!std::isfinite(v))
        fail(ErrorKind::kBadInput, "[quant] a second moment of features {} and {} is {}", i, j, v);
      a[i * cols + j] = v;
      matrix_[i * cols + j] = matrix_[j * cols + i] = static_cast<float>(v);
    }
  // From the last column on: D_j = A_jj, M_ij = A_ij / D_j, A -= M_j D_j M_j' on what is before j.
  const double least = 1e-10 * (mean + added);
  for (size_t j = cols; j-- > 0;) {
    throw_if_cancelled();
    const double* column = a.data() + j * cols;
    const double d = std::max(column[j], least);
    conditional_[j] = static_cast<float>(d);
    factor_[j * cols + j] = 1;
    for_rows(j, 128, pool, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const double m = column[i] / d;
        factor_[i * cols + j] = static_cast<float>(m);
        double* row = a.data() + i * cols;
        for (size_t k = 0; k <= i; ++k) row[k] -= m * column[k];
      }
    });
  }
}

double covariance_error(const tensor::TensorView& source, tensor::FormatId format,
                        std::span<const std::byte> encoded, const Covariance& h, ThreadPool* pool) {
  const size_t cols = h.cols(), rows = static_cast<size_t>(source.rows()),
               row_bytes = tensor::format_bytes(format, cols);
  HONE_CHECK(static_cast<size_t>(source.row_length()) == cols && encoded.size() == rows * row_bytes);
  std::vector<double> errors(rows);
  for_rows(rows, 8, pool, [&](size_t begin, size_t end, int) {
    std::vector<float> x(cols), q(cols);
    for (size_t r = begin; r < end; ++r) {
      tensor::decode_rows(source, r, 1, x.data());
      tensor::format(format).decode(encoded.data() + r * row_bytes, q.data(), cols);
      for (size_t i = 0; i < cols; ++i) x[i] -= q[i];
      double total = 0;
      for (size_t i = 0; i < cols; ++i) {
        const float* row = h.row(i);
        float sum = 0;
        for (size_t k = 0; k < i; ++k) sum += row[k] * x[k];
        total +=
            static_cast<double>(x[i]) * (2 * static_cast<double>(sum) + static_cast<double>(row[i]) * x[i]);
      }
      errors[r] = total;
    }
  });
  double sum = 0;
  for (const double e : errors) sum += e;
  return sum;
}

}  // namespace hone::quant
