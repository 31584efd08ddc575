// compressed-tensors: what a module's tensors are says which of its formats it is in; config.json gives the
// widths and group sizes that occur, and the shapes say which of them a module has.
#include <algorithm>
#include <cstring>

#include "formats/quantized_methods.h"

namespace hone::formats {
namespace {

using tensor::CodeKind;
using tensor::FormatId;
using tensor::ScaleType;
using tensor::TensorView;

// What one entry of config_groups says about weights.
struct Scheme {
  int bits = 0;
  int64_t group = 0;  // 0: none stated
  int64_t block_rows = 0, block_columns = 0;
  bool operator==(const Scheme&) const = default;
};

std::vector<Scheme> read_schemes(const Assembler& a, const Json& config) {
  const std::string what = a.what();
  std::vector<Scheme> schemes;
  const Json* groups = json_find(config, "config_groups");
  if (!groups || !groups->is_object()) a.unsupported("config.json has no 'config_groups'");
  for (const auto& [name, entry] : groups->items()) {
    const Json* weights = entry.is_object() ? json_find(entry, "weights") : nullptr;
    if (!weights || !weights->is_object()) continue;  // activations only
    Scheme s;
    const int64_t bits = json_int_or(*weights, "num_bits", 8, what);
    if (bits < 1 || bits > 8) a.unsupported("group '{}' has weights of {} bits", printable(name), bits);
    s.bits = static_cast<int>(bits);
    s.group = std::max<int64_t>(json_int_or(*weights, "group_size", 0, what), 0);
    if (const Json* block = json_find(*weights, "block_structure");
        block && block->is_array() && block->size() == 2 && block->at(0).is_number_integer() &&
        block->at(1).is_number_integer()) {
      s.block_rows = block->at(0).get<int64_t>();
      s.block_columns = block->at(1).get<int64_t>();
      if (s.block_rows < 1 || s.block_columns < 1 || s.block_rows > (1 << 20) || s.block_columns > (1 << 20))
        a.unsupported("group '{}' has blocks of {} by {}", printable(name), s.block_rows, s.block_columns);
    }
    if (std::ranges::find(schemes, s) == schemes.end()) schemes.push_back(s);
  }
  return schemes;
}

// Scale shapes: [1] or a scalar, [out, 1], [out, groups], [blocks of rows, blocks of columns].
void set_scales(Assembler& a, const std::string& module, QuantizedMatrix& m,
                const std::vector<Scheme>& schemes, ScaleType bytes_are) {
  const TensorView& scales = a.need(module, ".weight_scale");
  m.scales = a.scale_plane(module, ".weight_scale", scales, bytes_are);
  const uint64_t rows = m.codes.rows, columns = m.codes.columns;
  m.scales.rows_per = rows;
  m.scales.columns_per = columns;
  if (tensor::element_count(scales.shape) == 1) return;
  if (scales.shape.size() == 1 && size_at(scales, 0) == rows) {  // one scale a row
    m.scales.rows_per = 1;
    m.scales.row_stride = 1;
    return;
  }
  if (scales.shape.size() != 2)
    a.bad(module, "'.weight_scale' is {}", tensor::shape_text(scales.shape).substr(0, 100));
  const uint64_t down = size_at(scales, 0), across = size_at(scales, 1);
  m.scales.row_stride = across;
  m.scales.column_stride = 1;
  if (down == rows) {
    m.scales.rows_per = 1;
    if (across == 1) return;
    for (const Scheme& s : schemes)
      if (s.group > 0 && divide_up(columns, static_cast<uint64_t>(s.group)) == across) {
        m.scales.columns_per = static_cast<uint64_t>(s.group);
        return;
      }
  }
  for (const Scheme& s : schemes) {
    const auto r = static_cast<uint64_t>(s.block_rows), c = static_cast<uint64_t>(s.block_columns);
    if (r > 0 && divide_up(rows, r) == down && divide_up(columns, c) == across) {
      m.scales.rows_per = r;
      m.scales.columns_per = c;
      return;
    }
  }
  a.bad(module, "'.weight_scale' is {} for a matrix of {} by {}, which no entry of config_groups explains",
        tensor::shape_text(scales.shape).substr(0, 100), rows, columns);
}

// I8 zero points lie as the scales do; packed ones are streams of bits along the rows, one a group.
void set_zeros(Assembler& a, const std::string& module, QuantizedMatrix& m) {
  const TensorView* zeros = a.find(module, ".weight_zero_point");
  if (!zeros) return;
  const TensorView* scales = a.find(module, ".weight_scale");
  const int bits = m.codes.bits, middle = 1 << (bits - 1), mask = (1 << bits) - 1;
  const ScalePlane where{.bytes = {},
                         .type = ScaleType::kF16,
                         .rows_per = m.scales.rows_per,
                         .columns_per = m.scales.columns_per,
                         .row_stride = m.scales.row_stride,
                         .column_stride = m.scales.column_stride,
                         .value = {}};
  if (zeros->format == FormatId::kI8) {
    a.expect_shape(module, ".weight_zero_point", *zeros, scales->shape);
    if (std::ranges::all_of(zeros->bytes, [](std::byte b) { return b == std::byte{0}; })) return;
    m.zeros = [where, bytes = zeros->bytes, middle, mask](uint64_t row, uint64_t column) {
      return static_cast<uint8_t>(
          (static_cast<int>(static_cast<int8_t>(bytes[where.index(row, column)])) + middle) & mask);
    };
  } else {
    a.expect_format(module, ".weight_zero_point", *zeros, {FormatId::kI32});
    if (scales->shape.size() != 2 || m.scales.rows_per != 1)
      a.bad(module, "packed zero points need a scale per row and group");
    const uint64_t groups = size_at(*scales, 1);
    const uint64_t lines = divide_up(m.codes.rows * static_cast<uint64_t>(bits), 32);
    const auto per_word = static_cast<uint64_t>(32 / bits);
    const bool dense = m.codes.read != read_row_words || per_word * static_cast<uint64_t>(bits) == 32;
    a.expect_shape(module, ".weight_zero_point", *zeros,
                   {static_cast<int64_t>(dense ? lines : divide_up(m.codes.rows, per_word)),
                    static_cast<int64_t>(groups)});
    m.zeros = [bytes = zeros->bytes, groups, bits, dense, per_word, per = m.scales.columns_per](
                  uint64_t row, uint64_t column) {
      const uint64_t at = dense ? row * static_cast<uint64_t>(bits)
                                : row / per_word * 32 + row % per_word * static_cast<uint64_t>(bits);
      return static_cast<uint8_t>(read_field(bytes, column / per, groups, at, bits));
    };
  }
  a.layout.symmetric = false;
}

// The size of the matrix that a packed tensor stands for.
std::pair<uint64_t, uint64_t> stated_shape(Assembler& a, const std::string& module) {
  const TensorView& shape = a.need(module, ".weight_shape");
  a.expect_format(module, ".weight_shape", shape, {FormatId::kI64, FormatId::kI32});
  a.expect_shape(module, ".weight_shape", shape, {2});
  int64_t sizes[2];
  for (size_t i = 0; i < 2; ++i) {
    int32_t narrow = 0;
    if (shape.format == FormatId::kI64)
      std::memcpy(&sizes[i], shape.bytes.data() + i * 8, 8);
    else
      std::memcpy(&narrow, shape.bytes.data() + i * 4, 4), sizes[i] = narrow;
    if (sizes[i] <= 0 || sizes[i] > (int64_t{1} << 40))
      a.bad(module, "'.weight_shape' holds the size {}", sizes[i]);
  }
  return {static_cast<uint64_t>(sizes[0]), static_cast<uint64_t>(sizes[1])};
}

void read_packed_int(Assembler& a, const std::string& module, const TensorView& packed,
                     const std::vector<Scheme>& schemes) {
  const auto [rows, columns] = stated_shape(a, module);
  if (packed.shape.size() != 2 || size_at(packed, 0) != rows)
    a.bad(module, "'.weight_packed' is {}, '.weight_shape' says {} rows",
          tensor::shape_text(packed.shape).substr(0, 100), rows);
  const uint64_t words = size_at(packed, 1);
  QuantizedMatrix m;
  for (const Scheme& s : schemes) {  // dense wins where both arrangements are the same
    const auto bits = static_cast<uint64_t>(s.bits);
    if (words == divide_up(columns * bits, 32))
      m.codes = {packed.bytes, rows, columns, s.bits, words * 4, 0, read_row_stream};
    else if (words == divide_up(columns, 32 / bits))
      m.codes = {packed.bytes, rows, columns, s.bits, words, 0, read_row_words};
    if (m.codes.read) break;
  }
  if (!m.codes.read)
    a.bad(module, "{} words a row fit {} columns in no width that config_groups lists", words, columns);
  set_scales(a, module, m, schemes, ScaleType::kE8M0);
  set_zeros(a, module, m);
  if (const TensorView* g_idx = a.find(module, ".weight_g_idx")) {
    a.expect_format(module, ".weight_g_idx", *g_idx, {FormatId::kI32});
    a.expect_shape(module, ".weight_g_idx", *g_idx, {static_cast<int64_t>(columns)});
    const uint64_t groups = divide_up(columns, m.scales.columns_per);
    bool plain = true, unused = true;  // -1 everywhere is the tool's mark of "not in use"
    for (uint64_t c = 0; c < columns; ++c) {
      int32_t g;
      std::memcpy(&g, g_idx->bytes.data() + c * 4, 4);
      unused = unused && g == -1;
      if (unused) continue;
      if (g < 0 || static_cast<uint64_t>(g) >= groups)
        a.bad(module, "column {} is in group {} of {}", c, g, groups);
      plain = plain && static_cast<uint64_t>(g) == c / m.scales.columns_per;
    }
    std::int32_t first;
    std::memcpy(&first, g_idx->bytes.data(), 4);
    if (!unused && first == -1) a.bad(module, "some columns are in no group");
    if (!plain) m.column_groups = g_idx->bytes;
  }
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

// NVFP4 (a scale of the tensor divides the scales) or MXFP4, by what lies beside the codes.
void read_packed_fp4(Assembler& a, const std::string& module, const TensorView& packed) {
  if (packed.shape.size() != 2 || tensor::element_count(packed.shape) == 0)
    a.bad(module, "'.weight_packed' must have two axes and not be empty");
  const uint64_t rows = size_at(packed, 0), bytes = size_at(packed, 1), columns = checked_product(bytes, 2);
  QuantizedMatrix m;
  m.kind = CodeKind::kE2M1;
  m.codes = {packed.bytes, rows, columns, 4, bytes, 0, read_row_stream};
  const TensorView* global = a.find(module, ".weight_global_scale");
  const std::vector<Scheme> group = {{4, global ? 16 : 32, 0, 0}};
  set_scales(a, module, m, group, ScaleType::kE8M0);
  if (global) {
    const float divisor = a.scalar(module, ".weight_global_scale", *global);
    if (m.scales.type != ScaleType::kE4M3) a.bad(module, "'.weight_scale' must be F8_E4M3");
    m.scales.type = ScaleType::kF32;
    m.scales.value = [data = m.scales.bytes, divisor](uint64_t index) {
      return tensor::load_scale(ScaleType::kE4M3, data.data() + index) / divisor;
    };
  } else if (m.scales.type != ScaleType::kE8M0) {
    a.bad(module, "'.weight_scale' must be exponents (U8)");
  }
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

// P.weight itself is the codes: I8, or F8 with scales in floats or exponents.
void read_plain_codes(Assembler& a, const std::string& module, const TensorView& weight,
                      const std::vector<Scheme>& schemes) {
  if (weight.shape.size() != 2 || tensor::element_count(weight.shape) == 0)
    a.bad(module, "'.weight' must have two axes and not be empty");
  const uint64_t rows = size_at(weight, 0), columns = size_at(weight, 1);
  QuantizedMatrix m;
  m.codes = {weight.bytes, rows, columns, 8, columns, 0, read_code_bytes};
  m.kind = weight.format == FormatId::kI8       ? CodeKind::kInt
           : weight.format == FormatId::kF8E5M2 ? CodeKind::kE5M2
                                                : CodeKind::kE4M3;
  std::vector<Scheme> all = schemes;
  if (m.kind == CodeKind::kInt)
    m.codes.add = 128;
  else
    all.push_back({8, 0, 128, 128}), all.push_back({8, 32, 0, 0});
  set_scales(a, module, m, all, ScaleType::kE8M0);
  if (m.kind == CodeKind::kInt) set_zeros(a, module, m);
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

}  // namespace

void read_compressed_tensors(Assembler& a, const Json& config) {
  const std::string what = a.what(), format = json_string_or(config, "format", "", what);
  for (const char* refused : {"sparse-24-bitmask", "marlin-24", "sparse-bitmask"})
    if (format == refused) a.unsupported("the format '{}' is not supported", format);
  if (const Json* sparsity = json_find(config, "sparsity_config");
      sparsity && sparsity->is_object() && !sparsity->empty())
    if (const std::string kind = json_string_or(*sparsity, "format", "dense", what); kind != "dense")
      a.unsupported("the sparse format '{}' is not supported", printable(kind));
  if (const Json* transform = json_find(config, "transform_config"); transform && transform->is_object())
    if (const Json* groups = json_find(*transform, "config_groups"); groups && !groups->empty())
      a.unsupported("rotations of weights ('transform_config') are not supported");
  const std::vector<Scheme> schemes = read_schemes(a, config);
  a.layout.variant = format;
  if (!schemes.empty()) {
    a.layout.bits = schemes[0].bits;
    a.layout.group_size = schemes[0].group > 0 ? schemes[0].group : -1;
  }
  a.layout.symmetric = true;
  // Scales of activations, of cached keys and values: the weights mean the same without them.
  a.drop_all({".input_scale", ".input_zero_point", ".input_global_scale", ".output_scale",
              ".output_zero_point", ".k_scale", ".v_scale", ".q_scale", ".input_g_idx"});
  for (const std::string& module : a.modules_with(".weight_packed")) {
    const TensorView& packed = a.need(module, ".weight_packed");
    a.expect_format(module, ".weight_packed", packed, {FormatId::kI32, FormatId::kU8});
    if (packed.format == FormatId::kI32)
      read_packed_int(a, module, packed, schemes);
    else
      read_packed_fp4(a, module, packed);
  }
  for (const std::string& module : a.modules_with(".weight_scale")) {
    if (a.has(module, ".weight_packed")) continue;
    const TensorView& weight = a.need(module, ".weight");
    a.expect_format(module, ".weight", weight, {FormatId::kI8, FormatId::kF8E4M3, FormatId::kF8E5M2});
    read_plain_codes(a, module, weight, schemes);
  }
}

}  // namespace hone::formats
