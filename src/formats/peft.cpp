// LoRA adapters of the peft package. Ranks come from the tensors and are held against the configuration;
// scales come from the configuration alone.
#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/json.h"
#include "formats/adapter.h"
#include "formats/adapter_pairs.h"
#include "formats/byte_reader.h"

namespace hone::formats {
namespace {

// Options that change the forward pass in ways that hone does not compute; off when absent, null, false or
// empty.
constexpr const char* kMustBeOff[] = {"use_qalora",        "use_bdlora",
                                      "arrow_config",      "kasa_config",
                                      "monteclora_config", "velora_config",
                                      "layer_replication", "alora_invocation_tokens",
                                      "lora_bias",         "trainable_token_indices"};
// Initialisations after which the base weights are still those that were published.
constexpr std::string_view kKeepsBase[] = {"gaussian", "eva", "orthogonal"};

bool is_off(const Json* value) {
  return !value || value->is_null() || (value->is_boolean() && !value->get<bool>()) ||
         ((value->is_array() || value->is_object()) && value->empty());
}

void check_options(const Json& json, const std::string& what) {
  const std::string type = json_string_or(json, "peft_type", "", what);
  if (type != "LORA")
    fail(ErrorKind::kUnsupported, "[adapter] {}: peft_type '{}' is not supported, only 'LORA'", what,
         printable(type));
  Faults faults;
  for (const char* key : kMustBeOff)
    if (!is_off(json_find(json, key))) faults.add(fmt::format("'{}' is not supported", key));
  const Json* start = json_find(json, "init_lora_weights");
  if (start && start->is_string()) {
    const auto name = start->get<std::string>();
    if (std::find(std::begin(kKeepsBase), std::end(kKeepsBase), name) == std::end(kKeepsBase))
      faults.add(fmt::format(
          "'init_lora_weights' is '{}', which changes the base weights as well; convert it to a plain "
          "LoRA when saving",
          printable(name)));
  }
  faults.raise(ErrorKind::kUnsupported, "adapter", what);
}

// One table of rank_pattern or alpha_pattern: peft matches each key, a regular expression, against the end of
// the module's name. Keys that are names are matched as such, others are refused.
class Pattern {
 public:
  Pattern(const Json& json, const char* key, const std::string& what) {
    const Json* table = json_find(json, key);
    if (!table) return;
    if (!table->is_object()) fail(ErrorKind::kBadInput, "[adapter] {}: '{}' must be an object", what, key);
    for (const auto& [name, value] : table->items()) {
      if (!value.is_number())
        fail(ErrorKind::kBadInput, "[adapter] {}: '{}' of '{}' must be a number", what, key, printable(name));
      entries_.emplace_back(literal(name, key, what), value.get<double>());
    }
  }
  double find_or(std::string_view module, double fallback) const {
    for (const auto& [name, value] : entries_)
      if (module == name || (module.size() > name.size() && module.ends_with(name) &&
                             module[module.size() - name.size() - 1] == '.'))
        return value;
    return fallback;
  }

 private:
  static std::string literal(std::string_view name, const char* key, const std::string& what) {
    std::string text;
    if (name.starts_with('^')) name.remove_prefix(1);
    if (name.ends_with('$')) name.remove_suffix(1);
    for (size_t i = 0; i < name.size(); ++i) {
      const char c = name[i];
      const bool escaped_dot = c == '\\' && i + 1 < name.size() && name[i + 1] == '.';
      if (!escaped_dot && !(std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'))
        fail(ErrorKind::kUnsupported,
             "[adapter] {}: '{}' has the regular expression '{}'; only names of modules are supported", what,
             key, printable(name));
      text += escaped_dot ? '.' : c;
      i += escaped_dot;
    }
    return text;
  }
  std::vector<std::pair<std::string, double>> entries_;
};

// Cuts what peft puts around the name of a module or parameter.
std::string base_name(std::string name) {
  constexpr std::string_view prefix = "base_model.model.";
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const std::string_view wrapper : {".base_layer", ".modules_to_save.default", ".modules_to_save"})
    if (const size_t at = name.find(wrapper);
        at != std::string::npos && name.compare(at + wrapper.size(), 1, ".") == 0)
      name.erase(at, wrapper.size());
  return name;
}

bool lists_embedding(const Json& json) {
  const Json* list = json_find(json, "modules_to_save");
  if (!list || !list->is_array()) return false;
  for (const Json& item : *list)
    if (item.is_string() && item.get<std::string>().find("embed") != std::string::npos) return true;
  return false;
}

// The half of a pair that a tensor is, or false for a whole tensor.
bool sort_in(const std::string& name, const tensor::TensorView& view, AdapterPairs& pairs) {
  std::string base = name;
  for (const char* tail : {".lora_A.weight", ".lora_A.default.weight"})
    if (cut_tail(base, tail)) return pairs.of(base).a = &view, true;
  for (const char* tail : {".lora_B.weight", ".lora_B.default.weight"})
    if (cut_tail(base, tail)) return pairs.of(base).b = &view, true;
  for (const char* tail :
       {".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".lora_magnitude_vector.default.weight"})
    if (cut_tail(base, tail)) return pairs.of(base).magnitude = &view, true;
  for (const char* tail : {".lora_embedding_A", ".lora_embedding_A.default"})
    if (cut_tail(base, tail)) return pairs.of(base).embedding = true, pairs.of(base).a = &view, true;
  for (const char* tail : {".lora_embedding_B", ".lora_embedding_B.default"})
    if (cut_tail(base, tail)) return pairs.of(base).embedding = true, pairs.of(base).b = &view, true;
  return false;
}

}  // namespace

AdapterFile parse_peft(const std::string& config, const tensor::Checkpoint& weights,
                       const std::string& source) {
  const std::string what = source + "/adapter_config.json";
  const Json json = parse_json(config, what);
  if (!json.is_object()) fail(ErrorKind::kBadInput, "[adapter] {}: must be a JSON object", what);
  check_options(json, what);
  const auto rank = static_cast<double>(json_int_or(json, "r", 8, what));
  const double alpha = json_number_or(json, "lora_alpha", 8, what);
  const bool root = json_bool_or(json, "use_rslora", false, what),
             dora = json_bool_or(json, "use_dora", false, what);
  const bool input_first = json_bool_or(json, "fan_in_fan_out", false, what);
  const Pattern ranks(json, "rank_pattern", what), alphas(json, "alpha_pattern", what);

  AdapterFile file;
  file.kind = AdapterKind::kPeft;
  file.source = source;
  file.base_model = json_string_or(json, "base_model_name_or_path", "", what);
  file.splits_tied_embedding =
      lists_embedding(json) && !json_bool_or(json, "ensure_weight_tying", false, what);
  AdapterPairs pairs;
  Faults faults;
  for (const auto& [full, view] : weights.tensors()) {
    const std::string name = base_name(full);
    if (sort_in(name, view, pairs)) continue;
    if (name.find("lora_") != std::string::npos || name.find("token_adapter") != std::string::npos)
      faults.add(fmt::format("'{}' is a kind of tensor that is not supported", printable(full)));
    else if (!tensor::format(view.format).decode)
      faults.add(fmt::format("'{}' holds {}", printable(full), tensor::format(view.format).name));
    else
      file.replaced.push_back({name, view});
  }
  for (const auto& entry : pairs.entries()) {
    if (!check_entry(entry, faults)) continue;
    const auto own_rank = static_cast<double>(entry.a->shape[0]);
    if (const double wanted = ranks.find_or(entry.base, rank); wanted != own_rank)
      faults.add(fmt::format("'{}' has rank {}, the configuration says {}", printable(entry.base), own_rank,
                             wanted));
    if (dora != (entry.magnitude != nullptr))
      faults.add(fmt::format("'{}' has {} magnitudes, the configuration says {}", printable(entry.base),
                             entry.magnitude ? "" : "no", dora ? "DoRA" : "plain LoRA"));
    if (dora && entry.embedding)
      faults.add(fmt::format("'{}': DoRA of an embedding is not supported", printable(entry.base)));
    AdapterTensor out{entry.base + ".weight", {*entry.a, *entry.b, 1, {}}, input_first && !entry.embedding};
    out.update.scale = alphas.find_or(entry.base, alpha) / (root ? std::sqrt(own_rank) : own_rank);
    if (!std::isfinite(out.update.scale))
      faults.add(fmt::format("the scale of '{}' is not finite", printable(entry.base)));
    out.update.magnitude = magnitude_of(entry);
    if (entry.embedding) {  // A is [rank, tokens] and B [hidden, rank]: the table gets their product's
                            // transpose
      out.update.a = transposed(*entry.b, file.owners);
      out.update.b = transposed(*entry.a, file.owners);
    }
    file.updates.push_back(std::move(out));
  }
  if (faults.empty() && file.updates.empty() && file.replaced.empty())
    faults.add("no tensors; the file is empty");
  faults.raise(ErrorKind::kBadInput, "adapter", source);
  return file;
}

}  // namespace hone::formats
