// NumPy arrays, and the uncompressed ZIP archive (with ZIP64 sizes) that an .npz is.
#include "formats/npy.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "formats/byte_reader.h"

namespace hone::formats {
namespace {

using tensor::FormatId;
using tensor::Shape;
using tensor::Tensor;
using tensor::TensorView;

struct Descr {
  FormatId format;
  const char* text;
};
constexpr Descr kDescrs[] = {{FormatId::kF32, "<f4"}, {FormatId::kF16, "<f2"}, {FormatId::kF64, "<f8"},
                             {FormatId::kI8, "|i1"},  {FormatId::kI16, "<i2"}, {FormatId::kI32, "<i4"},
                             {FormatId::kI64, "<i8"}, {FormatId::kU8, "|u1"},  {FormatId::kU16, "<u2"},
                             {FormatId::kU32, "<u4"}, {FormatId::kU64, "<u8"}, {FormatId::kBool, "|b1"},
                             {FormatId::kC64, "<c8"}};

const char* find_descr(FormatId id) {
  for (const Descr& d : kDescrs)
    if (d.format == id) return d.text;
  return nullptr;
}

struct Header {
  std::string descr;
  std::optional<bool> fortran;
  std::optional<Shape> shape;
};

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Header parse() {
    Header h;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr")
        h.descr = quoted();
      else if (key == "fortran_order")
        h.fortran = boolean();
      else if (key == "shape")
        h.shape = tuple();
      else
        bad();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (h.descr.empty() || !h.fortran || !h.shape) bad();
    return h;
  }

 private:
  [[noreturn]] void bad() const {
    fail(ErrorKind::kBadInput,
         "[npy] {}: the header is not one that NumPy writes for plain numbers; save the array again with "
         "numpy.save",
         file_);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) bad();
  }
  std::string quoted() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) bad();
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) bad();
    const std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_space();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}})
      if (text_.substr(at_).starts_with(word)) return at_ += word.size(), value;
    bad();
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      skip_space();
      int64_t size = 0;
      const auto [end, code] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (code != std::errc() || size < 0) bad();
      at_ = static_cast<size_t>(end - text_.data());
      shape.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  const std::string& file_;
  size_t at_ = 0;
};

FormatId format_of(const std::string& descr, const std::string& file) {
  for (const Descr& d : kDescrs)
    if (descr == d.text) return d.format;
  fail(ErrorKind::kBadInput,
       "[npy] {}: element type '{}' is not supported; save little-endian bool, int, uint or float", file,
       printable(descr));
}

// src is column-major, dst row-major: walk dst in order with a running source offset.
void transpose_fortran(const std::byte* src, std::byte* dst, const Shape& shape, size_t element) {
  const uint64_t count = tensor::element_count(shape);
  std::vector<uint64_t> stride(shape.size(), 1);
  for (size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * static_cast<uint64_t>(shape[d - 1]);
  std::vector<int64_t> index(shape.size(), 0);
  uint64_t from = 0;
  for (uint64_t i = 0; i < count; ++i) {
    std::memcpy(dst + i * element, src + from * element, element);
    for (size_t d = shape.size(); d-- > 0;) {
      from += stride[d];
      if (++index[d] < shape[d]) break;
      from -= stride[d] * static_cast<uint64_t>(shape[d]);
      index[d] = 0;
    }
  }
}

// Header of a version 1 file, padded so that the data begins at a multiple of 64 bytes.
std::string npy_header(const char* descr, const Shape& shape) {
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                                 fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  dict.append(63 - (10 + dict.size()) % 64, ' ');
  dict += '\n';
  HONE_CHECK(dict.size() < 65536);
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(dict.size() & 255);
  text += static_cast<char>(dict.size() >> 8);
  return text + dict;
}

// What NumPy has no type for (BF16, F8, quantized) goes out as F32.
struct Array {
  std::string header;
  std::vector<float> decoded;
  std::span<const std::byte> data;
};
Array make_array(const TensorView& view) {
  Array a;
  if (const char* descr = find_descr(view.format)) {
    a.header = npy_header(descr, view.shape);
    a.data = view.bytes;
  } else {
    a.decoded = tensor::decode(view);
    a.header = npy_header("<f4", view.shape);
    a.data = std::as_bytes(std::span(a.decoded));
  }
  return a;
}

uint32_t crc32(uint32_t crc, std::span<const std::byte> bytes) {
  static const auto kTable = [] {
    std::array<uint32_t, 256> t;
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int k = 0; k < 8; ++k) t[i] = t[i] & 1 ? 0xEDB88320u ^ (t[i] >> 1) : t[i] >> 1;
    }
    return t;
  }();
  crc = ~crc;
  for (std::byte b : bytes) crc = kTable[(crc ^ std::to_integer<uint32_t>(b)) & 255] ^ (crc >> 8);
  return ~crc;
}

// Little-endian fields of ZIP records.
class Record {
 public:
  Record& u16(uint64_t v) { return put(v, 2); }
  Record& u32(uint64_t v) { return put(v, 4); }
  Record& u64(uint64_t v) { return put(v, 8); }
  Record& text(std::string_view t) { return bytes_ += t, *this; }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& put(uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes_ += static_cast<char>(v >> (8 * i));
    return *this;
  }
  std::string bytes_;
};

constexpr uint64_t kIn64 = 0xFFFFFFFF;       // "see the ZIP64 field"
constexpr uint64_t kDosDate = (1 << 5) | 1;  // 1980-01-01, so that equal arrays give equal files

struct Member {
  std::string name;
  uint32_t crc;
  uint64_t size, offset;
};

void write_local_header(AtomicFile& file, const Member& m) {
  Record r;
  r.u32(0x04034B50)
      .u16(45)
      .u16(0x800)
      .u16(0)
      .u16(0)
      .u16(kDosDate)
      .u32(m.crc)
      .u32(kIn64)
      .u32(kIn64)
      .u16(m.name.size())
      .u16(20);
  r.text(m.name).u16(1).u16(16).u64(m.size).u64(m.size);
  file.write(r.bytes());
}

void write_central_directory(AtomicFile& file, const std::vector<Member>& members) {
  const uint64_t start = file.position();
  for (const Member& m : members) {
    Record r;
    r.u32(0x02014B50)
        .u16(45)
        .u16(45)
        .u16(0x800)
        .u16(0)
        .u16(0)
        .u16(kDosDate)
        .u32(m.crc)
        .u32(kIn64)
        .u32(kIn64)
        .u16(m.name.size());
    r.u16(28).u16(0).u16(0).u16(0).u32(0).u32(kIn64).text(m.name).u16(1).u16(24).u64(m.size).u64(m.size).u64(
        m.offset);
    file.write(r.bytes());
  }
  const uint64_t end = file.position(), count = members.size();
  Record r;
  r.u32(0x06064B50).u64(44).u16(45).u16(45).u32(0).u32(0).u64(count).u64(count).u64(end - start).u64(start);
  r.u32(0x07064B50).u32(0).u64(end).u32(1);
  const uint64_t small_count = std::min<uint64_t>(count, 0xFFFF);
  r.u32(0x06054B50).u16(0).u16(0).u16(small_count).u16(small_count).u32(kIn64).u32(kIn64).u16(0);
  file.write(r.bytes());
}

}  // namespace

Tensor read_npy_bytes(std::span<const std::byte> bytes, const std::string& name) {
  ByteReader in(bytes, "npy", name);
  if (std::memcmp(in.take(6, "the magic number").data(), "\x93NUMPY", 6) != 0)
    in.fail(ErrorKind::kBadInput, "does not begin as a .npy file; save the array with numpy.save");
  const auto version = in.read<uint8_t>("the version");
  in.read<uint8_t>("the version");
  if (version < 1 || version > 3)
    in.fail(ErrorKind::kBadInput, "has .npy version {}; versions 1 to 3 are supported", version);
  const uint64_t length =
      version == 1 ? in.read<uint16_t>("the header length") : in.read<uint32_t>("the header length");
  const auto text = in.take(length, "the header");
  const Header h = HeaderParser({reinterpret_cast<const char*>(text.data()), text.size()}, name).parse();
  const FormatId id = format_of(h.descr, name);
  const uint64_t size = tensor::format_bytes(id, tensor::element_count(*h.shape));
  const auto data = in.take(size, "the data");  // before anything is allocated
  Tensor out(id, *h.shape);
  const size_t element = tensor::format(id).block_bytes;
  if (size > 0 && *h.fortran)
    transpose_fortran(data.data(), out.bytes().data(), *h.shape, element);
  else if (size > 0)
    std::memcpy(out.bytes().data(), data.data(), size);
  return out;
}

Tensor read_npy(const std::filesystem::path& path) {
  return read_npy_bytes(MappedFile::open(path)->bytes(), path.filename().string());
}

void write_npy(const std::filesystem::path& path, const TensorView& view) {
  const Array array = make_array(view);
  AtomicFile file(path);
  file.write(array.header);
  file.write(array.data);
  file.commit();
}

void write_npz(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, TensorView>>& arrays) {
  AtomicFile file(path);
  std::vector<Member> members;
  for (const auto& [name, view] : arrays) {
    const Array array = make_array(view);
    const uint32_t crc = crc32(crc32(0, std::as_bytes(std::span(array.header))), array.data);
    members.push_back({name + ".npy", crc, array.header.size() + array.data.size(), file.position()});
    if (members.back().name.size() > 65535)
      fail(ErrorKind::kUsage, "[npy] {}: the name of an array is too long", path.filename().string());
    write_local_header(file, members.back());
    file.write(array.header);
    file.write(array.data);
  }
  write_central_directory(file, members);
  file.commit();
}

}  // namespace hone::formats
