// Calibration text without a download: what the model itself writes, seeded.
#pragma once

#include <cstdint>
#include <vector>

#include "base/progress.h"
#include "exec/device.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace hone::evaluate {

// At least `tokens` ids in windows of exactly `window` ids, written by the model at temperatures 0.8 to 1: documents from its
// start token with varied openings and, where it has a chat template, answers to short general questions
// (every second document). Sequences run in lockstep as one batch. The same seed, device and thread count
// give the same text. (Data-free calibration from the model's own samples: Liu et al. 2023, LLM-QAT.)
// Error(kUsage) for a size that is not positive or a window beyond the model's context.
std::vector<std::vector<text::TokenId>> self_text(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer,
                                                  int64_t tokens, int64_t window, uint64_t seed, ProgressSink* progress = nullptr);

}  // namespace hone::evaluate
