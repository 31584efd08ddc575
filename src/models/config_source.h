// Reading a decoder's configuration: the keys that families share, from config.json and from GGUF metadata.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/family.h"

namespace hone::models {

// config.json of a Hugging Face checkpoint. Error(kBadInput) when it is absent or no object.
Json hf_config(const tensor::Checkpoint& checkpoint);
// The names under "architectures", or empty.
std::vector<std::string> hf_architectures(const tensor::Checkpoint& checkpoint);
std::string hf_model_type(const tensor::Checkpoint& checkpoint);
std::string gguf_architecture(const tensor::Checkpoint& checkpoint);
// Whether the file says that it is of a family: GGUF architecture, the first of "architectures", or the model type
// where config.json lists none.
bool names_family(const tensor::Checkpoint& checkpoint, std::string_view gguf, std::string_view hf_architecture,
                  std::string_view model_type);

// Sizes, norm epsilon, rotary base and scaling (older and transformers-5 keys), tied head. A family sets its own
// defaults of head_dim, rope_theta, rope_local_theta and tied_head before.
void read_hf_decoder(const Json& json, const std::string& what, ModelConfig& config);
// The same from the keys "<architecture>.*".
void read_gguf_decoder(const tensor::Checkpoint& checkpoint, ModelConfig& config);
// `sliding_window` and which layers it holds for: `layer_types` where the file has them, else `sliding(layer)`.
void read_hf_windows(const Json& json, const std::string& what, const std::function<bool(int64_t)>& sliding, ModelConfig& config);
// Qwen's: none unless `use_sliding_window`; then layers from max_window_layers on.
void read_hf_late_windows(const Json& json, const std::string& what, ModelConfig& config);
// The same from "<architecture>.attention.sliding_window" and "..._pattern" (a period, whose last layer is full, or one
// truth value per layer). fallback_period: what llama.cpp takes for the architecture; 0: every layer.
void read_gguf_windows(const tensor::Checkpoint& checkpoint, int64_t fallback_period, ModelConfig& config);
// Error(kUnsupported) for what this family's published models do not do: rotation of a part of each head, longrope.
void require_plain_rotation(const ModelConfig& config, const std::string& what);
// Error(kUnsupported) unless config.json's `key` names one of the activations.
void require_activation(const Json& json, const char* key, std::initializer_list<const char*> names, const std::string& what);
// A number that came from F32 as its shortest decimal (1e-05 instead of 9.99999974737875e-06); others as they are.
double shortest_decimal(double value);
// Sizes positive and plausible, heads divide. Error(kBadInput) names every fault.
void check_decoder_config(const ModelConfig& config, const std::string& what);

}  // namespace hone::models
