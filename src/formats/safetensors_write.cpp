// safetensors writer: the byte layout of the reference writer (compact JSON header padded to 8 bytes,
// tensors by descending dtype, then name).
#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "formats/byte_reader.h"
#include "formats/output.h"
#include "formats/safetensors.h"
#include "formats/safetensors_header.h"
#include "formats/safetensors_output.h"

namespace hone::formats {
namespace {

using tensor::FormatId;
using tensor::OutputTensor;

// Ascending, as the reference implementation ranks dtypes.
constexpr FormatId kRank[] = {
    FormatId::kBool,       FormatId::kF4,     FormatId::kF6E2M3, FormatId::kF6E3M2, FormatId::kU8,
    FormatId::kI8,         FormatId::kF8E5M2, FormatId::kF8E4M3, FormatId::kF8E8M0, FormatId::kF8E4M3Fnuz,
    FormatId::kF8E5M2Fnuz, FormatId::kI16,    FormatId::kU16,    FormatId::kF16,    FormatId::kBF16,
    FormatId::kI32,        FormatId::kU32,    FormatId::kF32,    FormatId::kC64,    FormatId::kF64,
    FormatId::kI64,        FormatId::kU64};

size_t rank(const OutputTensor& t) {
  const auto found = std::ranges::find(kRank, t.format);
  if (found == std::end(kRank))
    fail(ErrorKind::kUnsupported,
         "[safetensors] tensor '{}': safetensors cannot carry {}; choose a plain format", printable(t.name),
         tensor::format(t.format).name);
  return static_cast<size_t>(found - std::begin(kRank));
}

// A JSON string; names must be UTF-8.
std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::kBadInput, "[safetensors] the name '{}' is not valid UTF-8; rename it", printable(text));
  }
}

std::string header_text(const std::vector<const OutputTensor*>& ordered,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    text += quoted(kSafetensorsMetadata) + ":{";
    for (const auto& [key, value] : metadata)
      text += (text.back() == '{' ? "" : ",") + quoted(key) + ":" + quoted(value);
    text += "}";
  }
  uint64_t offset = 0;
  for (const OutputTensor* t : ordered) {
    const uint64_t end = offset + output_bytes(*t, "safetensors");
    if (text.size() > 1) text += ",";
    text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", quoted(t->name),
                        tensor::format(t->format).name, fmt::join(t->shape, ","), offset, end);
    offset = end;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

bool aligned_as_given(const std::vector<const OutputTensor*>& tensors) {
  uint64_t offset = 0;
  for (const OutputTensor* t : tensors) {
    if (offset % std::max(1u, tensor::format(t->format).block_bytes) != 0) return false;
    offset += output_bytes(*t, "safetensors");
  }
  return true;
}

}  // namespace

void write_safetensors_to(AtomicFile& file, std::vector<const OutputTensor*> tensors,
                          const std::map<std::string, std::string>& metadata, std::vector<std::byte>& scratch,
                          Progress& progress, bool keep_order) {
  if (!keep_order || !aligned_as_given(tensors)) std::ranges::sort(tensors, [](const OutputTensor* a, const OutputTensor* b) {
    return std::pair(rank(*b), std::string_view(a->name)) < std::pair(rank(*a), std::string_view(b->name));
  });
  for (size_t i = 0; i < tensors.size(); ++i) {
    rank(*tensors[i]);  // a single tensor is never compared
    if (tensors[i]->name == kSafetensorsMetadata)
      fail(ErrorKind::kBadInput, "[safetensors] a tensor cannot be called '{}'; rename it",
           kSafetensorsMetadata);
  }
  const std::string header = header_text(tensors, metadata);
  if (header.size() > kMaxSafetensorsHeader)
    fail(ErrorKind::kUnsupported,
         "[safetensors] the header would have {} bytes, more than the format allows; use more shards",
         header.size());
  const uint64_t length = header.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const OutputTensor* t : tensors) write_tensor(file, *t, "safetensors", scratch, progress);
}

void check_safetensors_names(const std::vector<OutputTensor>& tensors) {
  std::vector<std::string_view> names;
  for (const OutputTensor& t : tensors) names.push_back(t.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end())
    fail(ErrorKind::kBadInput, "[safetensors] tensor '{}' would be written twice; drop one",
         printable(*twice));
}

void write_safetensors(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors,
                       const std::map<std::string, std::string>& metadata, ProgressSink* progress) {
  check_safetensors_names(tensors);
  uint64_t total = 0;
  std::vector<const OutputTensor*> all;
  for (const OutputTensor& t : tensors) {
    total += output_bytes(t, "safetensors");
    all.push_back(&t);
  }
  Progress bar(progress, "writing " + path.filename().string(), total);
  AtomicFile file(path);
  std::vector<std::byte> scratch;
  write_safetensors_to(file, std::move(all), metadata, scratch, bar);
  file.commit();
}

}  // namespace hone::formats
