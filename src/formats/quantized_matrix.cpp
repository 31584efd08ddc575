#include "formats/quantized_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hone::formats {

using tensor::CodeKind;
using tensor::FormatId;
using tensor::GroupedLayout;
using tensor::ScaleType;
using tensor::ZeroKind;

namespace {

uint32_t word_at(std::span<const std::byte> bytes, uint64_t index) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + index * 4, 4);
  return word;
}

int32_t column_group(std::span<const std::byte> groups, uint64_t column) {
  return static_cast<int32_t>(word_at(groups, column));
}

}  // namespace

unsigned read_field(std::span<const std::byte> bytes, uint64_t first_word, uint64_t stride, uint64_t at,
                    int bits) {
  const uint64_t word = at / 32;
  const auto shift = static_cast<unsigned>(at % 32), width = static_cast<unsigned>(bits);
  uint64_t value = word_at(bytes, first_word + word * stride) >> shift;
  if (shift + width > 32) value |= uint64_t{word_at(bytes, first_word + (word + 1) * stride)} << (32 - shift);
  return static_cast<unsigned>(value & ((1u << width) - 1));
}

void read_row_stream(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  const auto mask = static_cast<uint8_t>((1u << p.bits) - 1);
  const uint64_t whole = p.columns / 8 * 8;
  for (uint64_t r = 0; r < count; ++r, dst += p.columns) {
    const std::byte* row = p.bytes.data() + (begin + r) * p.pitch;
    tensor::unpack_codes(p.bits, row, dst, whole);
    for (uint64_t c = whole; c < p.columns; ++c) {
      const uint64_t at = c * static_cast<uint64_t>(p.bits);
      unsigned value = std::to_integer<unsigned>(row[at / 8]) >> (at % 8);
      if (at % 8 + static_cast<uint64_t>(p.bits) > 8)
        value |= std::to_integer<unsigned>(row[at / 8 + 1]) << (8 - at % 8);
      dst[c] = static_cast<uint8_t>(value & mask);
    }
    if (p.add)
      for (uint64_t c = 0; c < p.columns; ++c) dst[c] = static_cast<uint8_t>((dst[c] + p.add) & mask);
  }
}

void read_row_words(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  const auto per_word = static_cast<uint64_t>(32 / p.bits);
  const uint32_t mask = (1u << p.bits) - 1;
  for (uint64_t r = 0; r < count; ++r, dst += p.columns)
    for (uint64_t c = 0; c < p.columns; ++c) {
      const uint32_t word = word_at(p.bytes, (begin + r) * p.pitch + c / per_word);
      dst[c] = static_cast<uint8_t>((word >> (c % per_word * static_cast<uint64_t>(p.bits))) & mask);
    }
}

// Words of neighbouring rows are neighbours: the inner loop runs along them.
void read_column_stream(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  const auto bits = static_cast<unsigned>(p.bits);
  const uint32_t mask = (1u << bits) - 1;
  for (uint64_t c = 0; c < p.columns; ++c) {
    const uint64_t at = c * bits, line = at / 32 * p.pitch + begin;
    const auto shift = static_cast<unsigned>(at % 32);
    const bool straddles = shift + bits > 32;
    for (uint64_t r = 0; r < count; ++r) {
      uint32_t value = word_at(p.bytes, line + r) >> shift;
      if (straddles) value |= word_at(p.bytes, line + p.pitch + r) << (32 - shift);
      dst[r * p.columns + c] = static_cast<uint8_t>(value & mask);
    }
  }
}

void read_awq(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  for (uint64_t c = 0; c < p.columns; ++c)
    for (uint64_t r = 0; r < count; ++r) {
      const uint64_t row = begin + r;
      const uint32_t word = word_at(p.bytes, c * p.pitch + row / 8);
      dst[r * p.columns + c] = (word >> (4 * kAwqNibble[row % 8])) & 15;
    }
}

void read_code_bytes(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  for (uint64_t r = 0; r < count; ++r, dst += p.columns) {
    std::memcpy(dst, p.bytes.data() + (begin + r) * p.pitch, p.columns);
    if (p.add)
      for (uint64_t c = 0; c < p.columns; ++c) dst[c] = static_cast<uint8_t>(dst[c] + p.add);
  }
}

void read_flat_nibbles(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  for (uint64_t i = 0; i < count * p.columns; ++i) {
    const uint64_t at = begin * p.columns + i;
    const auto byte = std::to_integer<uint8_t>(p.bytes[at / 2]);
    dst[i] = at % 2 ? byte & 15 : static_cast<uint8_t>(byte >> 4);
  }
}

void read_stacked_pairs(const CodePlane& p, uint64_t begin, uint64_t count, uint8_t* dst) {
  const uint64_t quarter = p.rows / 4;
  for (uint64_t r = 0; r < count; ++r, dst += p.columns) {
    const uint64_t row = begin + r;
    const std::byte* line = p.bytes.data() + row % quarter * p.columns;
    for (uint64_t c = 0; c < p.columns; ++c)
      dst[c] =
          static_cast<uint8_t>(((std::to_integer<unsigned>(line[c]) >> (2 * (row / quarter))) + p.add) & 3);
  }
}

float ScalePlane::at(uint64_t row, uint64_t column) const {
  const uint64_t i = index(row, column);
  if (value) return value(i);
  const uint64_t size = GroupedLayout{.scale = type}.scale_bytes();
  return tensor::load_scale(type, bytes.data() + i * size);
}

void ScalePlane::store(uint64_t row, uint64_t column, std::byte* dst) const {
  if (value) {
    const float number = at(row, column);
    std::memcpy(dst, &number, 4);
    return;
  }
  const uint64_t size = GroupedLayout{.scale = type}.scale_bytes();
  std::memcpy(dst, bytes.data() + index(row, column) * size, size);
}

namespace {

ZeroKind zero_kind(const QuantizedMatrix& m) {
  if (m.kind != CodeKind::kInt) return ZeroKind::kNone;
  return m.biases ? ZeroKind::kBias : m.zeros ? ZeroKind::kZeroPoint : ZeroKind::kMiddle;
}

// The layout whose blocks hold these groups: the longest that divides the row and the stretch of one scale.
std::optional<GroupedLayout> grouped_form(const QuantizedMatrix& m) {
  if (!m.column_groups.empty() || !m.levels.empty()) return std::nullopt;
  for (const uint16_t group : {uint16_t{128}, uint16_t{64}, uint16_t{32}, uint16_t{16}}) {
    if (m.codes.columns % group != 0 ||
        (m.scales.columns_per < m.codes.columns && m.scales.columns_per % group != 0))
      continue;
    const GroupedLayout layout{m.kind, static_cast<uint8_t>(m.codes.bits), group, m.scales.type,
                               zero_kind(m)};
    if (tensor::find_grouped(layout)) return layout;
  }
  return std::nullopt;
}

bool is_mxfp4(const GroupedLayout& l) {
  return l.code == CodeKind::kE2M1 && l.group == 32 && l.scale == ScaleType::kE8M0;
}

class MatrixSource : public tensor::RowSource {
 public:
  explicit MatrixSource(QuantizedMatrix matrix) : m_(std::move(matrix)), layout_(grouped_form(m_)) {}

  void read(uint64_t begin, uint64_t count, std::span<std::byte> dst) const override {
    if (count == 0 || m_.codes.columns == 0) return;
    if (copies_codes()) return copy_rows(begin, count, dst);
    const uint64_t columns = m_.codes.columns;
    const uint64_t step = std::clamp<uint64_t>((uint64_t{1} << 18) / columns, 1, 32);
    const uint64_t row_bytes = dst.size() / count;
    std::vector<uint8_t> codes(std::min(step, count) * columns);
    for (uint64_t r = 0; r < count; r += step) {
      const uint64_t now = std::min(step, count - r);
      m_.codes.read(m_.codes, begin + r, now, codes.data());
      for (uint64_t i = 0; i < now; ++i) {
        std::byte* out = dst.data() + (r + i) * row_bytes;
        if (!layout_)
          decode_row(begin + r + i, codes.data() + i * columns, out);
        else if (is_mxfp4(*layout_))
          mxfp4_row(begin + r + i, codes.data() + i * columns, out);
        else
          grouped_row(begin + r + i, codes.data() + i * columns, out);
      }
    }
  }

 private:
  // The file's stream of a row, cut into groups, is the codes of the blocks.
  bool copies_codes() const {
    const bool stream = m_.codes.read == read_row_stream || m_.codes.read == read_code_bytes;
    return layout_ && !is_mxfp4(*layout_) && stream && m_.codes.add == 0;
  }
  void copy_rows(uint64_t begin, uint64_t count, std::span<std::byte> dst) const {
    const GroupedLayout& l = *layout_;
    const size_t group_bytes = size_t{l.group} * l.bits / 8;
    std::byte* out = dst.data();
    for (uint64_t row = begin; row < begin + count; ++row) {
      const std::byte* codes = m_.codes.bytes.data() + row * m_.codes.pitch;
      for (uint64_t c = 0; c < m_.codes.columns; c += l.group, out += l.block_bytes(), codes += group_bytes) {
        store_numbers(row, c, out);
        std::memcpy(out + l.code_offset(), codes, group_bytes);
      }
    }
  }

  void store_numbers(uint64_t row, uint64_t c, std::byte* out) const {
    const GroupedLayout& l = *layout_;
    m_.scales.store(row, c, out);
    if (l.zero == ZeroKind::kBias) m_.biases->store(row, c, out + l.scale_bytes());
    if (l.zero == ZeroKind::kZeroPoint) out[l.scale_bytes()] = static_cast<std::byte>(m_.zeros(row, c));
  }

  void grouped_row(uint64_t row, const uint8_t* codes, std::byte* out) const {
    const GroupedLayout& l = *layout_;
    for (uint64_t c = 0; c < m_.codes.columns; c += l.group, out += l.block_bytes()) {
      store_numbers(row, c, out);
      tensor::pack_codes(l.bits, codes + c, out + l.code_offset(), l.group);
    }
  }

  // GGUF's block: the scale, then byte k holds elements k and k + 16.
  void mxfp4_row(uint64_t row, const uint8_t* codes, std::byte* out) const {
    for (uint64_t c = 0; c < m_.codes.columns; c += 32, out += 17) {
      m_.scales.store(row, c, out);
      for (uint64_t k = 0; k < 16; ++k)
        out[1 + k] = static_cast<std::byte>(codes[c + k] | (codes[c + k + 16] << 4));
    }
  }

  void decode_row(uint64_t row, const uint8_t* codes, std::byte* out) const {
    const int middle = 1 << (m_.codes.bits - 1);
    uint64_t known = UINT64_MAX;
    float scale = 0, bias = 0;
    int zero = middle;
    for (uint64_t c = 0; c < m_.codes.columns; ++c, out += 4) {
      // The first column of the group stands for it.
      const uint64_t group = m_.column_groups.empty()
                                 ? c / m_.scales.columns_per
                                 : static_cast<uint64_t>(column_group(m_.column_groups, c));
      if (group != known) {
        const uint64_t at = group * m_.scales.columns_per;
        scale = m_.scales.at(row, at);
        if (m_.biases) bias = m_.biases->at(row, at);
        if (m_.zeros) zero = m_.zeros(row, at);
        known = group;
      }
      float value;
      if (!m_.levels.empty())
        value = scale * m_.levels[codes[c]];
      else if (m_.kind != CodeKind::kInt)
        value = scale * tensor::code_value(m_.kind, codes[c]);
      else if (m_.biases) {
        const float product = scale * static_cast<float>(codes[c]);
        value = product + bias;
      } else
        value = scale * static_cast<float>(codes[c] - zero);
      std::memcpy(out, &value, 4);
    }
  }

  QuantizedMatrix m_;
  std::optional<GroupedLayout> layout_;
};

}  // namespace

FormatId delivered_format(const QuantizedMatrix& matrix) {
  const auto layout = grouped_form(matrix);
  if (!layout) return FormatId::kF32;
  return is_mxfp4(*layout) ? FormatId::kMXFP4 : *tensor::find_grouped(*layout);
}

std::shared_ptr<const tensor::RowSource> make_row_source(QuantizedMatrix matrix) {
  return std::make_shared<MatrixSource>(std::move(matrix));
}

}  // namespace hone::formats
