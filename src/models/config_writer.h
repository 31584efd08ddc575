// Writing a decoder's configuration: the keys that families share, as GGUF metadata and as config.json.
#pragma once

#include <string>

#include "base/json.h"
#include "models/family.h"

namespace hone::models {

// "<architecture>.*": sizes, heads, norm epsilon, windows, rotation and its scaling, caps.
void write_gguf_decoder(const ModelConfig& config, tensor::Metadata& metadata);

// config.json with the older keys (rope_theta, rope_scaling, torch_dtype), which old and new tools read: sizes,
// rotation, tied head, vocabulary. Families add theirs.
Json hf_decoder_json(const ModelConfig& config, const text::Tokenizer* tokenizer, const char* architecture,
                     const char* model_type);
// "sliding_attention" or "full_attention" per layer.
Json layer_types_json(const ModelConfig& config);
// Qwen's keys: layers from max_window_layers on have the window.
void write_hf_late_windows(const ModelConfig& config, Json& json);
// For architectures whose window llama.cpp does not read.
std::vector<std::string> ignored_window_caution(const ModelConfig& config);
// The period whose last layer is full, as "sliding_window_pattern" states it; 0 when the layers follow none.
int64_t window_period(const ModelConfig& config);

}  // namespace hone::models
