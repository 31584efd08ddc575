// Which tool quantized a checkpoint, and the parts that its reader takes out and puts together.
#include "formats/quantized.h"

#include "formats/quantized_methods.h"

namespace hone::formats {

using tensor::Checkpoint;
using tensor::FormatId;
using tensor::ScaleType;
using tensor::TensorView;

namespace {

struct Method {
  const char* name;  // quant_method of config.json
  ReadMethod read;
};
// The one list of methods. MLX has a key of its own instead of a method's name.
constexpr Method kMethods[] = {
    {"gptq", read_gptq},
    {"awq", read_awq},
    {"auto-round", read_auto_round},
    {"intel/auto-round", read_auto_round},
    {"compressed-tensors", read_compressed_tensors},
    {"fp8", read_fp8},
    {"fbgemm_fp8", read_fp8},
    {"modelopt", read_modelopt},
    {"bitsandbytes", read_bitsandbytes},
    {"bitnet", read_bitnet},
};

const Method& find_method(const Checkpoint& checkpoint, const std::string& name) {
  std::string known;
  for (const Method& method : kMethods) {
    if (name == method.name) return method;
    known += (known.empty() ? "" : ", ") + std::string(method.name);
  }
  fail(ErrorKind::kUnsupported, "[formats] {}: weights quantized by '{}' are not supported; known: mlx, {}",
       checkpoint.source_name(), printable(name), known);
}

const Json* object_at(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const Json* found = json_find(json, key);
  return found && found->is_object() ? found : nullptr;
}

// The method of a quantize_config.json of the time before `quant_method`.
std::string old_method(const Json& json) {
  return json.contains("w_bit") || json.contains("zero_point") || json.contains("version") ? "awq" : "gptq";
}

// Files that stood in for `quantization_config`; none when the checkpoint has no such text.
std::optional<std::pair<std::string, Json>> config_of_old_files(const Checkpoint& checkpoint) {
  if (const auto text = checkpoint.texts.find("hf_quant_config.json"); text != checkpoint.texts.end()) {
    const Json json = parse_json(text->second, checkpoint.source_name() + "/hf_quant_config.json");
    if (const Json* inner = object_at(json, "quantization"))
      return std::pair(std::string("modelopt"), *inner);
  }
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    const auto text = checkpoint.texts.find(name);
    if (text == checkpoint.texts.end()) continue;
    Json json = parse_json(text->second, checkpoint.source_name() + "/" + name);
    if (!json.is_object()) continue;
    std::string method = json_string_or(json, "quant_method", old_method(json), name);
    return std::pair(std::move(method), std::move(json));
  }
  return std::nullopt;
}

void read(Checkpoint& checkpoint, const std::string& method, ReadMethod reader, const Json& config) {
  Assembler assembler(checkpoint, method);
  reader(assembler, config);
  assembler.finish();
}

}  // namespace

void assemble_quantized(Checkpoint& checkpoint) {
  const auto text = checkpoint.texts.find("config.json");
  if (text == checkpoint.texts.end()) return;
  const std::string what = checkpoint.source_name() + "/config.json";
  const Json json = parse_json(text->second, what);
  if (!json.is_object()) return;  // the models layer says so
  if (const Json* mlx = object_at(json, "quantization")) {
    if (json_find(json, "model_file"))
      fail(ErrorKind::kUnsupported,
           "[mlx] {}: names a 'model_file', Python code of its own; hone runs no code of checkpoints", what);
    return read(checkpoint, "mlx", read_mlx, *mlx);
  }
  if (const Json* config = object_at(json, "quantization_config")) {
    std::string name = json_string_or(*config, "quant_method", "", what);
    if (name.empty() && (json_bool_or(*config, "load_in_4bit", false, what) ||
                         json_bool_or(*config, "load_in_8bit", false, what)))
      name = "bitsandbytes";
    if (name.empty())
      fail(ErrorKind::kUnsupported,
           "[formats] {}: 'quantization_config' has no 'quant_method'; it does not say how the weights lie",
           what);
    const Method& method = find_method(checkpoint, name);
    return read(checkpoint, name, method.read, *config);
  }
  if (const auto old = config_of_old_files(checkpoint))
    read(checkpoint, old->first, find_method(checkpoint, old->first).read, old->second);
}

uint64_t checked_product(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product) || product > (uint64_t{1} << 60))
    fail(ErrorKind::kBadInput,
         "[formats] a quantized tensor of {} times {} elements is impossible; the file is damaged", a, b);
  return product;
}

std::vector<std::string> Assembler::modules_with(std::string_view suffix) const {
  std::vector<std::string> modules;
  for (const auto& t : checkpoint_.tensors())
    if (t.name.size() > suffix.size() && t.name.ends_with(suffix))
      modules.push_back(t.name.substr(0, t.name.size() - suffix.size()));
  return modules;
}

bool Assembler::has(const std::string& module, std::string_view suffix) const {
  return checkpoint_.find(module + std::string(suffix)) != nullptr;
}

const TensorView* Assembler::find(const std::string& module, std::string_view suffix) {
  const std::string name = module + std::string(suffix);
  const tensor::NamedTensor* found = checkpoint_.find(name);
  if (!found) return nullptr;
  taken_.insert(name);
  return &found->view;
}

const TensorView& Assembler::need(const std::string& module, std::string_view suffix) {
  const TensorView* found = find(module, suffix);
  if (!found) bad(module, "the part '{}' is missing", suffix);
  return *found;
}

void Assembler::drop_all(std::initializer_list<std::string_view> suffixes) {
  for (const auto& t : checkpoint_.tensors())
    for (const std::string_view suffix : suffixes)
      if (t.name.ends_with(suffix)) taken_.insert(t.name);
}

void Assembler::expect_format(const std::string& module, std::string_view suffix, const TensorView& view,
                              std::initializer_list<FormatId> formats) const {
  std::string wanted;
  for (const FormatId id : formats) {
    if (view.format == id) return;
    wanted += (wanted.empty() ? "" : " or ") + std::string(tensor::format(id).name);
  }
  bad(module, "'{}' is {}, must be {}", suffix, tensor::format(view.format).name, wanted);
}

void Assembler::expect_shape(const std::string& module, std::string_view suffix, const TensorView& view,
                             const tensor::Shape& shape) const {
  if (view.shape != shape)
    bad(module, "'{}' is {}, must be {}", suffix, tensor::shape_text(view.shape).substr(0, 100),
        tensor::shape_text(shape));
}

ScalePlane Assembler::scale_plane(const std::string& module, std::string_view suffix, const TensorView& view,
                                  ScaleType bytes_are) const {
  ScalePlane plane;
  plane.bytes = view.bytes;
  switch (view.format) {
    case FormatId::kF16:
      plane.type = ScaleType::kF16;
      break;
    case FormatId::kBF16:
      plane.type = ScaleType::kBF16;
      break;
    case FormatId::kF32:
      plane.type = ScaleType::kF32;
      break;
    case FormatId::kF8E8M0:
      plane.type = ScaleType::kE8M0;
      break;
    case FormatId::kF8E4M3:
      plane.type = ScaleType::kE4M3;
      break;
    case FormatId::kU8:
      plane.type = bytes_are;
      break;
    default:
      bad(module, "'{}' is {}, which is no type of scales", suffix, tensor::format(view.format).name);
  }
  return plane;
}

float Assembler::scalar(const std::string& module, std::string_view suffix, const TensorView& view) const {
  if (tensor::element_count(view.shape) != 1)
    bad(module, "'{}' is {}, must be one number", suffix, tensor::shape_text(view.shape).substr(0, 100));
  return scale_plane(module, suffix, view).at(0, 0);
}

void Assembler::put(const std::string& module, tensor::Shape shape, QuantizedMatrix matrix) {
  TensorView view;
  view.format = delivered_format(matrix);
  view.shape = std::move(shape);
  const bool empty = tensor::element_count(view.shape) == 0;
  if (empty) bad(module, "the matrix {} is empty", tensor::shape_text(view.shape));
  if (!matrix.column_groups.empty()) layout.act_order = true;
  auto source = make_row_source(std::move(matrix));
  view.source = source.get();
  checkpoint_.keep_alive(std::move(source));
  made_[module + ".weight"] = {module + ".weight", std::move(view)};
  ++layout.modules;
}

// Whole matrices stand where the first of their parts stood.
void Assembler::finish() {
  std::vector<tensor::NamedTensor> tensors;
  std::set<std::string> placed;
  const auto place = [&](const std::string& name) {
    const auto made = made_.find(name);
    if (made != made_.end() && placed.insert(name).second) tensors.push_back(made->second);
    return made != made_.end();
  };
  for (const auto& t : checkpoint_.tensors()) {
    if (!taken_.contains(t.name)) {
      if (made_.contains(t.name)) bad(t.name, "stands beside its quantized parts");
      tensors.push_back(t);
      continue;
    }
    // Parts are called "<module>.<part>", bitsandbytes' "<module>.weight.<part>".
    for (size_t dot = t.name.rfind('.'); dot != std::string::npos && dot > 0;
         dot = t.name.rfind('.', dot - 1))
      if (place(t.name.substr(0, dot) + ".weight")) break;
  }
  checkpoint_.replace_all(std::move(tensors));
  checkpoint_.layout = layout;
}

}  // namespace hone::formats
