// The texts of an optimization, as token windows that do not overlap: statistics, search, held-out evaluation.
#pragma once

#include <vector>

#include "optimize/optimize.h"
#include "text/tokenizer.h"

namespace hone::optimize {

using Windows = std::vector<std::vector<text::TokenId>>;

struct Texts {
  Windows statistics;   // importances
  Windows trial;        // one tensor at a time
  Windows search;       // whole allocations
  Windows evaluation;   // the proof; never seen by the search
  std::string calibration_source, evaluation_source;  // for the report
};

// Tokens of a window: 512 as llama-perplexity takes, less for a model with a shorter context. The search measures on
// pieces of at most half of that.
int64_t evaluation_window(const models::ModelConfig& config);

// From options.calibration (a text file, spread over its whole length, its last quarter held out), or from text that the
// model writes itself, seeded. options.evaluation replaces the held-out part.
Texts prepare_texts(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer, const Options& options,
                    ProgressSink* progress);

}  // namespace hone::optimize
