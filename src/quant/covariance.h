// The second moments of a layer's input, prepared for error feedback: the loss of a changed weight row is
// e H e' with e the row's error and H = E[x x'], the Hessian of the layer's squared output error.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace hone::quant {

class Covariance {
 public:
  // moments: cols x cols, symmetric, row-major; only the lower triangle is read. damping: added to the
  // diagonal as a share of its mean, so that directions the text never showed cannot be spent freely.
  // Factors H = M D M' with M unit upper triangular (the LDL form of GPTQ's feedback: Frantar et al. 2022,
  // Chee et al. 2023). pool may be null. Error(kBadInput) for values that are not finite or a diagonal that
  // is negative.
  Covariance(std::span<const float> moments, size_t cols, double damping, ThreadPool* pool);

  size_t cols() const { return cols_; }
  const float* row(size_t i) const { return matrix_.data() + i * cols_; }       // of H, damped
  const float* feedback(size_t i) const { return factor_.data() + i * cols_; }  // of M; columns above i
  std::span<const float> conditional() const { return conditional_; }           // D
  float diagonal(size_t i) const { return matrix_[i * cols_ + i]; }

 private:
  size_t cols_;
  std::vector<float> matrix_, factor_, conditional_;
};

// Sum over rows of e H e' with e = source - decode(encoded), in F64.
double covariance_error(const tensor::TensorView& source, tensor::FormatId format,
                        std::span<const std::byte> encoded, const Covariance& covariance, ThreadPool* pool);

}  // namespace hone::quant
