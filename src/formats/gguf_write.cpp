// GGUF writer: version 3, tensors streamed in the given order, every tensor padded to the alignment.
#include <bit>
#include <unordered_set>

#include "base/error.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"
#include "formats/gguf_layout.h"
#include "formats/output.h"

namespace hone::formats {
namespace {

using tensor::Metadata;
using tensor::MetaValue;
using tensor::OutputTensor;

// The header goes through one of two sinks: counted, or collected.
struct CountSink {
  uint64_t size = 0;
  void bytes(const void*, size_t count) { size += count; }
};
struct StringSink {
  std::string text;
  void bytes(const void* data, size_t count) { text.append(static_cast<const char*>(data), count); }
};

template <typename Sink, typename T>
void put(Sink& out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    put(out, static_cast<uint64_t>(value.size()));
    out.bytes(value.data(), value.size());
  } else if constexpr (std::is_same_v<T, bool>) {
    const uint8_t byte = value ? 1 : 0;
    out.bytes(&byte, 1);
  } else {
    static_assert(std::is_arithmetic_v<T>);
    out.bytes(&value, sizeof(T));
  }
}

template <typename Sink>
void put_value(Sink& out, const MetaValue& value) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        put(out, static_cast<uint32_t>(gguf_type_of<T>()));
        if constexpr (gguf_type_of<T>() != GgufType::kArray) {
          put(out, v);
        } else {
          std::visit(
              [&](const auto& values) {
                using E = typename std::decay_t<decltype(values)>::value_type;
                put(out, static_cast<uint32_t>(gguf_type_of<E>()));
                put(out, static_cast<uint64_t>(values.size()));
                if constexpr (std::is_same_v<E, bool> || std::is_same_v<E, std::string>) {
                  for (const auto& element : values) put(out, element);
                } else {
                  if (!values.empty()) out.bytes(values.data(), values.size() * sizeof(E));
                }
              },
              v->values);
        }
      },
      value);
}

// Everything before the padding that precedes the data.
template <typename Sink>
void put_header(Sink& out, const Metadata& metadata, std::span<const OutputTensor> tensors,
                uint64_t alignment) {
  out.bytes(kGgufMagic, 4);
  put(out, kGgufVersion);
  put(out, static_cast<int64_t>(tensors.size()));
  put(out, static_cast<int64_t>(metadata.entries().size()));
  for (const auto& [key, value] : metadata.entries()) {
    put(out, key);
    put_value(out, value);
  }
  uint64_t offset = 0;
  for (const OutputTensor& t : tensors) {
    put(out, t.name);
    put(out, static_cast<uint32_t>(t.shape.size()));
    for (auto size = t.shape.rbegin(); size != t.shape.rend(); ++size) put(out, *size);
    put(out, static_cast<uint32_t>(tensor::format(t.format).gguf_type));
    put(out, offset);
    offset += align_up(output_bytes(t, "gguf"), alignment);
  }
}

uint64_t header_bytes(const Metadata& metadata, std::span<const OutputTensor> tensors, uint64_t alignment) {
  CountSink count;
  put_header(count, metadata, tensors, alignment);
  return align_up(count.size, alignment);
}

void check_tensors(const std::vector<OutputTensor>& tensors) {
  std::unordered_set<std::string_view> names;
  for (const OutputTensor& t : tensors) {
    const std::string shown = printable(t.name);
    const tensor::QuantFormat& f = tensor::format(t.format);
    if (t.name.size() > kGgufMaxName)
      fail(ErrorKind::kUnsupported, "[gguf] tensor name '{}' has {} bytes, GGUF allows {}; rename it", shown,
           t.name.size(), kGgufMaxName);
    if (!names.insert(t.name).second)
      fail(ErrorKind::kBadInput, "[gguf] tensor '{}' would be written twice; drop one", shown);
    if (t.shape.size() > kGgufMaxDims)
      fail(ErrorKind::kUnsupported, "[gguf] tensor '{}' has {} dimensions, GGUF allows 4; reshape it", shown,
           t.shape.size());
    if (f.gguf_type < 0)
      fail(ErrorKind::kUnsupported, "[gguf] tensor '{}': GGUF cannot carry {}; choose another format", shown,
           f.name);
  }
}

uint64_t tensor_info_bytes(const OutputTensor& t) {
  return 8 + t.name.size() + 4 + 8 * t.shape.size() + 4 + 8;
}

// Metadata as it will stand in the file, without the split keys of an earlier life.
Metadata file_metadata(const Metadata& metadata, uint32_t alignment) {
  Metadata out = metadata;
  for (const char* key : {kSplitNo, kSplitCount, kSplitTensors}) out.erase(key);
  if (alignment != kGgufAlignment) out.set(kAlignmentKey, alignment);
  return out;
}

// A metadata key general.alignment holds unless the caller asks for another alignment than the default.
uint32_t effective_alignment(const Metadata& metadata, uint32_t asked) {
  if (!std::has_single_bit(asked))
    fail(ErrorKind::kUsage, "[gguf] alignment {} is not a power of two", asked);
  const MetaValue* value = metadata.find(kAlignmentKey);
  const auto* own = value ? std::get_if<uint32_t>(value) : nullptr;
  if (value && (!own || !std::has_single_bit(*own)))
    fail(ErrorKind::kBadInput, "[gguf] key '{}' must be a u32 power of two; remove it", kAlignmentKey);
  return own && asked == kGgufAlignment ? *own : asked;
}

Metadata shard_metadata(const Metadata& base, size_t number, size_t count, size_t tensors,
                        uint32_t alignment) {
  Metadata out;
  if (number == 0)
    out = base;
  else if (alignment != kGgufAlignment)
    out.set(kAlignmentKey, alignment);
  out.set(kSplitNo, static_cast<uint16_t>(number));
  out.set(kSplitCount, static_cast<uint16_t>(count));
  out.set(kSplitTensors, static_cast<int32_t>(tensors));
  return out;
}

using Range = std::pair<size_t, size_t>;  // tensors [first, second)

// Greedy: a part is closed when the next tensor would push its file past the limit.
std::vector<Range> plan_parts(const Metadata& metadata, const std::vector<OutputTensor>& tensors,
                              uint32_t alignment, uint64_t limit) {
  std::vector<Range> parts;
  size_t begin = 0;
  uint64_t infos = 0, data = 0;
  const uint64_t first_header = header_bytes(shard_metadata(metadata, 0, 1, 0, alignment), {}, 1);
  const uint64_t other_header = header_bytes(shard_metadata(metadata, 1, 1, 0, alignment), {}, 1);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t more_infos = tensor_info_bytes(tensors[i]),
                   more_data = align_up(output_bytes(tensors[i], "gguf"), alignment);
    const uint64_t header =
        align_up((begin == 0 ? first_header : other_header) + infos + more_infos, alignment);
    if (i > begin && header + data + more_data > limit) {
      parts.emplace_back(begin, i);
      begin = i;
      infos = data = 0;
    }
    infos += more_infos;
    data += more_data;
  }
  parts.emplace_back(begin, tensors.size());
  return parts;
}

void write_part(AtomicFile& file, const Metadata& metadata, std::span<const OutputTensor> tensors,
                uint64_t alignment, std::vector<std::byte>& scratch, Progress& progress) {
  StringSink header;
  put_header(header, metadata, tensors, alignment);
  file.write(header.text);
  file.write_zeros(align_up(file.position(), alignment) - file.position());
  for (const OutputTensor& t : tensors) {
    write_tensor(file, t, "gguf", scratch, progress);
    file.write_zeros(align_up(file.position(), alignment) - file.position());
  }
}

}  // namespace

uint64_t gguf_file_bytes(const Metadata& metadata, const std::vector<OutputTensor>& tensors,
                         uint32_t alignment) {
  alignment = effective_alignment(metadata, alignment);
  uint64_t size = header_bytes(file_metadata(metadata, alignment), tensors, alignment);
  for (const OutputTensor& t : tensors) size += align_up(output_bytes(t, "gguf"), alignment);
  return size;
}

std::vector<std::filesystem::path> write_gguf(const std::filesystem::path& path, const Metadata& metadata,
                                              const std::vector<OutputTensor>& tensors,
                                              const GgufWriteOptions& options, ProgressSink* progress) {
  check_tensors(tensors);
  const uint32_t alignment = effective_alignment(metadata, options.alignment);
  const Metadata base = file_metadata(metadata, alignment);
  uint64_t total = 0;
  for (const OutputTensor& t : tensors) total += output_bytes(t, "gguf");

  std::vector<Range> parts{{0, tensors.size()}};
  if (options.max_shard_bytes > 0 && gguf_file_bytes(metadata, tensors, alignment) > options.max_shard_bytes)
    parts = plan_parts(base, tensors, alignment, options.max_shard_bytes);
  if (parts.size() > 65535)
    fail(ErrorKind::kUsage, "[gguf] {}: {} parts are too many; allow larger ones", path.filename().string(),
         parts.size());

  Progress bar(progress, "writing " + path.filename().string(), total);
  FileGroup group;
  std::vector<std::filesystem::path> written;
  std::vector<std::byte> scratch;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [begin, end] = parts[i];
    const auto part = std::span(tensors).subspan(begin, end - begin);
    const bool split = parts.size() > 1;
    std::string prefix = path.filename().string();
    if (prefix.ends_with(".gguf")) prefix.resize(prefix.size() - 5);
    written.push_back(split ? path.parent_path() / shard_name(prefix, i + 1, parts.size(), ".gguf") : path);
    write_part(group.add(written.back()),
               split ? shard_metadata(base, i, parts.size(), tensors.size(), alignment) : base, part,
               alignment, scratch, bar);
  }
  group.commit();
  return written;
}

}  // namespace hone::formats
