// Text and tokenizers that verbs read from files, arguments or a pipe.
#pragma once

#include <memory>
#include <string>

#include "base/progress.h"
#include "text/tokenizer.h"

namespace hone::app {

// All of stdin. Error(kBadInput) past max_bytes.
std::string read_stdin(size_t max_bytes);

// The tokenizer of a MODEL argument, or a tokenizer.json file itself (with tokenizer_config.json beside it).
std::unique_ptr<text::Tokenizer> open_tokenizer(const std::string& model, ProgressSink* progress);

}  // namespace hone::app
