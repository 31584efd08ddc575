// Encoding that minimises a layer's output error instead of its weight error: what one code rounds away, the
// following ones take up, as the covariance of the inputs says.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "quant/covariance.h"
#include "tensor/tensor.h"

namespace hone::quant {

struct FeedbackOptions {
  int sweeps = 4;  // of coordinate descent over all codes after the feedback pass; 0: none
};

// Minimises sum over rows of e H e'. Per row: block by block the scale search of encode_rows on the weights
// that the feedback has moved, then code by code with the error fed forward (GPTQ, Frantar et al. 2022, in
// the LDL form of QuIP, Chee et al. 2023); then coordinate descent over codes in turn with least-squares
// refits of scales and minima as the format can store them. A row keeps the plain encoding where that is
// better. Deterministic for any thread count. Formats without codes of single elements get encode_tensor
// with the diagonal. dst as encode_tensor; errors as there.
void encode_with_feedback(const tensor::TensorView& source, tensor::FormatId format,
                          const Covariance& covariance, std::span<std::byte> dst, ThreadPool* pool,
                          const FeedbackOptions& options = {});
bool has_feedback(tensor::FormatId format);

}  // namespace hone::quant
