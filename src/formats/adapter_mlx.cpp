// Adapter directories of mlx-lm: "<module>.lora_a" [in, rank] and ".lora_b" [rank, out], DoRA's ".m" [out],
// or whole parameters where the model was fine-tuned in full.
#include <cmath>

#include "base/json.h"
#include "formats/adapter.h"
#include "formats/adapter_pairs.h"
#include "formats/byte_reader.h"

namespace hone::formats {

AdapterFile parse_mlx(const std::string& config, const tensor::Checkpoint& weights,
                      const std::string& source) {
  const std::string what = source + "/adapter_config.json";
  const Json json = parse_json(config, what);
  if (!json.is_object()) fail(ErrorKind::kBadInput, "[adapter] {}: must be a JSON object", what);
  const std::string type = json_string_or(json, "fine_tune_type", "lora", what);
  if (type != "lora" && type != "dora" && type != "full")
    fail(ErrorKind::kUnsupported, "[adapter] {}: fine_tune_type '{}' is not supported", what,
         printable(type));
  const Json* parameters = json_find(json, "lora_parameters");
  AdapterFile file;
  file.kind = AdapterKind::kMlx;
  file.source = source;
  file.base_model = json_string_or(json, "model", "", what);
  double scale = 1;
  if (type != "full") {
    if (!parameters || !parameters->is_object() || !json_find(*parameters, "scale"))
      fail(ErrorKind::kBadInput, "[adapter] {}: 'lora_parameters' with 'scale' is missing", what);
    scale = json_number_or(*parameters, "scale", 1, what);
    if (!std::isfinite(scale)) fail(ErrorKind::kBadInput, "[adapter] {}: the scale is not finite", what);
  }

  AdapterPairs pairs;
  Faults faults;
  for (const auto& [name, view] : weights.tensors()) {
    std::string base = name;
    if (cut_tail(base, ".lora_a"))
      pairs.of(base + ".weight").a = &view;
    else if (cut_tail(base, ".lora_b"))
      pairs.of(base + ".weight").b = &view;
    else if (type == "dora" && cut_tail(base, ".m"))
      pairs.of(base + ".weight").magnitude = &view;
    else if (type == "full" && tensor::format(view.format).decode)
      file.replaced.push_back({name, view});
    else
      faults.add(fmt::format("'{}' is neither .lora_a nor .lora_b", printable(name)));
  }
  for (const auto& entry : pairs.entries()) {
    if (!check_entry(entry, faults)) continue;
    AdapterTensor out{entry.base, {}, false};
    out.update.a = transposed(*entry.a, file.owners);
    out.update.b = transposed(*entry.b, file.owners);
    out.update.scale = scale;
    out.update.magnitude = magnitude_of(entry);
    file.updates.push_back(std::move(out));
  }
  if (faults.empty() && file.updates.empty() && file.replaced.empty())
    faults.add("no tensors; the file is empty");
  faults.raise(ErrorKind::kBadInput, "adapter", source);
  return file;
}

}  // namespace hone::formats
