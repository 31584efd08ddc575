// GPTQ and AWQ. GPTQ packs codes along the inputs, P.qweight I32 [in * bits / 32, out]; AWQ along the
// outputs, P.qweight I32 [in, out / 8], nibbles in an order of its own. Both: P.qzeros, P.scales [groups,
// out].
#include <algorithm>
#include <cstring>

#include "formats/quantized_methods.h"

namespace hone::formats {
namespace {

using tensor::FormatId;
using tensor::TensorView;

struct Parameters {
  int bits = 4;
  uint64_t group = 128;    // 0: the whole row
  int zero_offset = 1;     // what a stored zero point lacks: 1 in GPTQ's first format, else 0
  bool symmetric = false;  // as stated
};

int64_t int_of(const Json& json, const char* key, const char* synonym, int64_t fallback,
               const std::string& what) {
  return json_int_or(json, key, json_int_or(json, synonym, fallback, what), what);
}

Parameters read_parameters(const Assembler& a, const Json& config) {
  const std::string what = a.what();
  Parameters p;
  const int64_t bits = int_of(config, "bits", "w_bit", 4, what);
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    a.unsupported("{} bits; the layout has 2, 3, 4 and 8", bits);
  const int64_t group = int_of(config, "group_size", "q_group_size", 128, what);
  if (group != -1 && (group <= 0 || group > (1 << 20))) a.unsupported("groups of {} columns", group);
  p.bits = static_cast<int>(bits);
  p.group = group == -1 ? 0 : static_cast<uint64_t>(group);
  p.symmetric = json_bool_or(config, "sym", false, what);
  return p;
}

void note(Assembler& a, const Parameters& p, std::string variant) {
  a.layout.variant = std::move(variant);
  a.layout.bits = p.bits;
  a.layout.group_size = p.group == 0 ? -1 : static_cast<int64_t>(p.group);
  a.layout.symmetric = true;  // until a matrix with other zero points comes
}

// Every row of zero points is the same stream of one number.
bool all_zeros_are(const TensorView& qzeros, uint64_t rows, int bits, unsigned stored) {
  const uint64_t words = size_at(qzeros, 1), lines = size_at(qzeros, 0);
  std::vector<std::byte> line(words * 4);
  for (uint64_t r = 0; r < rows; ++r)
    for (uint64_t b = 0; b < static_cast<uint64_t>(bits); ++b)
      if ((stored >> b) & 1) {
        const uint64_t at = r * static_cast<uint64_t>(bits) + b;
        line[at / 8] |= static_cast<std::byte>(1u << (at % 8));
      }
  for (uint64_t l = 0; l < lines; ++l)
    if (std::memcmp(qzeros.bytes.data() + l * line.size(), line.data(), line.size()) != 0) return false;
  return true;
}

// Group of every column; empty when they are the plain runs of group columns.
std::span<const std::byte> scattered_groups(const Assembler& a, const std::string& module,
                                            const TensorView& g_idx, uint64_t columns, uint64_t group,
                                            uint64_t groups) {
  a.expect_format(module, ".g_idx", g_idx, {FormatId::kI32});
  a.expect_shape(module, ".g_idx", g_idx, {static_cast<int64_t>(columns)});
  bool plain = true;
  for (uint64_t c = 0; c < columns; ++c) {
    int32_t g;
    std::memcpy(&g, g_idx.bytes.data() + c * 4, 4);
    if (g < 0 || static_cast<uint64_t>(g) >= groups)
      a.bad(module, "column {} is in group {} of {}", c, g, groups);
    plain = plain && static_cast<uint64_t>(g) == c / group;
  }
  return plain ? std::span<const std::byte>() : g_idx.bytes;
}

void set_scales(Assembler& a, const std::string& module, QuantizedMatrix& m, uint64_t group,
                uint64_t groups) {
  const TensorView& scales = a.need(module, ".scales");
  a.expect_format(module, ".scales", scales, {FormatId::kF16, FormatId::kBF16, FormatId::kF32});
  a.expect_shape(module, ".scales", scales,
                 {static_cast<int64_t>(groups), static_cast<int64_t>(m.codes.rows)});
  m.scales = a.scale_plane(module, ".scales", scales);
  m.scales.columns_per = group;
  m.scales.row_stride = 1;
  m.scales.column_stride = m.codes.rows;
}

void read_gptq_module(Assembler& a, const std::string& module, const Parameters& p) {
  const TensorView& qweight = a.need(module, ".qweight");
  a.expect_format(module, ".qweight", qweight, {FormatId::kI32});
  if (qweight.shape.size() != 2 || tensor::element_count(qweight.shape) == 0)
    a.bad(module, "'.qweight' must have two axes and not be empty");
  const auto bits = static_cast<uint64_t>(p.bits);
  const uint64_t packed = checked_product(size_at(qweight, 0), 32), rows = size_at(qweight, 1);
  if (packed % bits != 0)
    a.bad(module, "{} words hold no whole number of {}-bit codes", size_at(qweight, 0), bits);
  const uint64_t columns = packed / bits, group = p.group == 0 ? columns : p.group,
                 groups = divide_up(columns, group);

  QuantizedMatrix m;
  m.codes = {qweight.bytes, rows, columns, p.bits, rows, 0, read_column_stream};
  set_scales(a, module, m, group, groups);
  if (const TensorView* qzeros = a.find(module, ".qzeros")) {
    a.expect_format(module, ".qzeros", *qzeros, {FormatId::kI32});
    const uint64_t words = divide_up(rows * bits, 32);
    a.expect_shape(module, ".qzeros", *qzeros, {static_cast<int64_t>(groups), static_cast<int64_t>(words)});
    const unsigned mask = (1u << bits) - 1, middle = 1u << (bits - 1);
    const bool symmetric =
        all_zeros_are(*qzeros, rows, p.bits, (middle - static_cast<unsigned>(p.zero_offset)) & mask) ||
        // sym says that they are the middle; the declared format is wrong then
        (p.symmetric &&
         all_zeros_are(*qzeros, rows, p.bits, middle - 1 + static_cast<unsigned>(p.zero_offset)));
    if (!symmetric)
      m.zeros = [bytes = qzeros->bytes, words, group, mask, p](uint64_t row, uint64_t column) {
        const unsigned stored =
            read_field(bytes, column / group * words, 1, row * static_cast<uint64_t>(p.bits), p.bits);
        return static_cast<uint8_t>((stored + static_cast<unsigned>(p.zero_offset)) & mask);
      };
  } else if (!p.symmetric) {
    a.bad(module, "the part '.qzeros' is missing");
  }
  if (m.zeros) a.layout.symmetric = false;
  if (const TensorView* g_idx = a.find(module, ".g_idx"))
    m.column_groups = scattered_groups(a, module, *g_idx, columns, group, groups);
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

void read_awq_module(Assembler& a, const std::string& module, const Parameters& p, bool has_zeros) {
  const TensorView& qweight = a.need(module, ".qweight");
  a.expect_format(module, ".qweight", qweight, {FormatId::kI32});
  if (qweight.shape.size() != 2 || tensor::element_count(qweight.shape) == 0)
    a.bad(module, "'.qweight' must have two axes and not be empty");
  const uint64_t columns = size_at(qweight, 0), words = size_at(qweight, 1), rows = checked_product(words, 8);
  const uint64_t group = p.group == 0 ? columns : p.group, groups = divide_up(columns, group);
  QuantizedMatrix m;
  m.codes = {qweight.bytes, rows, columns, 4, words, 0, read_awq};
  set_scales(a, module, m, group, groups);
  if (has_zeros) {
    const TensorView& qzeros = a.need(module, ".qzeros");
    a.expect_format(module, ".qzeros", qzeros, {FormatId::kI32});
    a.expect_shape(module, ".qzeros", qzeros, {static_cast<int64_t>(groups), static_cast<int64_t>(words)});
    if (!std::ranges::all_of(qzeros.bytes, [](std::byte b) { return b == std::byte{0x88}; })) {
      a.layout.symmetric = false;
      m.zeros = [bytes = qzeros.bytes, words, group](uint64_t row, uint64_t column) {
        const uint64_t word = column / group * words + row / 8;
        return static_cast<uint8_t>(read_field(bytes, word, 1, 4u * kAwqNibble[row % 8], 4));
      };
    }
  }
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

}  // namespace

void read_gptq(Assembler& a, const Json& config) {
  Parameters p = read_parameters(a, config);
  const std::string what = a.what();
  const std::string format =
      json_string_or(config, "checkpoint_format", json_string_or(config, "format", "gptq", what), what);
  if (json_bool_or(config, "is_marlin_format", false, what) || (format != "gptq" && format != "gptq_v2"))
    a.unsupported("the arrangement '{}' is not supported (tiles for one GPU kernel); known: gptq, gptq_v2",
                  format == "gptq" || format == "gptq_v2" ? "marlin" : printable(format));
  // Other widths or groups for some modules would be decoded wrongly.
  if (const Json* dynamic = json_find(config, "dynamic"); dynamic && !dynamic->empty())
    for (const auto& [pattern, own] : dynamic->items())
      if (!pattern.starts_with("-:"))
        a.unsupported("'dynamic' gives some modules parameters of their own, by pattern '{}'",
                      printable(pattern));
  p.zero_offset = format == "gptq_v2" ? 0 : 1;
  note(a, p, format);
  for (const std::string& module : a.modules_with(".qweight")) read_gptq_module(a, module, p);
}

void read_awq(Assembler& a, const Json& config) {
  const Parameters p = read_parameters(a, config);
  const std::string what = a.what();
  const std::string version =
      lower(json_string_or(config, "version", json_string_or(config, "format", "gemm", what), what));
  if (version != "gemm")
    a.unsupported("the arrangement '{}' is not supported; known: gemm", printable(version));
  if (p.bits != 4) a.unsupported("{} bits; the arrangement 'gemm' has 4", p.bits);
  note(a, p, version);
  const bool has_zeros = json_bool_or(config, "zero_point", true, what);
  for (const std::string& module : a.modules_with(".qweight")) read_awq_module(a, module, p, has_zeros);
}

void read_auto_round(Assembler& a, const Json& config) {
  const std::string packing = json_string_or(config, "packing_format", "auto_round:auto_gptq", a.what());
  if (packing.ends_with("awq")) return read_awq(a, config);
  if (packing.ends_with("gptq")) return read_gptq(a, config);
  a.unsupported("the packing format '{}' is not supported; known: auto_round:auto_gptq, auto_round:auto_awq",
                printable(packing));
}

}  // namespace hone::formats
