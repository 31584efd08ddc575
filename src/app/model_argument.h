// What a MODEL argument means: a path, or org/name from the Hub's cache or the Hub itself.
#pragma once

#include <filesystem>
#include <string>

#include "base/progress.h"

namespace hone::app {

// The path of a .gguf file or of a Hugging Face directory. An existing path wins over a Hub name; a Hub name
// is taken from the cache when it is complete there, else pulled. Error(kBadInput) when it is neither.
std::filesystem::path resolve_model(const std::string& argument, ProgressSink* progress);

// For verbs that write, before any work is done: Error(kUsage) when the output is the input or no regular
// file, Error(kResource) when its directory is missing or cannot be written. "DIR/." checks the directory
// alone.
void check_output(const std::filesystem::path& output, const std::filesystem::path& input);

}  // namespace hone::app
