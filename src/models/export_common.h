// What both writers share: the format most weights have, and how GGUF's descriptive metadata (name, licence, authors)
// travels inside config.json, which has no place of its own for it.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "models/model.h"

namespace hone::models {

// GGUF metadata: "name=FORMAT" of tensors that came from another tool's layout without loss.
inline constexpr const char* kSourceFormatsKey = "hone.source_formats";
inline constexpr const char* kGeneralKey = "gguf_general";  // object in config.json

// The storage format that holds most of the matrices' elements.
tensor::FormatId dominant_format(const Model& model);
// general.* strings and lists of strings, without those that describe the container.
Json kept_general(const tensor::Metadata& metadata);
void restore_general(const Json& kept, tensor::Metadata& metadata);

// The texts of a Hugging Face checkpoint without what says how its weights were quantized.
std::map<std::string, std::string> plain_texts(const tensor::Checkpoint& checkpoint);

}  // namespace hone::models
