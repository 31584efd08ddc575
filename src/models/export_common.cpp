// Descriptive metadata between the containers.
#include "models/export_common.h"

#include <algorithm>
#include <array>

namespace hone::models {

namespace {

constexpr std::string_view kPrefix = "general.";
// Derived from the container itself; written anew.
constexpr std::array<std::string_view, 5> kOwn = {"general.architecture", "general.type", "general.file_type",
                                                  "general.quantization_version", "general.alignment"};

bool is_kept(std::string_view key) {
  return key.substr(0, kPrefix.size()) == kPrefix && std::find(kOwn.begin(), kOwn.end(), key) == kOwn.end();
}

}  // namespace

tensor::FormatId dominant_format(const Model& model) {
  std::array<uint64_t, tensor::kFormatCount> elements{};
  for (const TensorInfo& info : model.tensor_infos)
    if (!info.keep_f32)
      elements[static_cast<size_t>(model.source(info).view.format)] += tensor::element_count(info.shape);
  return static_cast<tensor::FormatId>(std::max_element(elements.begin(), elements.end()) - elements.begin());
}

Json kept_general(const tensor::Metadata& metadata) {
  Json kept = Json::object();
  for (const auto& [key, value] : metadata.entries()) {
    if (!is_kept(key)) continue;
    if (const auto* text = std::get_if<std::string>(&value)) kept[key] = *text;
    const auto* array = std::get_if<std::shared_ptr<const tensor::MetaArray>>(&value);
    if (array && std::holds_alternative<std::vector<std::string>>((*array)->values)) kept[key] = *metadata.find_strings(key);
  }
  return kept;
}

void restore_general(const Json& kept, tensor::Metadata& metadata) {
  for (const auto& [key, value] : kept.items()) {
    if (!is_kept(key)) continue;
    if (value.is_string()) metadata.set(key, value.get<std::string>());
    if (!value.is_array()) continue;
    std::vector<std::string> list;
    for (const Json& item : value)
      if (item.is_string()) list.push_back(item.get<std::string>());
    metadata.set(key, tensor::make_array(std::move(list)));
  }
}

std::map<std::string, std::string> plain_texts(const tensor::Checkpoint& checkpoint) {
  std::map<std::string, std::string> texts = checkpoint.texts;
  if (!checkpoint.layout) return texts;
  for (const char* name : {"quantize_config.json", "quant_config.json", "hf_quant_config.json"}) texts.erase(name);
  Json config = parse_json(texts.at("config.json"), "config.json");
  for (const char* key : {"quantization", "quantization_config"}) config.erase(key);
  texts["config.json"] = dump_json(config, 2) + "\n";
  return texts;
}

}  // namespace hone::models
