// Inner functions of the safetensors writer that the directory writer uses too.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/progress.h"
#include "tensor/checkpoint.h"

namespace hone::formats {

void check_safetensors_names(
    const std::vector<tensor::OutputTensor>& tensors);  // Error(kBadInput) on duplicates

// Writes the whole content of one file; the caller commits it. Sorted as the reference writer does, or as given where
// keep_order is set and every tensor would be aligned to its element.
void write_safetensors_to(AtomicFile& file, std::vector<const tensor::OutputTensor*> tensors,
                          const std::map<std::string, std::string>& metadata, std::vector<std::byte>& scratch,
                          Progress& progress, bool keep_order = false);

}  // namespace hone::formats
