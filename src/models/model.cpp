// Opening a model: container, family, configuration, and every tensor held against what the family expects.
#include "models/model.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/tokenizer_files.h"
#include "models/decoder_blocks.h"

namespace hone::models {

namespace {

constexpr size_t kMaxListed = 8;

const std::string& own_name(const tensor::Checkpoint& checkpoint, const TensorInfo& info) {
  return checkpoint.kind == tensor::CheckpointKind::kGguf ? info.gguf_name : info.hf_name;
}

// All faults of one kind in one message: "'a', 'b' and 7 more".
std::string listed(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kMaxListed); ++i) text += (i ? ", " : "") + items[i];
  if (items.size() > kMaxListed) text += fmt::format(" and {} more", items.size() - kMaxListed);
  return text;
}

std::vector<TensorInfo> check_tensors(const tensor::Checkpoint& checkpoint, std::vector<TensorInfo> wanted) {
  std::vector<std::string> missing, wrong, opaque;
  std::vector<TensorInfo> present;
  for (TensorInfo& info : wanted) {
    const std::string& name = own_name(checkpoint, info);
    const tensor::NamedTensor* found = checkpoint.find(name);
    if (!found) {
      if (info.required) missing.push_back(fmt::format("'{}'", name));
      continue;
    }
    if (found->view.shape != info.shape)
      wrong.push_back(fmt::format("'{}' is {}, must be {}", name, tensor::shape_text(found->view.shape),
                                  tensor::shape_text(info.shape)));
    if (!tensor::format(found->view.format).decode)
      opaque.push_back(fmt::format("'{}' is {}", name, tensor::format(found->view.format).name));
    present.push_back(std::move(info));
  }
  std::string message;
  auto report = [&](const char* what, const std::vector<std::string>& items) {
    if (!items.empty()) message += fmt::format("{}{}: {}", message.empty() ? "" : "; ", what, listed(items));
  };
  report("missing tensors", missing);
  report("wrong shapes", wrong);
  report("no weights", opaque);
  if (!message.empty())
    fail(ErrorKind::kBadInput, "[models] {}: {}; the file does not fit its configuration", checkpoint.source_name(), message);
  return present;
}

// Tensors that change nothing: buffers of old exporters, and the copy of a tied head.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  auto ends = [&](std::string_view tail) { return name.size() >= tail.size() && name.ends_with(tail); };
  return ends("rotary_emb.inv_freq") || ends("attn_rot_embd.weight") || (config.tied_head && name == "lm_head.weight");
}

// A tensor that no rule of the family reads would silently be left out of the computation.
void refuse_unknown_tensors(const Model& model) {
  std::unordered_set<std::string> known;
  for (const TensorInfo& info : model.tensor_infos) known.insert(model.source_name(info));
  std::vector<std::string> unknown;
  for (const tensor::NamedTensor& tensor : model.checkpoint->tensors())
    if (!known.count(tensor.name) && !is_redundant(tensor.name, model.config))
      unknown.push_back(fmt::format("'{}'", tensor.name));
  if (!unknown.empty())
    fail(ErrorKind::kUnsupported, "[models] {}: tensors that family '{}' does not know: {}",
         model.checkpoint->source_name(), model.family->id(), listed(unknown));
}

}  // namespace

const std::string& Model::source_name(const TensorInfo& info) const { return own_name(*checkpoint, info); }

const tensor::NamedTensor& Model::source(const TensorInfo& info) const {
  const tensor::NamedTensor* found = find_tensor(*checkpoint, info);
  HONE_CHECK(found != nullptr);
  return *found;
}

uint64_t Model::parameters() const {
  uint64_t total = 0;
  for (const TensorInfo& info : tensor_infos)
    if (info.role != Role::kRopeFactors) total += tensor::element_count(info.shape);
  return total;
}

tensor::Checkpoint open_checkpoint(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status))
    fail(ErrorKind::kBadInput, "[models] {}: no such file or directory", path.string());
  if (formats::is_tokenizer_only(path)) return formats::read_tokenizer_files(path);
  if (std::filesystem::is_directory(status)) return formats::read_hf_directory(path);
  if (path.extension() != ".safetensors") return formats::read_gguf(path);
  tensor::Checkpoint checkpoint;  // weights without a configuration: enough to list tensors
  checkpoint.kind = tensor::CheckpointKind::kHuggingFace;
  checkpoint.path = path;
  checkpoint.files = {path};
  formats::read_safetensors(path, checkpoint);
  return checkpoint;
}

Model open_model(const std::filesystem::path& path) {
  Model model;
  model.checkpoint = std::make_shared<tensor::Checkpoint>(open_checkpoint(path));
  if (model.checkpoint->kind == tensor::CheckpointKind::kHuggingFace && model.checkpoint->tensors().empty())
    fail(ErrorKind::kBadInput, "[models] {}: holds a tokenizer but no weights (model.safetensors); download them, or convert with --tokenizer-only",
         model.checkpoint->source_name());
  model.family = &find_family(*model.checkpoint);
  model.config = model.family->read_config(*model.checkpoint);
  model.tensor_infos = check_tensors(*model.checkpoint, model.family->tensors(model.config, *model.checkpoint));
  refuse_unknown_tensors(model);
  return model;
}

}  // namespace hone::models
