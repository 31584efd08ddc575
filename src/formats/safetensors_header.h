// The JSON header of a safetensors file, parsed as a stream of events: no document tree is built, so a
// header of 100 MB costs little more than its entries, and depth costs nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace hone::formats {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes, as in the reference reader
inline constexpr const char* kSafetensorsMetadata = "__metadata__";

struct SafetensorsEntry {
  std::string name;
  tensor::FormatId format = tensor::FormatId::kF32;
  tensor::Shape shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

// Entries in header order. Error(kBadInput) names the file and the tensor.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view json, const std::string& file);

}  // namespace hone::formats
