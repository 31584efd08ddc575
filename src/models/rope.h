// Rotary position embedding: frequencies under the scalings that published models use, and the
// cos/sin tables that RotaryEmbedding reads.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ir/graph.h"
#include "models/family.h"

namespace hone::models {

// head_dim/2 angular frequencies (radians per position), after linear or llama3 scaling (Llama 3.1 release;
// facts in docs/families.md). factors, when not empty, divide the unscaled frequencies (GGUF's
// rope_freqs.weight) and replace the scaling.
std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors);
// The llama3 scaling as the divisors that GGUF stores.
std::vector<float> rope_factors(const ModelConfig& config);
// The llama3 parameters that produce these divisors, written into config; false when none do.
bool fit_llama3_scaling(std::span<const float> factors, ModelConfig& config);

// cos and sin, each F32 [rows, frequencies]; computed in double precision.
struct RopeTables {
  ir::Constant cos, sin;
};
RopeTables rope_tables(std::span<const double> frequencies, int64_t rows);

}  // namespace hone::models
