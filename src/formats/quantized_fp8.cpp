// FP8 weights with scales that multiply: per block (DeepSeek), per row (FBGEMM), per tensor; and ModelOpt's
// FP8 and NVFP4, whose scale of the tensor multiplies too.
#include "formats/quantized_methods.h"

namespace hone::formats {
namespace {

using tensor::CodeKind;
using tensor::FormatId;
using tensor::ScaleType;
using tensor::TensorView;

struct Block {
  uint64_t rows = 0, columns = 0;  // 0: no blocks
};

Block read_block(const Assembler& a, const Json& config) {
  const Json* block = json_find(config, "weight_block_size");
  if (!block) return {};
  if (!block->is_array() || block->size() != 2 || !block->at(0).is_number_integer() ||
      !block->at(1).is_number_integer())
    a.unsupported("'weight_block_size' must be two numbers");
  const auto rows = block->at(0).get<int64_t>(), columns = block->at(1).get<int64_t>();
  if (rows < 1 || columns < 1 || rows > (1 << 20) || columns > (1 << 20))
    a.unsupported("blocks of {} by {}", rows, columns);
  return {static_cast<uint64_t>(rows), static_cast<uint64_t>(columns)};
}

void read_module(Assembler& a, const std::string& module, std::string_view scale_name, const Block& block) {
  const TensorView &weight = a.need(module, ".weight"), &scales = a.need(module, scale_name);
  a.expect_format(module, ".weight", weight, {FormatId::kF8E4M3, FormatId::kF8E5M2});
  if (weight.shape.size() != 2 || tensor::element_count(weight.shape) == 0)
    a.bad(module, "'.weight' must have two axes and not be empty");
  const uint64_t rows = size_at(weight, 0), columns = size_at(weight, 1);
  QuantizedMatrix m;
  m.kind = weight.format == FormatId::kF8E4M3 ? CodeKind::kE4M3 : CodeKind::kE5M2;
  m.codes = {weight.bytes, rows, columns, 8, columns, 0, read_code_bytes};
  m.scales = a.scale_plane(module, scale_name, scales);
  m.scales.rows_per = rows;
  m.scales.columns_per = columns;
  if (const uint64_t count = tensor::element_count(scales.shape);
      count == rows && count > 1 && block.rows == 0 && size_at(scales, 0) == rows) {
    m.scales.rows_per = 1;
    m.scales.row_stride = 1;
  } else if (count != 1 || block.rows > 0) {
    if (block.rows == 0)
      a.bad(module, "'{}' is {}, but config.json states no 'weight_block_size'", scale_name,
            tensor::shape_text(scales.shape).substr(0, 100));
    const uint64_t down = divide_up(rows, block.rows), across = divide_up(columns, block.columns);
    a.expect_shape(module, scale_name, scales, {static_cast<int64_t>(down), static_cast<int64_t>(across)});
    m.scales.rows_per = block.rows;
    m.scales.columns_per = block.columns;
    m.scales.row_stride = across;
    m.scales.column_stride = 1;
  }
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

void read_nvfp4(Assembler& a, const std::string& module) {
  const TensorView &weight = a.need(module, ".weight"), &scales = a.need(module, ".weight_scale");
  a.expect_format(module, ".weight", weight, {FormatId::kU8});
  a.expect_format(module, ".weight_scale", scales, {FormatId::kF8E4M3});
  if (weight.shape.size() != 2 || tensor::element_count(weight.shape) == 0)
    a.bad(module, "'.weight' must have two axes and not be empty");
  const uint64_t rows = size_at(weight, 0), bytes = size_at(weight, 1), columns = checked_product(bytes, 2);
  const uint64_t groups = divide_up(columns, 16);
  a.expect_shape(module, ".weight_scale", scales, {static_cast<int64_t>(rows), static_cast<int64_t>(groups)});
  const float whole = a.scalar(module, ".weight_scale_2", a.need(module, ".weight_scale_2"));
  QuantizedMatrix m;
  m.kind = CodeKind::kE2M1;
  m.codes = {weight.bytes, rows, columns, 4, bytes, 0, read_row_stream};
  m.scales = a.scale_plane(module, ".weight_scale", scales);
  m.scales.type = ScaleType::kF32;
  m.scales.columns_per = 16;
  m.scales.row_stride = groups;
  m.scales.column_stride = 1;
  m.scales.value = [data = m.scales.bytes, whole](uint64_t index) {
    return tensor::load_scale(ScaleType::kE4M3, data.data() + index) * whole;
  };
  a.put(module, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, std::move(m));
}

}  // namespace

void read_fp8(Assembler& a, const Json& config) {
  const std::string fmt = json_string_or(config, "fmt", "e4m3", a.what());
  if (fmt != "e4m3" && fmt != "e5m2") a.unsupported("the number type '{}' is not known", printable(fmt));
  const Block block = read_block(a, config);
  a.layout.variant = block.rows > 0 ? fmt::format("{}x{} blocks", block.rows, block.columns) : "";
  a.layout.bits = 8;
  a.layout.symmetric = true;
  a.drop_all({".activation_scale", ".input_scale", ".input_scale_ub", ".k_scale", ".v_scale"});
  for (const char* name : {".weight_scale_inv", ".weight_scale"})
    for (const std::string& module : a.modules_with(name)) read_module(a, module, name, block);
}

void read_modelopt(Assembler& a, const Json& config) {
  const std::string algorithm = json_string_or(config, "quant_algo", "NVFP4", a.what());
  if (algorithm != "NVFP4" && algorithm != "FP8" && algorithm != "MIXED_PRECISION")
    a.unsupported("'{}' is not supported; known: NVFP4, FP8", printable(algorithm));
  a.layout.variant = algorithm;
  a.layout.bits = algorithm == "FP8" ? 8 : 4;
  a.layout.group_size = algorithm == "FP8" ? 0 : 16;
  a.layout.symmetric = true;
  a.drop_all({".input_scale", ".k_scale", ".v_scale", ".output_scale"});
  for (const std::string& module : a.modules_with(".weight_scale"))
    if (a.has(module, ".weight_scale_2"))
      read_nvfp4(a, module);
    else
      read_module(a, module, ".weight_scale", {});
}

}  // namespace hone::formats
