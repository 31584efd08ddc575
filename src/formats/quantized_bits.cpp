// bitsandbytes (4-bit sets of levels with scales per 64 elements of the flattened matrix, and 8-bit rows) and
// BitNet (ternary weights, four rows a byte).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "formats/quantized_methods.h"

namespace hone::formats {
namespace {

using tensor::CodeKind;
using tensor::FormatId;
using tensor::ScaleType;
using tensor::TensorView;

constexpr std::string_view kState = ".weight.quant_state.bitsandbytes__";

struct State {
  uint64_t rows = 0, columns = 0, block = 64, nested_block = 256;
  float nested_offset = 0;
};

State read_state(const Assembler& a, const std::string& module, const TensorView& view) {
  if (view.bytes.size() > 4096) a.bad(module, "its quant_state has {} bytes", view.bytes.size());
  const std::string text(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
  const std::string what = printable(module) + " quant_state";
  const Json json = parse_json(text, what);
  const Json* shape = json.is_object() ? json_find(json, "shape") : nullptr;
  if (!shape || !shape->is_array() || shape->size() != 2 || !shape->at(0).is_number_integer() ||
      !shape->at(1).is_number_integer())
    a.bad(module, "its quant_state states no shape of two sizes");
  const auto size = [&](int64_t value, const char* name, int64_t top) {
    if (value < 1 || value > top) a.bad(module, "its quant_state says that the {} is {}", name, value);
    return static_cast<uint64_t>(value);
  };
  State s;
  s.rows = size(shape->at(0).get<int64_t>(), "number of rows", int64_t{1} << 40);
  s.columns = size(shape->at(1).get<int64_t>(), "number of columns", int64_t{1} << 40);
  s.block = size(json_int_or(json, "blocksize", 64, what), "blocksize", 1 << 20);
  s.nested_block = size(json_int_or(json, "nested_blocksize", 256, what), "nested_blocksize", 1 << 20);
  s.nested_offset = static_cast<float>(json_number_or(json, "nested_offset", 0, what));
  return s;
}

float f32_at(std::span<const std::byte> bytes, uint64_t index) {
  return tensor::load_scale(ScaleType::kF32, bytes.data() + index * 4);
}

void set_absmax(Assembler& a, const std::string& module, QuantizedMatrix& m, const State& s) {
  const TensorView& absmax = a.need(module, ".weight.absmax");
  const uint64_t blocks = divide_up(s.rows * s.columns, s.block);
  if (tensor::element_count(absmax.shape) != blocks)
    a.bad(module, "'.weight.absmax' has {} numbers, must have {}", tensor::element_count(absmax.shape),
          blocks);
  m.scales.type = ScaleType::kF32;
  const TensorView* nested = a.find(module, ".weight.nested_absmax");
  if (!nested) {
    a.expect_format(module, ".weight.absmax", absmax, {FormatId::kF32});
    m.scales.bytes = absmax.bytes;
    return;
  }
  const TensorView& map = a.need(module, ".weight.nested_quant_map");
  a.expect_format(module, ".weight.absmax", absmax, {FormatId::kU8});
  a.expect_format(module, ".weight.nested_absmax", *nested, {FormatId::kF32});
  a.expect_format(module, ".weight.nested_quant_map", map, {FormatId::kF32});
  if (tensor::element_count(map.shape) != 256 ||
      tensor::element_count(nested->shape) != divide_up(blocks, s.nested_block))
    a.bad(module, "the sizes of its nested scales do not fit {} blocks", blocks);
  m.scales.value = [codes = absmax.bytes, levels = map.bytes, outer = nested->bytes, s](uint64_t index) {
    const float product =
        f32_at(levels, std::to_integer<uint64_t>(codes[index])) * f32_at(outer, index / s.nested_block);
    return product + s.nested_offset;
  };
}

void read_4bit(Assembler& a, const std::string& module, std::string_view kind) {
  const State s = read_state(a, module, a.need(module, std::string(kState) + std::string(kind)));
  const TensorView &weight = a.need(module, ".weight"), &map = a.need(module, ".weight.quant_map");
  a.expect_format(module, ".weight", weight, {FormatId::kU8});
  a.expect_format(module, ".weight.quant_map", map, {FormatId::kF32});
  a.expect_shape(module, ".weight.quant_map", map, {16});
  if (tensor::element_count(weight.shape) != divide_up(checked_product(s.rows, s.columns), 2))
    a.bad(module, "'.weight' has {} bytes for a matrix of {} by {}", tensor::element_count(weight.shape),
          s.rows, s.columns);
  QuantizedMatrix m;
  m.codes = {weight.bytes, s.rows, s.columns, 4, 0, 0, read_flat_nibbles};
  m.kind = CodeKind::kNF4;
  bool standard = true;
  for (uint64_t i = 0; i < 16; ++i) {
    m.levels.push_back(f32_at(map.bytes, i));
    standard = standard && m.levels[i] == tensor::kNf4Levels[i];
  }
  set_absmax(a, module, m, s);
  // Blocks run through the flattened matrix. Where they are no whole parts of a row, the columns that any two of them and
  // a row's ends share are groups of their own.
  m.scales.columns_per = std::gcd(s.block, s.columns);
  m.scales.flat_columns = s.columns;
  m.scales.flat_block = s.block;
  if (standard) m.levels.clear();
  a.put(module, {static_cast<int64_t>(s.rows), static_cast<int64_t>(s.columns)}, std::move(m));
}

void read_8bit(Assembler& a, const std::string& module) {
  const TensorView &weight = a.need(module, ".weight"), &scb = a.need(module, ".SCB");
  a.expect_format(module, ".weight", weight, {FormatId::kI8});
  a.expect_format(module, ".SCB", scb, {FormatId::kF32});
  if (weight.shape.size() != 2 || tensor::element_count(weight.shape) == 0)
    a.bad(module, "'.weight' must have two axes and not be empty");
  const uint64_t rows = size_at(weight, 0), columns = size_at(weight, 1);
  a.expect_shape(module, ".SCB", scb, {weight.shape[0]});
  if (const TensorView* order = a.find(module, ".weight_format");
      order && !std::ranges::all_of(order->bytes, [](std::byte b) { return b == std::byte{0}; }))
    a.unsupported("module '{}': its weight_format is not 'row'", printable(module));
  QuantizedMatrix m;
  m.codes = {weight.bytes, rows, columns, 8, columns, 128, read_code_bytes};
  m.scales.type = ScaleType::kF32;
  m.scales.columns_per = columns;
  m.scales.row_stride = 1;
  m.scales.value = [bytes = scb.bytes](uint64_t index) { return f32_at(bytes, index) / 127.0f; };
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

}  // namespace

void read_bitsandbytes(Assembler& a, const Json& config) {
  const bool eight = json_bool_or(config, "load_in_8bit", false, a.what());
  a.layout.bits = eight ? 8 : 4;
  a.layout.variant = eight ? "int8" : json_string_or(config, "bnb_4bit_quant_type", "nf4", a.what());
  a.layout.symmetric = true;
  for (const char* kind : {"nf4", "fp4"})
    for (const std::string& module : a.modules_with(std::string(kState) + kind)) read_4bit(a, module, kind);
  for (const std::string& module : a.modules_with(".SCB")) read_8bit(a, module);
}

void read_bitnet(Assembler& a, const Json& config) {
  const std::string linear = json_string_or(config, "linear_class", "bitlinear", a.what());
  const std::string mode = json_string_or(config, "quantization_mode", "offline", a.what());
  const bool automatic = linear == "autobitlinear";  // multiplies by the scale, bitlinear divides
  if ((linear != "bitlinear" && !automatic) || mode != "offline")
    a.unsupported("layers '{}' in mode '{}' are not supported; known: bitlinear and autobitlinear, offline",
                  printable(linear), printable(mode));
  a.layout.variant = linear;
  a.layout.bits = 2;
  a.layout.symmetric = true;
  for (const std::string& module : a.modules_with(".weight_scale")) {
    const TensorView& weight = a.need(module, ".weight");
    a.expect_format(module, ".weight", weight, {FormatId::kU8});
    if (weight.shape.size() != 2 || tensor::element_count(weight.shape) == 0)
      a.bad(module, "'.weight' must have two axes and not be empty");
    const uint64_t rows = checked_product(size_at(weight, 0), 4), columns = size_at(weight, 1);
    const float stated = a.scalar(module, ".weight_scale", a.need(module, ".weight_scale"));
    const float scale = automatic ? stated : 1.0f / stated;
    QuantizedMatrix m;  // value = (field - 1) * scale; one more makes the middle of two bits, 2
    m.codes = {weight.bytes, rows, columns, 2, 0, 1, read_stacked_pairs};
    m.scales.type = ScaleType::kF32;
    m.scales.rows_per = rows;
    m.scales.columns_per = columns;
    m.scales.value = [scale](uint64_t) { return scale; };
    a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
  }
}

}  // namespace hone::formats
