// Importance matrices: how much each input column of a weight matters to its outputs, as llama.cpp's tools
// keep it in files (GGUF, and the older binary form).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "tensor/checkpoint.h"

namespace hone::formats {

// Statistics of one weight [out, in], or of a stack of such matrices (experts).
struct ImportanceEntry {
  std::vector<float> sums;    // [matrices, in]: sum of x^2 over the rows of input that the matrix saw
  std::vector<float> counts;  // [matrices]: how many rows
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry> entries;  // by GGUF name of the weight
  std::vector<std::string> datasets;
  int64_t chunks = 0;        // pieces of text; 0: not written down
  int64_t chunk_size = 512;  // tokens in each

  // sums / counts; all ones for a matrix that saw nothing. [matrices * in] by weight.
  std::map<std::string, std::vector<float>> mean_squares() const;
  // Adds another run's sums and counts. Error(kBadInput) names weights whose sizes differ.
  void add(const ImportanceMatrix& other);
};

// Either form, told apart by the first bytes. Error(kBadInput) when the file is no importance matrix, is cut
// off, or its numbers cannot be means of squares. The older form counts pieces of text, not rows; they are
// taken as 512 tokens each.
ImportanceMatrix read_imatrix(const std::filesystem::path& path);
ImportanceMatrix parse_imatrix(const tensor::Checkpoint& file, const std::string& source);        // GGUF
ImportanceMatrix parse_old_imatrix(std::span<const std::byte> bytes, const std::string& source);  // .dat

// GGUF, as llama-quantize --imatrix reads it.
void write_imatrix(const std::filesystem::path& path, const ImportanceMatrix& matrix,
                   ProgressSink* progress = nullptr);

}  // namespace hone::formats
