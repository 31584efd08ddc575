// llama.cpp's pre-tokenizers by name (GGUF key tokenizer.ggml.pre), as data. A name stands for regular
// expressions applied in turn to every piece, before bytes are written in the byte alphabet.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone::text {

struct PreTokenizerRow {
  std::vector<const char*> names;  // the first is what hone writes
  std::vector<std::string> regexes;
  bool ignore_merges = false;
  bool add_bos = false;            // when the file does not say
  bool add_eos = false;
  bool raw = false;                // pieces in plain UTF-8 with space marks and byte fallback, and no expressions
  bool words = false;              // pieces in plain UTF-8; text is cut at word boundaries and spaces are dropped
};

// Error(kUnsupported) for unknown names.
const PreTokenizerRow& find_pre_tokenizer(std::string_view name);
// The name of a chain of regular expressions as found in a tokenizer.json; none when llama.cpp has none.
std::optional<std::string> name_of_chain(const std::vector<std::string>& regexes, bool ignore_merges);

}  // namespace hone::text
