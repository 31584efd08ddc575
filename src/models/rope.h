// Rotary position embedding: frequencies under the scalings that published models use, and the
// cos/sin tables that RotaryEmbedding reads.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ir/graph.h"
#include "models/family.h"

namespace hone::models {

// rotary_width/2 angular frequencies (radians per position) of the scaling (formulas: docs/formats.md, "Families").
// factors, when not empty, divide the unscaled frequencies (GGUF's rope_freqs.weight, longrope) and replace the
// scaling; linear scaling still applies.
std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors);
// Those of the layers with a window where they have a base of their own (rope_local_theta), which is never scaled.
std::vector<double> local_rope_frequencies(const ModelConfig& config);
// The llama3 scaling as the divisors that GGUF stores.
std::vector<float> rope_factors(const ModelConfig& config);
// The llama3 parameters that produce these divisors, written into config; false when none do.
bool fit_llama3_scaling(std::span<const float> factors, ModelConfig& config);
// Longrope keeps two sets of divisors; a session of `context` positions uses the long ones when it can leave the
// original context, as llama.cpp does. (transformers looks at the length so far: it gives the same for prompts up to
// and from there, and mixes both in one cache when a text grows past the limit.)
const std::vector<float>& longrope_factors(const ModelConfig& config, int64_t context);
// What yarn and longrope multiply cos and sin by when a checkpoint does not say.
double default_attention_factor(const ModelConfig& config);

// cos and sin, each F32 [rows, frequencies] times `factor`; computed in double precision.
struct RopeTables {
  ir::Constant cos, sin;
};
RopeTables rope_tables(std::span<const double> frequencies, int64_t rows, double factor = 1);

}  // namespace hone::models
