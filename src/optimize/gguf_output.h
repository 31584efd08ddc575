// The artifact: a GGUF file with the chosen formats, its recipe and its proof in the metadata.
#pragma once

#include <filesystem>

#include "models/export.h"
#include "optimize/recipe.h"
#include "optimize/search.h"
#include "optimize/trial.h"

namespace hone::optimize {

// Bytes of the file apart from the slots' padded tensors, for the longest recipe text these slots can have.
uint64_t fixed_file_bytes(const models::Model& model, const TrialModel& trial, const Recipe& recipe);

// Writes the file and reads it back: every tensor must hold the bytes that were measured.
void write_artifact(const std::filesystem::path& path, const models::Model& model, TrialModel& trial, const Formats& formats,
                    const Recipe& recipe, ProgressSink* progress);

// general.file_type of llama.cpp for the format that holds most bytes.
uint32_t dominant_file_type(const std::vector<tensor::OutputTensor>& tensors);

}  // namespace hone::optimize
