// llama.cpp's importance matrices (GGUF form): how much each input column of a weight matters.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hone::app {

struct ImportanceMatrix {
  // Weight name -> mean square of each input feature, row length values; of stacked experts one after
  // another.
  std::map<std::string, std::vector<float>> weights;
  std::vector<std::string> datasets;
  int64_t chunks = 0;
};

// Error(kBadInput) when the file is no importance matrix or its tensors do not fit together.
ImportanceMatrix read_imatrix(const std::filesystem::path& path);

}  // namespace hone::app
