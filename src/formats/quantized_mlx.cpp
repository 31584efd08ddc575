// Quantized modules of MLX: P.weight U32 [.., out, in * bits / 32], P.scales, and P.biases in affine mode.
// Each row is one stream of bits, lowest first.
#include "formats/quantized_methods.h"

namespace hone::formats {
namespace {

using tensor::CodeKind;
using tensor::FormatId;
using tensor::ScaleType;
using tensor::TensorView;

struct Mode {
  const char* name;
  CodeKind code;
  int bits, group;  // of the fixed modes
  ScaleType scale;
};
constexpr Mode kFixedModes[] = {{"mxfp4", CodeKind::kE2M1, 4, 32, ScaleType::kE8M0},
                                {"mxfp8", CodeKind::kE4M3, 8, 32, ScaleType::kE8M0},
                                {"nvfp4", CodeKind::kE2M1, 4, 16, ScaleType::kE4M3}};

struct Parameters {
  int64_t bits = 0, group = 0;
  std::string mode = "affine";
};

const Mode* fixed_mode(const std::string& name) {
  for (const Mode& mode : kFixedModes)
    if (name == mode.name) return &mode;
  return nullptr;
}

bool valid_affine(int64_t bits, int64_t group) {
  return bits >= 1 && bits <= 8 && bits != 7 && (group == 32 || group == 64 || group == 128);
}

Parameters read_parameters(const Assembler& a, const Json& json, Parameters fallback) {
  const std::string what = a.what();
  Parameters p;
  p.mode = json_string_or(json, "mode", json.contains("bits") ? "affine" : fallback.mode, what);
  const Mode* fixed = fixed_mode(p.mode);
  if (!fixed && p.mode != "affine")
    a.unsupported("the quantization mode '{}' is not known; known: affine, mxfp4, mxfp8, nvfp4",
                  printable(p.mode));
  p.bits = json_int_or(json, "bits", fixed ? fixed->bits : fallback.bits > 0 ? fallback.bits : 4, what);
  p.group = json_int_or(json, "group_size",
                        fixed                ? fixed->group
                        : fallback.group > 0 ? fallback.group
                                             : 64,
                        what);
  const bool valid = fixed ? p.bits == fixed->bits && p.group == fixed->group : valid_affine(p.bits, p.group);
  if (!valid)
    a.unsupported("{} bits in groups of {} do not exist in MLX's mode '{}'", p.bits, p.group, p.mode);
  return p;
}

// What the shapes allow: columns = words * 32 / bits = groups * group. The stated numbers come first, then
// those that share a number with them, as a loader that trusts the shapes would find.
Parameters fit(const Assembler& a, const std::string& module, const Parameters& stated,
               const TensorView& weight, const TensorView& scales) {
  const uint64_t words = size_at(weight, weight.shape.size() - 1),
                 groups = size_at(scales, scales.shape.size() - 1);
  const auto fits = [&](int64_t bits, int64_t group) {
    return checked_product(words, 32) == checked_product(groups, static_cast<uint64_t>(bits * group));
  };
  if (scales.format == FormatId::kU8) {
    for (const Mode& mode : kFixedModes)
      if (fits(mode.bits, mode.group)) return {mode.bits, mode.group, mode.name};
  } else {
    if (stated.mode == "affine" && fits(stated.bits, stated.group)) return stated;
    for (const int64_t bits : {1, 2, 3, 4, 5, 6, 8})
      if (valid_affine(bits, stated.group) && fits(bits, stated.group)) return {bits, stated.group, "affine"};
    for (const int64_t bits :
         {stated.bits, int64_t{8}, int64_t{6}, int64_t{5}, int64_t{4}, int64_t{3}, int64_t{2}, int64_t{1}})
      for (const int64_t group : {32, 64, 128})
        if (valid_affine(bits, group) && fits(bits, group)) return {bits, group, "affine"};
  }
  a.bad(module, "weight {} and scales {} fit no width and group",
        tensor::shape_text(weight.shape).substr(0, 100), tensor::shape_text(scales.shape).substr(0, 100));
}

// nvfp4 experts may have a scale each: value = E2M1 * E4M3(scale) * g / 2688.
void apply_global(Assembler& a, const std::string& module, const tensor::Shape& shape, ScalePlane& scales) {
  const TensorView* global = a.find(module, ".global_scale");
  if (!global) return;
  a.expect_format(module, ".global_scale", *global, {FormatId::kF32});
  const uint64_t experts = tensor::element_count(global->shape);
  uint64_t leading = 1;
  for (size_t i = 0; i + 2 < shape.size(); ++i) leading *= static_cast<uint64_t>(shape[i]);
  if (experts != leading) a.bad(module, "'.global_scale' has {} numbers for {} matrices", experts, leading);
  const uint64_t per_expert = static_cast<uint64_t>(shape[shape.size() - 2]) * scales.row_stride;
  scales.value = [inner = ScalePlane(scales), bytes = global->bytes, per_expert](uint64_t index) {
    const float scale = tensor::load_scale(inner.type, inner.bytes.data() + index);
    return scale * (tensor::load_scale(ScaleType::kF32, bytes.data() + index / per_expert * 4) / 2688.0f);
  };
  scales.type = ScaleType::kF32;
}

void read_module(Assembler& a, const std::string& module, const Parameters& stated) {
  const TensorView &weight = a.need(module, ".weight"), &scales = a.need(module, ".scales");
  a.expect_format(module, ".weight", weight, {FormatId::kU32});
  const size_t rank = weight.shape.size();
  if (rank < 2 || scales.shape.size() != rank)
    a.bad(module, "weight and scales must both have two or more axes");
  for (size_t i = 0; i + 1 < rank; ++i)
    if (weight.shape[i] != scales.shape[i]) a.bad(module, "weight and scales have different numbers of rows");
  if (tensor::element_count(weight.shape) == 0 || tensor::element_count(scales.shape) == 0)
    a.bad(module, "it is empty");
  const Parameters p = fit(a, module, stated, weight, scales);
  const Mode* fixed = fixed_mode(p.mode);

  const uint64_t words = size_at(weight, rank - 1), groups = size_at(scales, rank - 1);
  const uint64_t columns = checked_product(groups, static_cast<uint64_t>(p.group));
  tensor::Shape shape = weight.shape;
  shape.back() = static_cast<int64_t>(columns);
  QuantizedMatrix m;
  m.kind = fixed ? fixed->code : CodeKind::kInt;
  m.codes = {weight.bytes, weight.rows(), columns, static_cast<int>(p.bits), words * 4, 0, read_row_stream};
  m.scales = a.scale_plane(module, ".scales", scales, fixed ? fixed->scale : ScaleType::kE8M0);
  m.scales.columns_per = static_cast<uint64_t>(p.group);
  m.scales.row_stride = groups;
  m.scales.column_stride = 1;
  if (fixed) {
    if (p.mode == "nvfp4") apply_global(a, module, shape, m.scales);
  } else {
    a.expect_format(module, ".scales", scales, {FormatId::kF16, FormatId::kBF16, FormatId::kF32});
    const TensorView& biases = a.need(module, ".biases");
    a.expect_format(module, ".biases", biases, {scales.format});
    a.expect_shape(module, ".biases", biases, scales.shape);
    m.biases = m.scales;
    m.biases->bytes = biases.bytes;
  }
  a.put(module, std::move(shape), std::move(m));
}

}  // namespace

void read_mlx(Assembler& a, const Json& config) {
  const Parameters top = read_parameters(a, config, {});
  a.layout.variant = top.mode;
  a.layout.bits = static_cast<int>(top.bits);
  a.layout.group_size = top.group;
  for (const std::string& module : a.modules_with(".scales")) {
    const Json* own = json_find(config, module.c_str());
    if (own && own->is_boolean() && !own->get<bool>())
      a.bad(module, "config.json says that it is not quantized, but it has scales");
    if (own && !own->is_boolean() && !own->is_object())
      a.bad(module, "its entry in config.json is neither an object nor true or false");
    read_module(a, module, own && own->is_object() ? read_parameters(a, *own, top) : top);
  }
}

}  // namespace hone::formats
