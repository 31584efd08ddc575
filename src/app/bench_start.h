// How long a fresh process of this program takes from its start to a first token.
#pragma once

#include <filesystem>

#include "evaluate/speed.h"

namespace hone::app {

// Runs this program anew `repetitions` times, after one that is not counted, on a short prompt; seconds until
// the first byte of its answer. Error(kResource) when it cannot be started or says nothing.
evaluate::Sample fresh_start_seconds(const std::filesystem::path& model, int threads, int repetitions);

}  // namespace hone::app
