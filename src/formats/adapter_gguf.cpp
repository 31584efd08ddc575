// GGUF adapters ("<base tensor>.lora_a" and ".lora_b") and control vectors ("direction.N"), as llama.cpp
// reads them.
#include <charconv>
#include <cmath>

#include "formats/adapter.h"
#include "formats/adapter_pairs.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"

namespace hone::formats {
namespace {

constexpr std::string_view kDirection = "direction.";
constexpr int64_t kMaxLayer = 1 << 16;

void check_kind(const tensor::Metadata& meta, const std::string& source) {
  const std::string type = meta.get_string_or("general.type", "");
  if (type != "adapter")
    fail(ErrorKind::kBadInput,
         "[adapter] {}: general.type is '{}', must be 'adapter'; this is no adapter file", source,
         printable(type));
  const std::string method = meta.get_string_or("adapter.type", "");
  if (method != "lora")
    fail(ErrorKind::kUnsupported, "[adapter] {}: adapter.type '{}' is not supported, only 'lora'", source,
         printable(method));
  if (const auto* tokens = meta.find("adapter.alora.invocation_tokens")) {
    const auto* list = std::get_if<std::shared_ptr<const tensor::MetaArray>>(tokens);
    if (!list || (*list)->size() > 0)
      fail(ErrorKind::kUnsupported,
           "[adapter] {}: works only behind its invocation tokens (aLoRA), which is not supported", source);
  }
}

}  // namespace

AdapterFile parse_gguf_adapter(const tensor::Checkpoint& weights, const std::string& source) {
  check_kind(weights.metadata, source);
  AdapterFile file;
  file.kind = AdapterKind::kGguf;
  file.source = source;
  file.architecture = weights.metadata.get_string_or("general.architecture", "");
  const double alpha = weights.metadata.get_number_or("adapter.lora.alpha", 0);
  if (!std::isfinite(alpha))
    fail(ErrorKind::kBadInput, "[adapter] {}: adapter.lora.alpha is not finite", source);

  AdapterPairs pairs;
  Faults faults;
  for (const auto& [name, view] : weights.tensors()) {
    std::string base = name;
    if (cut_tail(base, ".lora_a"))
      pairs.of(base).a = &view;
    else if (cut_tail(base, ".lora_b"))
      pairs.of(base).b = &view;
    else if (base.ends_with("_norm.weight") && tensor::format(view.format).decode)
      file.replaced.push_back({name, view});
    else
      faults.add(fmt::format("'{}' is neither .lora_a nor .lora_b", printable(name)));
  }
  for (const auto& entry : pairs.entries()) {
    if (!check_entry(entry, faults)) continue;
    AdapterTensor out{entry.base, {*entry.a, *entry.b, 1, {}}, false};
    if (entry.base == "token_embd.weight") {  // a is [tokens, rank] and b [hidden, rank]
      if (entry.a->shape[1] != entry.b->shape[1]) {
        faults.add(fmt::format("'{}': A {} and B {} have different ranks", entry.base,
                               tensor::shape_text(entry.a->shape), tensor::shape_text(entry.b->shape)));
        continue;
      }
      out.update.b = *entry.a;
      out.update.a = transposed(*entry.b, file.owners);
    }
    if (alpha != 0) out.update.scale = alpha / static_cast<double>(out.update.b.shape[1]);
    file.updates.push_back(std::move(out));
  }
  if (faults.empty() && file.updates.empty() && file.replaced.empty())
    faults.add("no tensors; the file is empty");
  faults.raise(ErrorKind::kBadInput, "adapter", source);
  return file;
}

ControlVector parse_control_vector(const tensor::Checkpoint& file, const std::string& source) {
  const std::string architecture = file.metadata.get_string_or("general.architecture", "");
  if (architecture != "controlvector")
    fail(ErrorKind::kBadInput,
         "[adapter] {}: general.architecture is '{}', must be 'controlvector'; this is no control vector",
         source, printable(architecture));
  ControlVector result;
  result.model_hint = file.metadata.get_string_or("controlvector.model_hint", "");
  Faults faults;
  size_t width = 0;
  for (const auto& [name, view] : file.tensors()) {
    int64_t layer = 0;
    const char *begin = name.data() + kDirection.size(), *end = name.data() + name.size();
    if (!name.starts_with(kDirection) || std::from_chars(begin, end, layer).ptr != end || begin == end ||
        layer < 1 || layer > kMaxLayer) {
      faults.add(fmt::format("'{}' is no direction of a layer from 1 on", printable(name)));
      continue;
    }
    if (view.format != tensor::FormatId::kF32 || view.shape.size() != 1 || view.shape[0] <= 0) {
      faults.add(fmt::format("'{}' is {} {}, must be a vector of F32", printable(name),
                             tensor::format(view.format).name, tensor::shape_text(view.shape)));
      continue;
    }
    std::vector<float> values = tensor::decode(view);
    if (width == 0) width = values.size();
    bool finite = true;
    for (const float v : values) finite = finite && std::isfinite(v);
    if (!finite) faults.add(fmt::format("'{}' holds a value that is not finite", printable(name)));
    if (values.size() != width)
      faults.add(fmt::format("'{}' has {} elements, others {}", printable(name), values.size(), width));
    if (!result.directions.emplace(layer, std::move(values)).second)
      faults.add(fmt::format("layer {} has two directions", layer));
  }
  if (faults.empty() && result.directions.empty())
    faults.add("no tensor named direction.N; the file is empty");
  faults.raise(ErrorKind::kBadInput, "adapter", source);
  return result;
}

ControlVector read_control_vector(const std::filesystem::path& path) {
  return parse_control_vector(read_gguf(path), path.filename().string());
}

}  // namespace hone::formats
