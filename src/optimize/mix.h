// Which storage format each tensor gets for a named mix: llama.cpp's choices for the names of its quantize
// tool (Q4_K_M, IQ4_XS, ...), written as data. Source of the rules: its quantizer, checked against the tool's
// --dry-run on synthetic models (tests/data/optimize/mixes.json).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace hone::optimize {

struct MixRule;

// A mix: the base format and what raises or lowers single tensors.
struct Mix {
  const char* name;    // "Q4_K_M"
  uint32_t file_type;  // general.file_type
  const char* base;    // name of a storage format
  std::vector<MixRule> rules;
};

// Case-insensitive, with llama.cpp's aliases (Q4_K is Q4_K_M); null when unknown.
const Mix* find_mix(std::string_view name);
const std::vector<Mix>& all_mixes();

struct MixTensor {
  std::string name;     // GGUF name
  tensor::Shape shape;  // outermost first
  std::string format;   // name of the format it has
};

struct MixModel {
  std::string architecture;  // general.architecture
  int64_t layers = 0, heads = 0, kv_heads = 0, experts = 0;
};

struct MixOptions {
  bool pure = false;  // the base format for every tensor that it fits
  bool has_importances = false;
};

// The name of the format of each tensor, parallel to `tensors`; what is not to be quantized keeps its own.
std::vector<std::string> mix_format_names(const Mix& mix, const MixModel& model,
                                          const std::vector<MixTensor>& tensors,
                                          const MixOptions& options = {});
// The same as ids. Error(kUsage) when the mix needs importances and there are none.
std::vector<tensor::FormatId> mix_formats(const Mix& mix, const MixModel& model,
                                          const std::vector<MixTensor>& tensors,
                                          const MixOptions& options = {});

// False for norms, biases, routers, convolutions, positions: what llama.cpp never quantizes.
bool is_quantizable(const MixTensor& tensor);

}  // namespace hone::optimize
