// A recipe: what was done to a model, as data that can be printed, edited and replayed to the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tensor/quant_format.h"

namespace hone::optimize {

// One pass with its parameters, by name: "quantize" gives each tensor its format; "feedback" then encodes with the
// covariance of the inputs on a text (quant/feedback.h). Others join the list.
struct RecipePass {
  std::string name;
  std::map<std::string, tensor::FormatId> formats = {};      // canonical (GGUF) tensor name -> format
  std::map<std::string, std::vector<float>> importances = {}; // canonical name -> weight per input feature
  // feedback: the calibration text as token windows, so that a replay needs no other file.
  std::vector<std::vector<int32_t>> windows = {};
  double damping = 0;
  int sweeps = 0;
};

struct Recipe {
  int version = 1;
  std::string hone_version;
  std::string model_sha256;       // of the input; replay on another model is refused unless forced
  uint64_t seed = 0;
  std::vector<RecipePass> passes;
  // What was measured when the recipe was found; written into the artifact's metadata, so a replay copies it.
  std::map<std::string, float> proof;    // "kl_divergence", "same_top1", ...
  std::string proof_digest;              // of the passes that the proof was measured for
};

// SHA-256 of model, seed and passes. A proof holds only while proof_digest equals it.
std::string digest(const Recipe& recipe);

// The recipe without importances, for the artifact's metadata and for people.
std::string to_short_yaml(const Recipe& recipe);

// YAML. Importances are stored as base64 of little-endian F32, so that a replay is exact.
std::string to_yaml(const Recipe& recipe);
Recipe recipe_from_yaml(const std::string& yaml, const std::string& name);  // Error(kBadInput) with the line

}  // namespace hone::optimize
