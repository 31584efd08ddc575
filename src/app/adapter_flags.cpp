#include "app/adapter_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "passes/control_vector.h"
#include "passes/lora.h"

namespace hone::app {
namespace {

bool parse_number(std::string_view text, double& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && !text.empty() && std::isfinite(value);
}

// "A:B", both inclusive; block 0 has no direction.
std::pair<int64_t, int64_t> parse_layers(const std::string& text, int64_t layers) {
  if (text.empty()) return {1, layers - 1};
  const size_t colon = text.find(':');
  int64_t first = 0, last = 0;
  const auto whole = [](std::string_view part, int64_t& value) {
    const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), value);
    return code == std::errc() && end == part.data() + part.size();
  };
  const std::string_view view = text;
  if (colon == std::string::npos || !whole(view.substr(0, colon), first) ||
      !whole(view.substr(colon + 1), last) || first < 1 || last < first)
    fail(ErrorKind::kUsage,
         "--control-vector-layers {}: write A:B with 1 <= A <= B, the first and the last block to steer",
         text);
  if (last >= layers)
    fail(ErrorKind::kUsage, "--control-vector-layers {}: the model's last block is {}", text, layers - 1);
  return {first, last};
}

}  // namespace

ScaledFile parse_scaled_file(const std::string& text) {
  std::error_code code;
  const size_t colon = text.rfind(':');
  if (std::filesystem::exists(text, code) || colon == std::string::npos) return {text, 1};
  ScaledFile result{text.substr(0, colon), 1};
  if (!parse_number(std::string_view(text).substr(colon + 1), result.scale))
    fail(ErrorKind::kUsage, "{}: there is no such file; write FILE or FILE:SCALE, with a number for SCALE",
         text);
  return result;
}

void AdapterFlags::add(CLI::App& command) {
  const auto list = [&](const char* name, std::vector<std::string>& value, const char* help) {
    command.add_option(name, value, help)
        ->type_name("FILE[:SCALE]")
        ->allow_extra_args(false)
        ->group("Adapters");
  };
  list("--lora", loras_, "Apply a LoRA adapter (PEFT or MLX directory, or GGUF); may be repeated");
  list("--control-vector", vectors_, "Add a control vector (GGUF) to the residual stream; may be repeated");
  command
      .add_option("--control-vector-layers", layers_,
                  "First and last block to steer, counted from 0; all but block 0 unless given")
      ->type_name("A:B")
      ->group("Adapters");
}

void AdapterFlags::open(models::Model& model) {
  if (!layers_.empty() && vectors_.empty())
    fail(ErrorKind::kUsage, "--control-vector-layers needs a --control-vector");
  adapters_ = std::make_shared<std::vector<models::Adapter>>();
  for (const std::string& argument : loras_) {
    const ScaledFile file = parse_scaled_file(argument);
    adapters_->push_back(models::read_adapter(file.path, model));
    models::replace_tensors(model, adapters_->back());
    scales_.push_back(file.scale);
  }
  for (const std::string& argument : vectors_) add_direction(argument, model);
}

void AdapterFlags::add_direction(const std::string& argument, const models::Model& model) {
  const ScaledFile file = parse_scaled_file(argument);
  const formats::ControlVector vector = formats::read_control_vector(file.path);
  const auto [first, last] = parse_layers(layers_, model.config.layers);
  for (const auto& [layer, direction] : vector.directions) {
    if (layer >= model.config.layers || static_cast<int64_t>(direction.size()) != model.config.hidden_size) {
      fail(ErrorKind::kBadInput,
           "{}: direction {} has {} elements; {} has {} blocks of {}: the vector is for another model",
           file.path, layer, direction.size(), model.checkpoint->source_name(), model.config.layers,
           model.config.hidden_size);
    }
    if (layer < first || layer > last) continue;
    std::vector<float>& sum = directions_[layer];
    sum.resize(direction.size());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<float>(file.scale) * direction[i];
  }
}

ir::Graph AdapterFlags::apply(ir::Graph graph) const {
  if (adapters_ && !adapters_->empty()) {
    std::vector<passes::LoraAdapter> list;
    for (size_t i = 0; i < adapters_->size(); ++i)
      list.push_back({(*adapters_)[i].source, &(*adapters_)[i].updates, scales_[i], adapters_});
    graph = passes::apply_lora(graph, list).graph;
  }
  if (!directions_.empty()) graph = passes::apply_control_vector(graph, directions_).graph;
  return graph;
}

void MergeFlags::add(CLI::App& command) {
  command
      .add_option("--lora", loras_,
                  "Merge a LoRA adapter (PEFT or MLX directory, or GGUF) into the weights; may be repeated")
      ->type_name("FILE[:SCALE]")
      ->allow_extra_args(false);
}

models::MergeReport MergeFlags::merge(models::Model& model) const {
  std::vector<models::Adapter> adapters;
  std::vector<double> scales;
  for (const std::string& argument : loras_) {
    const ScaledFile file = parse_scaled_file(argument);
    adapters.push_back(models::read_adapter(file.path, model));
    scales.push_back(file.scale);
  }
  std::vector<models::ScaledAdapter> list;
  for (size_t i = 0; i < adapters.size(); ++i) list.push_back({&adapters[i], scales[i]});
  return models::merge_adapters(model, list);
}

}  // namespace hone::app
