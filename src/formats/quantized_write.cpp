#include "formats/quantized_write.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/error.h"
#include "formats/byte_reader.h"

namespace hone::formats {

using tensor::CodeKind;
using tensor::Container;
using tensor::FormatId;
using tensor::GroupedLayout;
using tensor::OutputTensor;
using tensor::ScaleType;
using tensor::ZeroKind;

namespace {

// The matrix as grouped bytes while its parts are written.
class Source {
 public:
  explicit Source(WholeMatrix matrix)
      : matrix_(std::move(matrix)),
        layout_(*tensor::grouped_layout(matrix_.format)),
        columns_(static_cast<uint64_t>(matrix_.shape.back())),
        rows_(tensor::element_count(matrix_.shape) / columns_) {}

  const GroupedLayout& layout() const { return layout_; }
  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }
  uint64_t groups() const { return columns_ / layout_.group; }
  bool one_scale_per_row() const { return matrix_.one_scale_per_row; }
  const tensor::Shape& shape() const { return matrix_.shape; }
  const std::byte* block(uint64_t row, uint64_t group) const {
    return bytes_.data() + (row * groups() + group) * layout_.block_bytes();
  }

  void add_part() { ++parts_; }
  template <typename Fill>
  void serve(Fill fill) {
    if (bytes_.empty()) {
      bytes_.resize(tensor::format_bytes(matrix_.format, rows_ * columns_));
      matrix_.produce(bytes_);
      left_ = parts_;
    }
    fill();
    if (--left_ == 0) bytes_ = {};
  }

 private:
  WholeMatrix matrix_;
  GroupedLayout layout_;
  uint64_t columns_, rows_;
  std::vector<std::byte> bytes_;
  size_t parts_ = 0, left_ = 0;
};

using Fill = void (*)(const Source&, std::span<std::byte> dst);

void set_bits(std::span<std::byte> words, uint64_t first_word, uint64_t stride, uint64_t at, int bits,
              unsigned value) {
  for (int b = 0; b < bits; ++b) {
    if (!((value >> b) & 1)) continue;
    const uint64_t bit = at + static_cast<uint64_t>(b),
                   byte = (first_word + bit / 32 * stride) * 4 + bit % 32 / 8;
    words[byte] |= static_cast<std::byte>(1u << (bit % 8));
  }
}

unsigned zero_point(const Source& s, uint64_t row, uint64_t group) {
  const GroupedLayout& l = s.layout();
  return l.zero == ZeroKind::kZeroPoint ? std::to_integer<unsigned>(s.block(row, group)[l.scale_bytes()])
                                        : 1u << (l.bits - 1);
}

// One stream of bits a row, padded to `row_bytes`.
void fill_row_stream(const Source& s, std::span<std::byte> dst) {
  const GroupedLayout& l = s.layout();
  const uint64_t row_bytes = dst.size() / s.rows(), size = l.group * l.bits / 8u;
  std::ranges::fill(dst, std::byte{0});
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < s.groups(); ++g)
      std::memcpy(dst.data() + r * row_bytes + g * size, s.block(r, g) + l.code_offset(), size);
}

// [.., out, groups], or [out, 1] where a row has one.
void fill_scales(const Source& s, std::span<std::byte> dst) {
  const uint64_t size = s.layout().scale_bytes(), across = dst.size() / size / s.rows();
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < across; ++g)
      std::memcpy(dst.data() + (r * across + g) * size, s.block(r, g), size);
}
void fill_biases(const Source& s, std::span<std::byte> dst) {
  const uint64_t size = s.layout().scale_bytes();
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < s.groups(); ++g)
      std::memcpy(dst.data() + (r * s.groups() + g) * size, s.block(r, g) + size, size);
}

void fill_signed_codes(const Source& s, std::span<std::byte> dst) {
  fill_row_stream(s, dst);
  for (std::byte& code : dst) code ^= std::byte{0x80};
}
void fill_signed_zeros(const Source& s, std::span<std::byte> dst) {
  const uint64_t across = dst.size() / s.rows();
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < across; ++g)
      dst[r * across + g] = static_cast<std::byte>(zero_point(s, r, g) ^ 0x80u);
}
// compressed-tensors: a stream of bits along the rows, [out * bits / 32, groups].
void fill_packed_zeros(const Source& s, std::span<std::byte> dst) {
  const auto bits = static_cast<uint64_t>(s.layout().bits);
  const uint64_t lines = (s.rows() * bits + 31) / 32, across = dst.size() / 4 / lines;
  std::ranges::fill(dst, std::byte{0});
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < across; ++g)
      set_bits(dst, g, across, r * bits, s.layout().bits, zero_point(s, r, g));
}
void fill_shape(const Source& s, std::span<std::byte> dst) {
  const int64_t sizes[2] = {static_cast<int64_t>(s.rows()), static_cast<int64_t>(s.columns())};
  std::memcpy(dst.data(), sizes, sizeof sizes);
}
void fill_one(const Source&, std::span<std::byte> dst) {
  tensor::store_scale(ScaleType::kF32, 1.0f, dst.data());
}

// GPTQ: a stream of bits per output along the inputs, [in * bits / 32, out].
void fill_gptq_codes(const Source& s, std::span<std::byte> dst) {
  const GroupedLayout& l = s.layout();
  const uint64_t group_words = l.group * l.bits / 32u;  // groups are whole words
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < s.groups(); ++g)
      for (uint64_t w = 0; w < group_words; ++w)
        std::memcpy(dst.data() + ((g * group_words + w) * s.rows() + r) * 4,
                    s.block(r, g) + l.code_offset() + w * 4, 4);
}
// [groups, out].
void fill_gptq_scales(const Source& s, std::span<std::byte> dst) {
  const uint64_t size = s.layout().scale_bytes(), groups = dst.size() / size / s.rows();
  for (uint64_t r = 0; r < s.rows(); ++r)
    for (uint64_t g = 0; g < groups; ++g)
      std::memcpy(dst.data() + (g * s.rows() + r) * size, s.block(r, g), size);
}
// The first format: the zero point less 1, a stream along the outputs, [groups, out * bits / 32].
void fill_gptq_zeros(const Source& s, std::span<std::byte> dst) {
  const int bits = s.layout().bits;
  const uint64_t words = s.rows() * static_cast<uint64_t>(bits) / 32, groups = dst.size() / 4 / words;
  std::ranges::fill(dst, std::byte{0});
  for (uint64_t g = 0; g < groups; ++g)
    for (uint64_t r = 0; r < s.rows(); ++r)
      set_bits(dst, g * words, 1, r * static_cast<uint64_t>(bits), bits,
               (zero_point(s, r, g) - 1) & ((1u << bits) - 1));
}
void fill_group_index(const Source& s, std::span<std::byte> dst) {
  const uint64_t group = s.one_scale_per_row() ? s.columns() : s.layout().group;
  for (uint64_t c = 0; c < s.columns(); ++c) {
    const auto index = static_cast<int32_t>(c / group);
    std::memcpy(dst.data() + c * 4, &index, 4);
  }
}

FormatId scale_format(ScaleType type, bool as_bytes) {
  switch (type) {
    case ScaleType::kF16:
      return FormatId::kF16;
    case ScaleType::kBF16:
      return FormatId::kBF16;
    case ScaleType::kF32:
      return FormatId::kF32;
    case ScaleType::kE8M0:
      return FormatId::kU8;
    case ScaleType::kE4M3:
      return as_bytes ? FormatId::kU8 : FormatId::kF8E4M3;
  }
  return FormatId::kF32;
}

class Splitter {
 public:
  Splitter(std::shared_ptr<Source> source, std::string module)
      : source_(std::move(source)), module_(std::move(module)) {}

  void add(const char* suffix, FormatId format, tensor::Shape shape, Fill fill) {
    source_->add_part();
    parts_.push_back(
        {module_ + suffix, format, std::move(shape),
         [source = source_, fill](std::span<std::byte> dst) { source->serve([&] { fill(*source, dst); }); }});
  }
  std::vector<OutputTensor> take() { return std::move(parts_); }

 private:
  std::shared_ptr<Source> source_;
  std::string module_;
  std::vector<OutputTensor> parts_;
};

tensor::Shape with_last(tensor::Shape shape, uint64_t last) {
  shape.back() = static_cast<int64_t>(last);
  return shape;
}

void split_mlx(const Source& s, Splitter& out) {
  const GroupedLayout& l = s.layout();
  const FormatId scales = scale_format(l.scale, true);
  out.add(".weight", FormatId::kU32, with_last(s.shape(), s.columns() * l.bits / 32), fill_row_stream);
  out.add(".scales", scales, with_last(s.shape(), s.groups()), fill_scales);
  if (l.zero == ZeroKind::kBias) out.add(".biases", scales, with_last(s.shape(), s.groups()), fill_biases);
}

void split_compressed(const Source& s, Splitter& out) {
  const GroupedLayout& l = s.layout();
  const auto bits = static_cast<uint64_t>(l.bits), across = s.one_scale_per_row() ? 1 : s.groups();
  const bool packed_int = l.code == CodeKind::kInt && l.bits < 8, fp4 = l.code == CodeKind::kE2M1;
  if (packed_int) {
    out.add(".weight_packed", FormatId::kI32, with_last(s.shape(), (s.columns() * bits + 31) / 32),
            fill_row_stream);
    if (l.zero == ZeroKind::kZeroPoint)
      out.add(".weight_zero_point", FormatId::kI32,
              {static_cast<int64_t>((s.rows() * bits + 31) / 32), static_cast<int64_t>(across)},
              fill_packed_zeros);
    out.add(".weight_shape", FormatId::kI64, {2}, fill_shape);
  } else if (l.code == CodeKind::kInt) {
    out.add(".weight", FormatId::kI8, s.shape(), fill_signed_codes);
    if (l.zero == ZeroKind::kZeroPoint)
      out.add(".weight_zero_point", FormatId::kI8, with_last(s.shape(), across), fill_signed_zeros);
  } else if (fp4) {
    out.add(".weight_packed", FormatId::kU8, with_last(s.shape(), s.columns() / 2), fill_row_stream);
    if (l.scale == ScaleType::kE4M3) out.add(".weight_global_scale", FormatId::kF32, {1}, fill_one);
  } else {
    out.add(".weight", l.code == CodeKind::kE4M3 ? FormatId::kF8E4M3 : FormatId::kF8E5M2, s.shape(),
            fill_row_stream);
  }
  out.add(".weight_scale", scale_format(l.scale, false), with_last(s.shape(), across), fill_scales);
}

void split_gptq(const Source& s, Splitter& out) {
  const GroupedLayout& l = s.layout();
  const auto bits = static_cast<uint64_t>(l.bits), groups = s.one_scale_per_row() ? 1 : s.groups();
  const auto outputs = static_cast<int64_t>(s.rows());
  out.add(".qweight", FormatId::kI32, {static_cast<int64_t>(s.columns() * bits / 32), outputs},
          fill_gptq_codes);
  out.add(".qzeros", FormatId::kI32,
          {static_cast<int64_t>(groups), static_cast<int64_t>(s.rows() * bits / 32)}, fill_gptq_zeros);
  out.add(".g_idx", FormatId::kI32, {static_cast<int64_t>(s.columns())}, fill_group_index);
  out.add(".scales", scale_format(l.scale, false), {static_cast<int64_t>(groups), outputs}, fill_gptq_scales);
}

// --- config.json
// ----------------------------------------------------------------------------------------------

Json mlx_entry(const GroupedLayout& l) {
  Json entry = {{"group_size", l.group}, {"bits", l.bits}};
  entry["mode"] = l.code == CodeKind::kInt    ? "affine"
                  : l.code == CodeKind::kE4M3 ? "mxfp8"
                  : l.group == 16             ? "nvfp4"
                                              : "mxfp4";
  return entry;
}

// What most modules have at the top, the others by name: older loaders do not look at the shapes.
Json mlx_json(const std::vector<WholeMatrix>& matrices) {
  std::map<FormatId, size_t> count;
  for (const WholeMatrix& m : matrices) ++count[m.format];
  const auto most = std::ranges::max_element(count, {}, [](const auto& entry) { return entry.second; });
  if (most == count.end()) return nullptr;
  const Json top = mlx_entry(*tensor::grouped_layout(most->first));
  Json json = top;
  for (const WholeMatrix& m : matrices)
    if (const Json own = mlx_entry(*tensor::grouped_layout(m.format)); own != top) json[m.module] = own;
  return json;
}

const char* compressed_format(const GroupedLayout& l) {
  if (l.code == CodeKind::kInt) return l.bits < 8 ? "pack-quantized" : "int-quantized";
  if (l.code == CodeKind::kE2M1)
    return l.scale == ScaleType::kE4M3 ? "nvfp4-pack-quantized" : "mxfp4-pack-quantized";
  return l.scale == ScaleType::kE8M0 ? "mxfp8-quantized" : "float-quantized";
}

Json compressed_weights(const WholeMatrix& m) {
  const GroupedLayout& l = *tensor::grouped_layout(m.format);
  Json weights = {{"num_bits", l.bits},
                  {"type", l.code == CodeKind::kInt ? "int" : "float"},
                  {"symmetric", l.zero != ZeroKind::kZeroPoint}};
  weights["strategy"] = m.one_scale_per_row           ? "channel"
                        : l.scale == ScaleType::kE4M3 ? "tensor_group"
                                                      : "group";
  weights["group_size"] = m.one_scale_per_row ? Json(nullptr) : Json(l.group);
  if (l.scale == ScaleType::kE8M0) weights["scale_dtype"] = "torch.uint8";
  weights["dynamic"] = false;
  weights["observer"] = "minmax";
  return weights;
}

struct Scheme {
  Json json;
  std::vector<std::string> modules;
};

Json compressed_json(const std::vector<WholeMatrix>& matrices, const std::vector<std::string>& plain) {
  std::vector<Scheme> schemes;
  bool one_format = true;
  for (const WholeMatrix& m : matrices) {
    Json json;
    json["format"] = compressed_format(*tensor::grouped_layout(m.format));
    json["weights"] = compressed_weights(m);
    auto found =
        std::find_if(schemes.begin(), schemes.end(), [&](const Scheme& s) { return s.json == json; });
    if (found == schemes.end()) {
      schemes.push_back({json, {}});
      found = schemes.end() - 1;
    }
    found->modules.push_back(m.module);
    one_format = one_format && json["format"] == schemes[0].json["format"];
  }
  if (schemes.empty()) return nullptr;
  Json groups = Json::object();
  for (const Scheme& scheme : schemes) {
    Json group;
    group["targets"] = schemes.size() == 1 ? std::vector<std::string>{"Linear"} : scheme.modules;
    group.update(scheme.json);
    group["input_activations"] = nullptr;
    group["output_activations"] = nullptr;
    groups[fmt::format("group_{}", groups.size())] = std::move(group);
  }
  Json out;
  out["quant_method"] = "compressed-tensors";
  out["format"] = one_format ? schemes[0].json["format"].get<std::string>() : "mixed-precision";
  out["quantization_status"] = "compressed";
  out["config_groups"] = std::move(groups);
  out["ignore"] = plain;
  out["kv_cache_scheme"] = nullptr;
  return out;
}

Json gptq_json(const std::vector<WholeMatrix>& matrices) {
  if (matrices.empty()) return nullptr;
  const auto group_of = [](const WholeMatrix& m) {
    return m.one_scale_per_row ? -1 : int{tensor::grouped_layout(m.format)->group};
  };
  const WholeMatrix& first = matrices[0];
  bool symmetric = true;
  for (const WholeMatrix& m : matrices) {
    const GroupedLayout &a = *tensor::grouped_layout(first.format), &b = *tensor::grouped_layout(m.format);
    if (a.bits != b.bits || group_of(first) != group_of(m))
      fail(ErrorKind::kUnsupported,
           "[gptq] '{}' has {} bits in groups of {}, '{}' has {} in groups of {}; the layout has one width "
           "and one group for all, "
           "requantize to one format",
           printable(first.module), a.bits, group_of(first), printable(m.module), b.bits, group_of(m));
    symmetric = symmetric && b.zero == ZeroKind::kMiddle;
  }
  return {{"quant_method", "gptq"},
          {"bits", tensor::grouped_layout(first.format)->bits},
          {"group_size", group_of(first)},
          {"sym", symmetric},
          {"desc_act", false},
          {"static_groups", false},
          {"true_sequential", true},
          {"damp_percent", 0.01},
          {"lm_head", false},
          {"checkpoint_format", "gptq"}};
}

void check_sizes(Container layout, const WholeMatrix& m) {
  const GroupedLayout* l = tensor::grouped_layout(m.format);
  const std::string name = printable(m.module);
  if (!l || !tensor::carries(layout, m.format))
    fail(ErrorKind::kUnsupported, "[{}] '{}': {} cannot be laid out this way; choose another format",
         tensor::container_name(layout), name, tensor::format(m.format).name);
  if (tensor::element_count(m.shape) == 0 || m.shape.size() < 2 ||
      !tensor::divides(m.format, static_cast<uint64_t>(m.shape.back())))
    fail(ErrorKind::kUnsupported, "[{}] '{}': a tensor {} is no matrix of whole groups of {}",
         tensor::container_name(layout), name, tensor::shape_text(m.shape), l->group);
  if (layout != Container::kMlx && m.shape.size() != 2)
    fail(ErrorKind::kUnsupported, "[{}] '{}': stacked matrices {} have no place in this layout",
         tensor::container_name(layout), name, tensor::shape_text(m.shape));
  if (layout == Container::kGptq && m.shape[0] * l->bits % 32 != 0)
    fail(ErrorKind::kUnsupported, "[gptq] '{}': {} outputs of {} bits fill no whole words", name, m.shape[0],
         l->bits);
}

}  // namespace

std::vector<OutputTensor> split_matrix(Container layout, WholeMatrix matrix) {
  check_sizes(layout, matrix);
  std::string module = matrix.module;
  const auto source = std::make_shared<Source>(std::move(matrix));
  Splitter splitter(source, std::move(module));
  if (layout == Container::kMlx)
    split_mlx(*source, splitter);
  else if (layout == Container::kGptq)
    split_gptq(*source, splitter);
  else
    split_compressed(*source, splitter);
  return splitter.take();
}

Json quantization_json(Container layout, const std::vector<WholeMatrix>& matrices,
                       const std::vector<std::string>& plain) {
  if (layout == Container::kMlx) return mlx_json(matrices);
  return layout == Container::kGptq ? gptq_json(matrices) : compressed_json(matrices, plain);
}

bool has_one_scale_per_row(const tensor::TensorView& view) {
  const GroupedLayout* l = tensor::grouped_layout(view.format);
  if (!l || l->zero == ZeroKind::kBias || l->scale == ScaleType::kE4M3 || l->scale == ScaleType::kE8M0)
    return false;
  const uint64_t columns = static_cast<uint64_t>(view.row_length()), groups = columns / l->group;
  std::vector<std::byte> row(tensor::format_bytes(view.format, columns));
  for (uint64_t r = 0; r < view.rows(); ++r) {
    tensor::read_rows(view, r, 1, row);
    for (uint64_t g = 1; g < groups; ++g)
      if (std::memcmp(row.data(), row.data() + g * l->block_bytes(), l->code_offset()) != 0) return false;
  }
  return view.rows() > 0;
}

}  // namespace hone::formats
