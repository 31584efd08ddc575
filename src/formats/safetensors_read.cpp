// safetensors reader: as strict as the reference implementation, and duplicate names are refused.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "formats/byte_reader.h"
#include "formats/safetensors.h"
#include "formats/safetensors_header.h"

namespace hone::formats {
namespace {

uint64_t entry_bytes(const SafetensorsEntry& entry, const std::string& file) {
  try {
    return tensor::format_bytes(entry.format, tensor::element_count(entry.shape));
  } catch (const Error& e) {
    fail(ErrorKind::kBadInput, "[safetensors] {}: tensor '{}' {} {}: impossible size; the file is damaged",
         file, printable(entry.name), tensor::format(entry.format).name,
         tensor::shape_text(entry.shape).substr(0, 100));
  }
}

// Sorted by place, each entry must begin where the one before it ends, and the last at the end.
void check_coverage(const std::vector<SafetensorsEntry>& entries, const std::vector<size_t>& order,
                    uint64_t data_bytes, const std::string& file) {
  uint64_t expected = 0;
  for (size_t i : order) {
    const SafetensorsEntry& e = entries[i];
    if (e.begin != expected || e.end < e.begin)
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: tensor '{}' lies at bytes {} to {} where {} is expected as the start; the file "
           "is damaged",
           file, printable(e.name), e.begin, e.end, expected);
    const uint64_t size = entry_bytes(e, file);
    if (e.end - e.begin != size)
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: tensor '{}' has {} bytes, its shape {} needs {}; the file is damaged", file,
           printable(e.name), e.end - e.begin, tensor::shape_text(e.shape).substr(0, 100), size);
    if (e.end > data_bytes)
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: tensor '{}' ends {} bytes past the end of the file; the file is truncated, get "
           "it again",
           file, printable(e.name), e.end - data_bytes);
    expected = e.end;
  }
  if (expected != data_bytes)
    fail(ErrorKind::kBadInput,
         "[safetensors] {}: {} bytes after the last tensor belong to none; the file is damaged", file,
         data_bytes - expected);
}

}  // namespace

void read_safetensors_bytes(std::span<const std::byte> bytes, const std::string& name,
                            tensor::Checkpoint& into) {
  ByteReader in(bytes, "safetensors", name);
  const auto length = in.read<uint64_t>("the header length");
  if (length > kMaxSafetensorsHeader)
    in.fail(ErrorKind::kBadInput,
            "announces a header of {} bytes, more than the format allows; this is not a safetensors file",
            length);
  const auto header = in.take(length, "the header");
  const auto entries =
      parse_safetensors_header({reinterpret_cast<const char*>(header.data()), header.size()}, name);
  const auto data = bytes.subspan(in.position());

  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return std::pair(entries[i].begin, entries[i].end); });
  check_coverage(entries, order, data.size(), name);
  for (size_t i : order) {
    const SafetensorsEntry& e = entries[i];
    if (into.find(e.name))
      in.fail(ErrorKind::kBadInput, "tensor '{}' is in an earlier file too; the files do not belong together",
              printable(e.name));
    into.add({e.name,
              {e.format, e.shape,
               e.begin == e.end ? std::span<const std::byte>() : data.subspan(e.begin, e.end - e.begin)}});
  }
}

void read_safetensors(const std::filesystem::path& path, tensor::Checkpoint& into) {
  auto file = MappedFile::open(path);
  read_safetensors_bytes(file->bytes(), path.filename().string(), into);
  into.files.push_back(path);
  into.keep_alive(std::move(file));
}

}  // namespace hone::formats
