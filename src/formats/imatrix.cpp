// Importance matrix files. GGUF: "<weight>.in_sum2" and "<weight>.counts". Older: a count of entries, then
// name, calls, values each, little-endian int32 and float32; then the number of the last piece of text and
// the text's name.
#include "formats/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/file.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"
#include "formats/gguf_layout.h"

namespace hone::formats {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr int64_t kOldChunk = 512;
constexpr int32_t kMaxNameBytes = 4096;

void check_values(const ImportanceEntry& entry, const std::string& weight, const std::string& source) {
  const auto sound = [](float v) { return std::isfinite(v) && v >= 0; };
  if (!std::all_of(entry.sums.begin(), entry.sums.end(), sound) ||
      !std::all_of(entry.counts.begin(), entry.counts.end(), sound))
    fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' holds a negative or non-finite number", source,
         printable(weight));
}

}  // namespace

std::map<std::string, std::vector<float>> ImportanceMatrix::mean_squares() const {
  std::map<std::string, std::vector<float>> means;
  for (const auto& [weight, entry] : entries) {
    std::vector<float>& out = means[weight];
    out = entry.sums;
    const size_t columns = entry.sums.size() / entry.counts.size();
    for (size_t i = 0; i < out.size(); ++i) {
      const float count = entry.counts[i / columns];
      out[i] = count > 0 ? out[i] / count : 1.0f;
    }
  }
  return means;
}

void ImportanceMatrix::add(const ImportanceMatrix& other) {
  std::string wrong;
  for (const auto& [weight, entry] : other.entries) {
    const auto [own, added] = entries.emplace(weight, entry);
    if (added) continue;
    ImportanceEntry& sum = own->second;
    if (sum.sums.size() != entry.sums.size() || sum.counts.size() != entry.counts.size()) {
      if (wrong.size() < 400) wrong += (wrong.empty() ? "'" : ", '") + printable(weight) + "'";
      continue;
    }
    std::transform(sum.sums.begin(), sum.sums.end(), entry.sums.begin(), sum.sums.begin(), std::plus<>());
    std::transform(sum.counts.begin(), sum.counts.end(), entry.counts.begin(), sum.counts.begin(),
                   std::plus<>());
  }
  if (!wrong.empty())
    fail(ErrorKind::kBadInput, "[imatrix] the files are of different models: sizes of {} differ", wrong);
  for (const std::string& name : other.datasets)
    if (std::find(datasets.begin(), datasets.end(), name) == datasets.end()) datasets.push_back(name);
  chunks += other.chunks;
}

ImportanceMatrix parse_imatrix(const tensor::Checkpoint& file, const std::string& source) {
  if (file.metadata.get_string_or("general.type", "") != "imatrix")
    fail(ErrorKind::kBadInput,
         "[imatrix] {}: general.type is not 'imatrix'; make one with hone imatrix or llama-imatrix", source);
  ImportanceMatrix result;
  if (const auto* datasets = file.metadata.find_strings("imatrix.datasets")) result.datasets = *datasets;
  result.chunks = file.metadata.get_int_or("imatrix.chunk_count", 0);
  result.chunk_size = file.metadata.get_int_or("imatrix.chunk_size", kOldChunk);
  for (const auto& [name, view] : file.tensors()) {
    if (name.size() <= kSums.size() || !name.ends_with(kSums)) continue;
    const std::string weight = name.substr(0, name.size() - kSums.size());
    const auto* counts = file.find(weight + std::string(kCounts));
    if (!counts || view.format != tensor::FormatId::kF32 || counts->view.format != tensor::FormatId::kF32)
      fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' needs F32 sums and counts", source, printable(weight));
    ImportanceEntry entry{tensor::decode(view), tensor::decode(counts->view)};
    if (entry.sums.empty() || entry.counts.empty() || entry.sums.size() % entry.counts.size() != 0)
      fail(ErrorKind::kBadInput, "[imatrix] {}: '{}' has {} sums for {} counts", source, printable(weight),
           entry.sums.size(), entry.counts.size());
    check_values(entry, weight, source);
    result.entries.emplace(weight, std::move(entry));
  }
  if (result.entries.empty())
    fail(ErrorKind::kBadInput, "[imatrix] {}: no tensor named *.in_sum2; the file is empty", source);
  return result;
}

ImportanceMatrix parse_old_imatrix(std::span<const std::byte> bytes, const std::string& source) {
  ByteReader reader(bytes, "imatrix", source);
  const auto count = reader.read<int32_t>("number of entries");
  if (count < 1) reader.fail(ErrorKind::kBadInput, "{} entries; this is no importance matrix", count);
  reader.require_items(static_cast<uint64_t>(count), 13, "entries");
  ImportanceMatrix result;
  for (int32_t i = 0; i < count; ++i) {
    const auto length = reader.read<int32_t>("length of a name");
    if (length < 1 || length > kMaxNameBytes)
      reader.fail(ErrorKind::kBadInput, "entry {} has a name of {} bytes; this is no importance matrix", i,
                  length);
    const auto raw = reader.take(static_cast<uint64_t>(length), "name");
    const std::string weight(reinterpret_cast<const char*>(raw.data()), raw.size());
    const auto calls = reader.read<int32_t>("number of calls"),
               values = reader.read<int32_t>("number of values");
    if (calls < 0 || values < 1)
      reader.fail(ErrorKind::kBadInput, "'{}' has {} values of {} calls", printable(weight), values, calls);
    reader.require_items(static_cast<uint64_t>(values), sizeof(float), "values");
    ImportanceEntry entry{std::vector<float>(static_cast<size_t>(values)),
                          {static_cast<float>(calls) * kOldChunk}};
    const auto data = reader.take(static_cast<uint64_t>(values) * sizeof(float), "values");
    std::memcpy(entry.sums.data(), data.data(), data.size());
    for (float& v : entry.sums) v *= kOldChunk;
    check_values(entry, weight, source);
    if (!result.entries.emplace(weight, std::move(entry)).second)
      reader.fail(ErrorKind::kBadInput, "'{}' occurs twice", printable(weight));
    result.chunks = std::max<int64_t>(result.chunks, calls);
  }
  if (reader.remaining() == 0) return result;  // the oldest files end here
  result.chunks = reader.read<int32_t>("number of the last piece");
  const auto length = reader.read<int32_t>("length of the text's name");
  if (result.chunks < 0 || length < 0) reader.fail(ErrorKind::kBadInput, "the end is damaged");
  const auto raw = reader.take(static_cast<uint64_t>(length), "name of the text");
  if (length > 0) result.datasets.emplace_back(reinterpret_cast<const char*>(raw.data()), raw.size());
  return result;
}

ImportanceMatrix read_imatrix(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  const std::string source = path.filename().string();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), kGgufMagic, 4) == 0)
    return parse_imatrix(read_gguf(path), source);
  return parse_old_imatrix(bytes, source);
}

void write_imatrix(const std::filesystem::path& path, const ImportanceMatrix& matrix,
                   ProgressSink* progress) {
  tensor::Metadata metadata;
  metadata.set("general.type", std::string("imatrix"));
  metadata.set("imatrix.datasets", tensor::make_array(matrix.datasets));
  metadata.set("imatrix.chunk_count", static_cast<uint32_t>(matrix.chunks));
  metadata.set("imatrix.chunk_size", static_cast<uint32_t>(matrix.chunk_size));
  std::vector<tensor::OutputTensor> tensors;
  const auto add = [&](std::string name, const std::vector<float>& values, size_t matrices) {
    const auto rows = static_cast<int64_t>(matrices),
               columns = static_cast<int64_t>(values.size() / matrices);
    tensors.push_back(
        {std::move(name), tensor::FormatId::kF32, {rows, columns}, [&values](std::span<std::byte> dst) {
           std::memcpy(dst.data(), values.data(), dst.size());
         }});
  };
  for (const auto& [weight, entry] : matrix.entries) {
    add(weight + std::string(kSums), entry.sums, entry.counts.size());
    add(weight + std::string(kCounts), entry.counts, entry.counts.size());
  }
  write_gguf(path, metadata, tensors, {}, progress);
}

}  // namespace hone::formats
