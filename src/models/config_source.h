// Reading a decoder's configuration: the keys that families share, from config.json and from GGUF metadata.
#pragma once

#include <string>
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

// Sizes, norm epsilon, rotary base and scaling (older and transformers-5 keys), tied head.
void read_hf_decoder(const Json& json, const std::string& what, ModelConfig& config);
// The same from the keys "<architecture>.*".
void read_gguf_decoder(const tensor::Checkpoint& checkpoint, ModelConfig& config);
// A number that came from F32 as its shortest decimal (1e-05 instead of 9.99999974737875e-06); others as they are.
double shortest_decimal(double value);
// Sizes positive and plausible, heads divide. Error(kBadInput) names every fault.
void check_decoder_config(const ModelConfig& config, const std::string& what);

}  // namespace hone::models
