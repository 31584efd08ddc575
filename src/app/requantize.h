// A model's tensors on their way into other formats, for the writers: encoding happens when a tensor is
// written, a few rows at a time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "models/export.h"
#include "quant/encode.h"

namespace hone::app {

struct RequantizeReport {
  int changed = 0;         // tensors in another format than before
  int from_quantized = 0;  // of these, those that were already quantized: their error adds up
  double bits_per_weight = 0;
};

// Gives tensor i the format formats[i]. importances: by GGUF name; a missing name means plain encoding, a
// wrong length is Error(kBadInput). pool must outlive the writing.
RequantizeReport requantize(models::GgufExport& model, const std::vector<tensor::FormatId>& formats,
                            const std::map<std::string, std::vector<float>>& importances, ThreadPool& pool,
                            quant::Effort effort = quant::Effort::kFast);

}  // namespace hone::app
