// GGUF reader. As strict as ggml's: unique keys and names, sizes checked, tensors one after another
// without gaps. Everything read is bounded by the bytes that are there.
#include <array>
#include <bit>
#include <unordered_set>

#include "base/error.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"
#include "formats/gguf_layout.h"
#include "formats/output.h"

namespace hone::formats {
namespace {

using tensor::Checkpoint;
using tensor::MetaArray;
using tensor::Metadata;
using tensor::MetaValue;

// ggml types that hone's table lacks, for messages.
struct ForeignType {
  uint32_t id;
  const char* name;
};
constexpr ForeignType kForeign[] = {{9, "Q8_1"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
                                    {19, "IQ1_S"}, {21, "IQ3_S"},   {22, "IQ2_S"},  {29, "IQ1_M"},
                                    {34, "TQ1_0"}, {35, "TQ2_0"},   {40, "NVFP4"},  {41, "Q1_0"}};

class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), in_(bytes, "gguf", name) {}

  void read_into(Metadata& metadata, Checkpoint& into) {
    read_header();
    for (uint64_t i = 0; i < key_count_; ++i) read_key_value(metadata);
    read_alignment(metadata);
    read_tensors(into);
  }

 private:
  void read_header();
  void read_key_value(Metadata& metadata);
  void read_alignment(const Metadata& metadata);
  void read_tensors(Checkpoint& into);
  tensor::NamedTensor read_tensor_info(uint64_t& offset);
  std::string read_string(std::string_view what);
  MetaValue read_value(uint32_t type, const std::string& key);
  MetaValue read_array(const std::string& key);
  template <typename T>
  MetaValue read_numbers(uint64_t count, const std::string& key);

  std::span<const std::byte> bytes_;
  ByteReader in_;
  uint64_t tensor_count_ = 0, key_count_ = 0, alignment_ = kGgufAlignment;
};

void GgufReader::read_header() {
  const auto magic = in_.take(4, "the magic number");
  if (std::memcmp(magic.data(), kGgufMagic, 4) != 0)
    in_.fail(ErrorKind::kBadInput, "does not begin with 'GGUF'; this is not a GGUF file");
  const auto version = in_.read<uint32_t>("the version");
  if (version != 0 && (version & 0xFFFF) == 0)
    in_.fail(ErrorKind::kUnsupported,
             "is big-endian; convert it with gguf-convert-endian of the Python package gguf");
  if (version != 2 && version != kGgufVersion)
    in_.fail(ErrorKind::kUnsupported,
             "has GGUF version {}; versions 2 and 3 are supported, convert the model again", version);
  const auto tensors = in_.read<int64_t>("the tensor count"), keys = in_.read<int64_t>("the key count");
  if (tensors < 0 || keys < 0)
    in_.fail(ErrorKind::kBadInput, "has a negative tensor or key count; the file is damaged");
  tensor_count_ = static_cast<uint64_t>(tensors);
  key_count_ = static_cast<uint64_t>(keys);
  in_.require_items(key_count_, 8 + 4 + 1, "the metadata");  // key, type, value of at least a byte
}

std::string GgufReader::read_string(std::string_view what) {
  const auto length = in_.read<uint64_t>(what);
  if (length > kGgufMaxCount)
    in_.fail(ErrorKind::kBadInput, "{} is {} bytes long; the file is damaged", what, length);
  const auto text = in_.take(length, what);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

template <typename T>
MetaValue GgufReader::read_numbers(uint64_t count, const std::string& key) {
  in_.require_items(count, sizeof(T), "array '" + printable(key) + "'");
  std::vector<T> values(count);
  const auto raw = in_.take(count * sizeof(T), key);
  if (count > 0) std::memcpy(values.data(), raw.data(), raw.size());
  return tensor::make_array(std::move(values));
}

MetaValue GgufReader::read_array(const std::string& key) {
  const auto type = in_.read<uint32_t>("array '" + printable(key) + "'");
  const auto count = in_.read<uint64_t>("array '" + printable(key) + "'");
  if (count > kGgufMaxCount)
    in_.fail(ErrorKind::kBadInput, "array '{}' has {} elements; the file is damaged", printable(key), count);
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
      return read_numbers<uint8_t>(count, key);
    case GgufType::kI8:
      return read_numbers<int8_t>(count, key);
    case GgufType::kU16:
      return read_numbers<uint16_t>(count, key);
    case GgufType::kI16:
      return read_numbers<int16_t>(count, key);
    case GgufType::kU32:
      return read_numbers<uint32_t>(count, key);
    case GgufType::kI32:
      return read_numbers<int32_t>(count, key);
    case GgufType::kF32:
      return read_numbers<float>(count, key);
    case GgufType::kU64:
      return read_numbers<uint64_t>(count, key);
    case GgufType::kI64:
      return read_numbers<int64_t>(count, key);
    case GgufType::kF64:
      return read_numbers<double>(count, key);
    case GgufType::kBool: {
      const auto raw = in_.take(count, "array '" + printable(key) + "'");
      std::vector<bool> flags(raw.size());
      for (size_t i = 0; i < raw.size(); ++i) flags[i] = raw[i] != std::byte{0};
      return tensor::make_array(std::move(flags));
    }
    case GgufType::kString: {
      in_.require_items(count, 8, "array '" + printable(key) + "'");
      std::vector<std::string> strings;
      strings.reserve(count);
      for (uint64_t i = 0; i < count; ++i) strings.push_back(read_string("a string of an array"));
      return tensor::make_array(std::move(strings));
    }
    case GgufType::kArray:
      in_.fail(
          ErrorKind::kUnsupported,
          "key '{}' is an array of arrays, which ggml does not read either; write the file again without it",
          printable(key));
  }
  in_.fail(ErrorKind::kBadInput, "array '{}' has elements of unknown type {}; the file is damaged",
           printable(key), type);
}

MetaValue GgufReader::read_value(uint32_t type, const std::string& key) {
  const std::string_view what = "a metadata value";
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
      return in_.read<uint8_t>(what);
    case GgufType::kI8:
      return in_.read<int8_t>(what);
    case GgufType::kU16:
      return in_.read<uint16_t>(what);
    case GgufType::kI16:
      return in_.read<int16_t>(what);
    case GgufType::kU32:
      return in_.read<uint32_t>(what);
    case GgufType::kI32:
      return in_.read<int32_t>(what);
    case GgufType::kF32:
      return in_.read<float>(what);
    case GgufType::kU64:
      return in_.read<uint64_t>(what);
    case GgufType::kI64:
      return in_.read<int64_t>(what);
    case GgufType::kF64:
      return in_.read<double>(what);
    case GgufType::kBool:
      return in_.read<uint8_t>(what) != 0;
    case GgufType::kString:
      return read_string(what);
    case GgufType::kArray:
      return read_array(key);
  }
  in_.fail(ErrorKind::kBadInput, "key '{}' has unknown value type {}; the file is damaged", printable(key),
           type);
}

void GgufReader::read_key_value(Metadata& metadata) {
  std::string key = read_string("a metadata key");
  if (key.empty())
    in_.fail(ErrorKind::kBadInput, "has an empty metadata key at byte {}; the file is damaged",
             in_.position());
  if (metadata.find(key))
    in_.fail(ErrorKind::kBadInput, "has the key '{}' twice; the file is damaged", printable(key));
  const auto type = in_.read<uint32_t>("a value type");
  MetaValue value = read_value(type, key);
  metadata.set(key, std::move(value));
}

void GgufReader::read_alignment(const Metadata& metadata) {
  const MetaValue* value = metadata.find(kAlignmentKey);
  if (!value) return;
  const auto* alignment = std::get_if<uint32_t>(value);
  if (!alignment || !std::has_single_bit(*alignment))
    in_.fail(ErrorKind::kBadInput, "key '{}' must be a u32 power of two; the file is damaged", kAlignmentKey);
  alignment_ = *alignment;
}

// Sets the tensor's bytes to a span of the right length at no place yet; offset is relative to the data.
tensor::NamedTensor GgufReader::read_tensor_info(uint64_t& offset) {
  tensor::NamedTensor t;
  t.name = read_string("a tensor name");
  const std::string shown = printable(t.name);
  if (t.name.size() > kGgufMaxName)
    in_.fail(ErrorKind::kBadInput, "tensor name '{}' has {} bytes, more than {}; rename it", shown,
             t.name.size(), kGgufMaxName);
  const auto dims = in_.read<uint32_t>("a dimension count");
  if (dims > kGgufMaxDims)
    in_.fail(ErrorKind::kBadInput, "tensor '{}' has {} dimensions, more than 4; the file is damaged", shown,
             dims);
  t.view.shape.resize(dims);
  for (size_t i = dims; i-- > 0;) {  // stored innermost first
    t.view.shape[i] = in_.read<int64_t>("a tensor size");
    if (t.view.shape[i] < 0)
      in_.fail(ErrorKind::kBadInput, "tensor '{}' has a negative size; the file is damaged", shown);
  }
  const auto type = in_.read<uint32_t>("a tensor type");
  offset = in_.read<uint64_t>("a tensor offset");

  const tensor::QuantFormat* f = type < 256 ? tensor::find_gguf_type(static_cast<int>(type)) : nullptr;
  if (!f) {
    for (const ForeignType& known : kForeign)
      if (known.id == type)
        in_.fail(ErrorKind::kUnsupported,
                 "tensor '{}' is stored as {}, which this version cannot read; use a file in another format",
                 shown, known.name);
    in_.fail(ErrorKind::kUnsupported,
             "tensor '{}' has the unknown or withdrawn ggml type {}; convert the model again", shown, type);
  }
  t.view.format = f->id;
  uint64_t count = 1;
  for (int64_t size : t.view.shape)
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count) || count >> 63)
      in_.fail(ErrorKind::kBadInput, "tensor '{}' {}: its size overflows; the file is damaged", shown,
               tensor::shape_text(t.view.shape));
  if (!tensor::divides(f->id, static_cast<uint64_t>(t.view.row_length())))
    in_.fail(ErrorKind::kBadInput,
             "tensor '{}': rows of {} values do not divide into {} blocks of {}; the file is damaged", shown,
             t.view.row_length(), f->name, f->block);
  return t;
}

void GgufReader::read_tensors(Checkpoint& into) {
  in_.require_items(tensor_count_, 8 + 4 + 4 + 8, "the list of tensors");
  std::vector<tensor::NamedTensor> tensors;
  std::unordered_set<std::string_view> names;
  std::vector<uint64_t> offsets;
  tensors.reserve(tensor_count_);
  offsets.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    uint64_t offset = 0;
    tensors.push_back(read_tensor_info(offset));
    offsets.push_back(offset);
    if (!names.insert(tensors.back().name).second)
      in_.fail(ErrorKind::kBadInput, "has the tensor '{}' twice; the file is damaged",
               printable(tensors.back().name));
  }
  const uint64_t data_start = align_up(in_.position(), alignment_);
  uint64_t expected = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto& [name, view] = tensors[i];
    if (offsets[i] != expected)
      in_.fail(ErrorKind::kBadInput,
               "tensor '{}' lies at offset {} where {} is expected; the file is damaged", printable(name),
               offsets[i], expected);
    const uint64_t size = tensor::format_bytes(view.format, tensor::element_count(view.shape));
    const uint64_t available = bytes_.size() < data_start ? 0 : bytes_.size() - data_start;
    const uint64_t left = available < expected ? 0 : available - expected;
    if (size > left)
      in_.fail(ErrorKind::kBadInput,
               "tensor '{}' ends {} bytes past the end of the file; the file is truncated, get it again",
               printable(name), size - left);
    view.bytes = size == 0 ? std::span<const std::byte>() : bytes_.subspan(data_start + expected, size);
    expected += align_up(size, alignment_);
  }
  for (auto& t : tensors) {
    if (into.find(t.name))
      in_.fail(ErrorKind::kBadInput,
               "has the tensor '{}' that an earlier part has too; the parts do not belong together",
               printable(t.name));
    into.add(std::move(t));
  }
}

// Reads the other parts of a split model. The first file read was part `number` of `count`.
void read_parts(const std::filesystem::path& path, int64_t number, int64_t count, int64_t total,
                Checkpoint& out) {
  const std::string name = path.filename().string();
  const auto parsed = parse_shard_name(name, ".gguf");
  if (!parsed || parsed->count != count || parsed->number != number + 1)
    fail(ErrorKind::kBadInput,
         "[gguf] {}: is part {} of {} of a split model but is not named '...-{:05}-of-{:05}.gguf'; restore "
         "its name",
         name, number + 1, count, number + 1, count);
  for (int64_t i = 0; i < count; ++i) {
    const auto part = path.parent_path() / shard_name(parsed->prefix, static_cast<size_t>(i) + 1,
                                                      static_cast<size_t>(count), ".gguf");
    const std::string part_name = part.filename().string();
    if (!std::filesystem::exists(part))
      fail(ErrorKind::kBadInput, "[gguf] {}: part {} of {} is missing; put all parts into one folder",
           part_name, i + 1, count);
    const auto file = MappedFile::open(part);
    Metadata keys;
    GgufReader(file->bytes(), part_name).read_into(keys, out);
    if (keys.get_int_or(kSplitNo, -1) != i || keys.get_int_or(kSplitCount, -1) != count)
      fail(ErrorKind::kBadInput,
           "[gguf] {}: its split keys do not say part {} of {}; the parts do not belong together", part_name,
           i + 1, count);
    if (i == 0) out.metadata = std::move(keys);
    out.files.push_back(part);
    out.keep_alive(file);
  }
  if (total >= 0 && static_cast<uint64_t>(total) != out.tensors().size())
    fail(ErrorKind::kBadInput,
         "[gguf] {}: the parts hold {} tensors where {} are announced; a part is damaged", name,
         out.tensors().size(), total);
  for (const char* key : {kSplitNo, kSplitCount, kSplitTensors}) out.metadata.erase(key);
}

}  // namespace

tensor::Checkpoint read_gguf_bytes(std::span<const std::byte> bytes, const std::string& name) {
  Checkpoint out;
  out.kind = tensor::CheckpointKind::kGguf;
  out.path = name;
  GgufReader(bytes, name).read_into(out.metadata, out);
  return out;
}

tensor::Checkpoint read_gguf(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  Checkpoint first = read_gguf_bytes(file->bytes(), path.filename().string());
  first.path = path;
  const int64_t count = first.metadata.get_int_or(kSplitCount, 0);
  if (count <= 1) {
    first.files.push_back(path);
    first.keep_alive(file);
    return first;
  }
  if (count > 65535)
    fail(ErrorKind::kBadInput, "[gguf] {}: is split into {} parts; the file is damaged",
         path.filename().string(), count);
  Checkpoint all;
  all.kind = tensor::CheckpointKind::kGguf;
  all.path = path;
  read_parts(path, first.metadata.get_int_or(kSplitNo, 0), count,
             first.metadata.get_int_or(kSplitTensors, -1), all);
  return all;
}

}  // namespace hone::formats
