// Hugging Face model directories: config.json, tokenizer files, and one or more safetensors files.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "formats/byte_reader.h"
#include "formats/gguf_layout.h"
#include "formats/output.h"
#include "formats/quantized.h"
#include "formats/safetensors.h"
#include "formats/safetensors_output.h"

namespace hone::formats {
namespace {

namespace fs = std::filesystem;
using tensor::Checkpoint;
using tensor::OutputTensor;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kTexts[] = {"config.json",           "generation_config.json",  "tokenizer.json",
                                  "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                                  "tokenizer.model",  // SentencePiece's, binary
                                  // how a quantizing tool laid out the weights, where config.json does not say
                                  "quantize_config.json", "quant_config.json", "hf_quant_config.json"};
constexpr size_t kMaxText = size_t{256} << 20;
constexpr size_t kMaxIndex = size_t{128} << 20;

// std::map objects: lookups stay fast with a hostile number of members. Depth 2 is all that an index has.
nlohmann::json parse_index(const std::string& text, const std::string& name) {
  try {
    return nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
      if (depth > 16)
        fail(ErrorKind::kBadInput, "[safetensors] {}: nested too deeply; the file is damaged", name);
      return true;
    });
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::kBadInput, "[safetensors] {}: not valid JSON; the file is damaged, get it again", name);
  }
}

// A shard is a plain file name in the directory itself.
void check_shard_name(const std::string& shard, const std::string& index) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos;
  if (!plain || !shard.ends_with(".safetensors"))
    fail(ErrorKind::kBadInput,
         "[safetensors] {}: '{}' is not a plain name of a .safetensors file; the index is damaged or hostile",
         index, printable(shard));
}

void read_shards(const fs::path& directory, Checkpoint& out) {
  const auto index = parse_index(read_text_file(directory / kIndex, kMaxIndex), kIndex);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object())
    fail(ErrorKind::kBadInput, "[safetensors] {}: has no object 'weight_map'; get the file again", kIndex);
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string())
      fail(ErrorKind::kBadInput, "[safetensors] {}: tensor '{}' is not mapped to a file name", kIndex,
           printable(name));
    shards.insert(shard.get<std::string>());
  }
  std::map<std::string, std::pair<size_t, size_t>> ranges;  // tensors that each shard added
  for (const std::string& shard : shards) {
    check_shard_name(shard, kIndex);
    if (!fs::exists(directory / shard))
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: is named in {} but missing; download the rest of the model", shard, kIndex);
    const size_t before = out.tensors().size();
    read_safetensors(directory / shard, out);
    ranges[shard] = {before, out.tensors().size()};
  }
  for (const auto& [name, shard] : map->items()) {
    const auto* found = out.find(name);
    const auto [begin, end] = ranges[shard.get<std::string>()];
    const size_t at = found ? static_cast<size_t>(found - out.tensors().data()) : end;
    if (at < begin || at >= end)
      fail(ErrorKind::kBadInput,
           "[safetensors] {}: tensor '{}' is not in '{}'; the files do not belong together", kIndex,
           printable(name), shard.get<std::string>());
  }
}

[[noreturn]] void fail_no_weights(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth")
      fail(ErrorKind::kUnsupported,
           "[safetensors] {}: holds PyTorch pickles ({}) and no {}; convert them to safetensors first",
           directory.string(), entry.path().filename().string(), kWeights);
  }
  fail(ErrorKind::kBadInput, "[safetensors] {}: neither {} nor {} is there; download the weights",
       directory.string(), kWeights, kIndex);
}

}  // namespace

Checkpoint read_hf_directory(const fs::path& directory) {
  std::error_code code;
  if (!fs::is_directory(directory, code))
    fail(ErrorKind::kBadInput, "[safetensors] {}: is not a directory; give the folder that holds config.json",
         directory.string());
  Checkpoint out;
  out.kind = tensor::CheckpointKind::kHuggingFace;
  out.path = directory;
  for (const char* name : kTexts)
    if (fs::exists(directory / name, code)) out.texts[name] = read_text_file(directory / name, kMaxText);
  if (!out.texts.contains("config.json"))
    fail(ErrorKind::kBadInput,
         "[safetensors] {}: config.json is missing; give the folder of a Hugging Face model",
         directory.string());
  // The order of transformers: one whole file wins over an index.
  if (fs::exists(directory / kWeights, code))
    read_safetensors(directory / kWeights, out);
  else if (fs::exists(directory / kIndex, code))
    read_shards(directory, out);
  else
    fail_no_weights(directory);
  assemble_quantized(out);
  return out;
}

namespace {

struct Shard {
  std::string name;
  std::vector<const OutputTensor*> tensors;
};

// Greedy in the given order; one shard is called model.safetensors.
std::vector<Shard> plan_shards(const std::vector<OutputTensor>& tensors, uint64_t max_bytes) {
  std::vector<Shard> shards(1);
  uint64_t used = 0;
  for (const OutputTensor& t : tensors) {
    const uint64_t size = output_bytes(t, "safetensors");
    if (used > 0 && max_bytes > 0 && used + size > max_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().tensors.push_back(&t);
    used += size;
  }
  for (size_t i = 0; i < shards.size(); ++i)
    shards[i].name =
        shards.size() == 1 ? kWeights : shard_name("model", i + 1, shards.size(), ".safetensors");
  return shards;
}

std::string index_text(const std::vector<Shard>& shards, uint64_t total) {
  Json index;
  index["metadata"]["total_size"] = total;
  std::map<std::string, std::string> sorted;
  for (const Shard& shard : shards)
    for (const OutputTensor* t : shard.tensors) sorted[t->name] = shard.name;
  index["weight_map"] = sorted;
  return dump_json(index, 2) + "\n";
}

// Weights of another model beside the new ones would be read instead of, or with, them.
void refuse_stale_weights(const fs::path& directory, const std::vector<Shard>& shards, bool index) {
  std::set<std::string> ours;
  for (const Shard& shard : shards) ours.insert(shard.name);
  if (index) ours.insert(kIndex);
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const auto part = parse_shard_name(name, ".safetensors");
    if (!ours.contains(name) && (name == kWeights || name == kIndex || (part && part->prefix == "model")))
      fail(ErrorKind::kUsage,
           "[safetensors] {}: already holds '{}' of another model; choose an empty directory",
           directory.string(), name);
  }
}

}  // namespace

void write_hf_directory(const fs::path& directory, const std::map<std::string, std::string>& texts,
                        const std::vector<OutputTensor>& tensors, uint64_t max_shard_bytes,
                        ProgressSink* progress) {
  HfWriteOptions options;
  options.max_shard_bytes = max_shard_bytes;
  write_hf_directory(directory, texts, tensors, options, progress);
}

void write_hf_directory(const fs::path& directory, const std::map<std::string, std::string>& texts,
                        const std::vector<OutputTensor>& tensors, const HfWriteOptions& options,
                        ProgressSink* progress) {
  check_safetensors_names(tensors);
  uint64_t total = 0;
  for (const OutputTensor& t : tensors) total += output_bytes(t, "safetensors");
  const std::vector<Shard> shards = plan_shards(tensors, options.max_shard_bytes);
  for (const auto& [name, text] : texts)
    if (fs::path(name).filename() != name || name == "." || name == "..")
      fail(ErrorKind::kUsage, "[safetensors] '{}' is not a plain file name", printable(name));

  FileGroup group;
  group.create_directory(directory);
  refuse_stale_weights(directory, shards, shards.size() > 1 || options.always_index);
  Progress bar(progress, "writing " + directory.filename().string(), total);
  std::vector<std::byte> scratch;
  for (const Shard& shard : shards)
    write_safetensors_to(group.add(directory / shard.name), shard.tensors, {{"format", options.framework}}, scratch, bar,
                         options.keep_order);
  const bool index = shards.size() > 1 || options.always_index;
  if (index) group.add(directory / kIndex).write(index_text(shards, total));
  for (const auto& [name, text] : texts) group.add(directory / name).write(text);
  group.commit();
}

}  // namespace hone::formats
