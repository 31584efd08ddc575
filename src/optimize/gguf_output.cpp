#include "optimize/gguf_output.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/version.h"
#include "formats/gguf.h"

namespace hone::optimize {
namespace {

using tensor::FormatId;

std::map<std::string, size_t> slot_index(const TrialModel& trial) {
  std::map<std::string, size_t> index;
  for (size_t s = 0; s < trial.slots().size(); ++s) index[trial.slots()[s].info.gguf_name] = s;
  return index;
}

// The export with the slots' formats in place; tensors stay lazy.
models::GgufExport with_formats(const models::Model& model, TrialModel* trial, const TrialModel& slots, const Formats& formats) {
  models::GgufExport result = models::export_gguf(model);
  const auto index = slot_index(slots);
  const bool permute = model.checkpoint->kind == tensor::CheckpointKind::kHuggingFace;
  for (size_t t = 0; t < result.tensors.size(); ++t) {
    auto& out = result.tensors[t];
    const auto it = index.find(out.name);
    if (it == index.end() || formats[it->second] == slots.slots()[it->second].view.format) continue;
    const size_t s = it->second;
    out.format = formats[s];
    const int64_t heads = permute ? result.infos[t].permuted_heads : 0;
    const auto rows = static_cast<int64_t>(slots.slots()[s].view.rows());
    out.produce = [trial, s, format = formats[s], heads, rows](std::span<std::byte> dst) {
      HONE_CHECK(trial);
      const EncodedBytes bytes = trial->encoded(s, format);
      HONE_CHECK(bytes->size() == dst.size());
      if (heads > 0) models::permute_rows(*bytes, dst, rows, heads, true);
      else std::memcpy(dst.data(), bytes->data(), dst.size());
    };
  }
  return result;
}

void add_proof(tensor::Metadata& metadata, const Recipe& recipe, const std::vector<tensor::OutputTensor>& tensors) {
  metadata.set("general.file_type", dominant_file_type(tensors));
  metadata.set("general.quantization_version", uint32_t{2});
  metadata.set("general.quantized_by", std::string("hone ") + kVersion);
  metadata.set("hone.source.sha256", recipe.model_sha256);
  metadata.set("hone.recipe", to_short_yaml(recipe));
  for (const auto& [key, value] : recipe.proof) metadata.set("hone.proof." + key, value);
}

}  // namespace

uint32_t dominant_file_type(const std::vector<tensor::OutputTensor>& tensors) {
  std::map<FormatId, uint64_t> bytes;
  for (const auto& t : tensors) bytes[t.format] += tensor::format_bytes(t.format, tensor::element_count(t.shape));
  FormatId best = FormatId::kF32;
  uint64_t most = 0;
  for (const auto& [format, n] : bytes)
    if (n > most) best = format, most = n;
  return models::gguf_file_type(best);
}

uint64_t fixed_file_bytes(const models::Model& model, const TrialModel& trial, const Recipe& recipe) {
  Recipe longest = recipe;
  Formats formats;
  uint64_t slots = 0;
  RecipePass pass{"quantize"};
  for (const auto& slot : trial.slots()) {
    const FormatId f = *std::max_element(slot.formats.begin(), slot.formats.end(), [](FormatId a, FormatId b) {
      return std::strlen(tensor::format(a).name) < std::strlen(tensor::format(b).name);
    });
    formats.push_back(f);
    pass.formats[slot.info.gguf_name] = f;
    slots += (slot.bytes_in(f) + 31) / 32 * 32;
  }
  longest.passes = {pass};
  for (const RecipePass& other : recipe.passes)
    if (other.name != "quantize") longest.passes.push_back(other);
  auto out = with_formats(model, nullptr, trial, formats);
  add_proof(out.metadata, longest, out.tensors);
  return formats::gguf_file_bytes(out.metadata, out.tensors) - slots;
}

void write_artifact(const std::filesystem::path& path, const models::Model& model, TrialModel& trial, const Formats& formats,
                    const Recipe& recipe, ProgressSink* progress) {
  auto out = with_formats(model, &trial, trial, formats);
  add_proof(out.metadata, recipe, out.tensors);
  formats::write_gguf(path, out.metadata, out.tensors, {}, progress);
  const tensor::Checkpoint back = formats::read_gguf(path);
  std::vector<std::byte> expected;
  for (const auto& t : out.tensors) {
    const auto* got = back.find(t.name);
    expected.resize(tensor::format_bytes(t.format, tensor::element_count(t.shape)));
    t.produce(expected);
    if (!got || got->view.format != t.format || got->view.bytes.size() != expected.size() ||
        std::memcmp(got->view.bytes.data(), expected.data(), expected.size()) != 0)
      fail(ErrorKind::kResource, "[optimize] {}: tensor '{}' reads back different from what was written; check the disk",
           path.string(), t.name);
  }
}

}  // namespace hone::optimize
