// What the Gemma families share: norm weights that Hugging Face keeps less 1, norms before and after each block, the
// scaled embedding, caps.
#pragma once

#include "models/config_source.h"
#include "models/decoder_blocks.h"

namespace hone::models {

// Tensors with the four norms of a layer; head_norms: also on each head of q and k.
std::vector<TensorInfo> gemma_tensors(const ModelConfig& config, bool head_norms);
// Factor of the embedding, sqrt(hidden), rounded to the type of the table as transformers does in that type.
void read_hf_gemma(const Json& json, const std::string& what, const tensor::Checkpoint& checkpoint, ModelConfig& config);
// In GGUF the factor is sqrt(hidden) in F32 unless "<architecture>.embedding_scale" states another, and the attention
// scale the usual one unless "<architecture>.attention.scale" does. wide_layers: how many layers the one size of the
// family has that scales by hidden / heads instead of the head size.
void read_gguf_gemma(const tensor::Checkpoint& checkpoint, int64_t wide_layers, ModelConfig& config);
void write_gguf_gemma(const ModelConfig& config, int64_t wide_layers, tensor::Metadata& metadata);
void write_hf_gemma(const ModelConfig& config, Json& json);
std::vector<std::string> gemma_cautions(const ModelConfig& config, int64_t wide_layers);

}  // namespace hone::models
