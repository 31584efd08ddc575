#include "formats/output.h"

#include <algorithm>

#include "base/cancel.h"
#include "base/error.h"
#include "formats/byte_reader.h"

namespace hone::formats {

namespace fs = std::filesystem;

uint64_t output_bytes(const tensor::OutputTensor& t, std::string_view module) {
  const tensor::QuantFormat& f = tensor::format(t.format);
  const uint64_t count = tensor::element_count(t.shape);
  if (f.quantized() && !t.shape.empty() && !tensor::divides(t.format, static_cast<uint64_t>(t.shape.back())))
    fail(ErrorKind::kBadInput,
         "[{}] tensor '{}' {}: rows of {} values do not divide into {} blocks of {}; choose another format",
         module, printable(t.name), tensor::shape_text(t.shape), t.shape.back(), f.name, f.block);
  return tensor::format_bytes(t.format, count);
}

uint64_t align_up(uint64_t value, uint64_t alignment) {
  const uint64_t rest = value % alignment;
  if (rest == 0) return value;
  return value > UINT64_MAX - (alignment - rest) ? UINT64_MAX : value + (alignment - rest);
}

void write_tensor(AtomicFile& file, const tensor::OutputTensor& t, std::string_view module,
                  std::vector<std::byte>& scratch, Progress& progress) {
  throw_if_cancelled();
  const uint64_t size = output_bytes(t, module);
  if (size > scratch.size()) {
    scratch.clear();
    try {
      scratch.resize(size);
    } catch (const std::exception&) {
      fail(ErrorKind::kResource, "[{}] tensor '{}': cannot allocate {} bytes to produce it; free memory",
           module, printable(t.name), size);
    }
  }
  const auto bytes = std::span(scratch).first(size);
  t.produce(bytes);
  MappedFile::forget(t.view.bytes);  // a model passes through once: its pages need not stay
  constexpr size_t kChunk = size_t{16} << 20;
  for (size_t at = 0; at < bytes.size(); at += kChunk) {
    throw_if_cancelled();
    const size_t count = std::min(kChunk, bytes.size() - at);
    file.write(bytes.subspan(at, count));
    progress.advance(count);
  }
}

void FileGroup::create_directory(const fs::path& directory) {
  std::vector<fs::path> missing;
  std::error_code code;
  for (fs::path p = directory; !p.empty() && !fs::exists(p, code); p = p.parent_path()) {
    missing.push_back(p);
    if (p == p.parent_path()) break;
  }
  for (auto p = missing.rbegin(); p != missing.rend(); ++p) {
    const bool made = fs::create_directory(*p, code);
    if (code)
      fail(ErrorKind::kResource, "[file] {}: cannot create the directory: {}", p->string(), code.message());
    if (made) directories_.push_back(*p);
  }
  if (!fs::is_directory(directory, code))
    fail(ErrorKind::kResource, "[file] {}: exists and is not a directory; choose another name",
         directory.string());
}

AtomicFile& FileGroup::add(const fs::path& path) {
  std::error_code code;
  entries_.push_back({path, fs::exists(path, code), std::make_unique<AtomicFile>(path)});
  return *entries_.back().file;
}

void FileGroup::commit() {
  for (Entry& entry : entries_) {
    entry.file->commit();
    entry.committed = true;
  }
  done_ = true;
}

FileGroup::~FileGroup() {
  if (done_) return;
  std::error_code code;
  for (Entry& entry : entries_) {
    entry.file.reset();
    if (entry.committed && !entry.existed) fs::remove(entry.path, code);
  }
  for (auto d = directories_.rbegin(); d != directories_.rend(); ++d) fs::remove(*d, code);  // only if empty
}

}  // namespace hone::formats
