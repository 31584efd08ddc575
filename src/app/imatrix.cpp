#include "app/imatrix.h"

#include <cmath>

#include "base/error.h"
#include "formats/gguf.h"

namespace hone::app {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

ImportanceMatrix read_imatrix(const std::filesystem::path& path) {
  const tensor::Checkpoint file = formats::read_gguf(path);
  const std::string name = path.filename().string();
  if (file.metadata.get_string_or("general.type", "") != "imatrix")
    fail(ErrorKind::kBadInput,
         "[imatrix] {}: general.type is not 'imatrix'; make one with llama-imatrix (GGUF output)", name);
  ImportanceMatrix result;
  if (const auto* datasets = file.metadata.find_strings("imatrix.datasets")) result.datasets = *datasets;
  result.chunks = file.metadata.get_int_or("imatrix.chunk_count", 0);
  for (const auto& [tensor_name, view] : file.tensors()) {
    if (!ends_with(tensor_name, kSums)) continue;
    const std::string weight = tensor_name.substr(0, tensor_name.size() - kSums.size());
    const auto* counts = file.find(weight + std::string(kCounts));
    if (!counts || view.format != tensor::FormatId::kF32 || counts->view.format != tensor::FormatId::kF32)
      fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' needs F32 sums and counts", name, weight);
    std::vector<float> values = tensor::decode(view);
    const std::vector<float> seen = tensor::decode(counts->view);
    if (seen.empty() || values.size() % seen.size() != 0)
      fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' has {} sums for {} counts", name, weight, values.size(),
           seen.size());
    const size_t columns = values.size() / seen.size();
    for (size_t i = 0; i < values.size(); ++i) {
      const float count = seen[i / columns];
      values[i] = count > 0 ? values[i] / count : 1.0f;
      if (!std::isfinite(values[i]) || values[i] < 0)
        fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' holds a negative or non-finite sum", name, weight);
    }
    result.weights[weight] = std::move(values);
  }
  if (result.weights.empty())
    fail(ErrorKind::kBadInput, "[imatrix] {}: no tensor named *.in_sum2; the file is empty", name);
  return result;
}

}  // namespace hone::app
