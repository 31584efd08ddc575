// How far an encoded tensor is from what it was made of.
#pragma once

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace hone::quant {

// Sums over elements, in double precision: the squared difference, and the squares of the original.
struct Difference {
  double squared_error = 0, squared_norm = 0;
  // Root of their ratio: 0.01 is one percent; 0 for a tensor of zeros that stayed one.
  double relative() const;
  Difference& operator+=(const Difference& other);
};

// Both views have the same shape and can be decoded. A few rows of F32 at a time; the same result for any
// number of threads. pool may be null.
Difference difference(const tensor::TensorView& original, const tensor::TensorView& encoded,
                      ThreadPool* pool);

}  // namespace hone::quant
