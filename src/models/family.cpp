// The list of families and the choice among them.
#include "models/family.h"

#include <algorithm>

#include "base/error.h"
#include "models/config_source.h"
#include "models/families.h"

namespace hone::models {

const std::vector<const Family*>& family_list() {
  static const std::vector<const Family*> list = {&llama_family(),  &qwen2_family(),  &qwen3_family(),
                                                  &gemma2_family(), &gemma3_family(), &phi3_family()};
  return list;
}

const Family& find_family(const tensor::Checkpoint& checkpoint) {
  for (const Family* family : family_list())
    if (family->matches(checkpoint)) return *family;

  std::string known;
  for (const Family* family : family_list()) known += (known.empty() ? "" : ", ") + family->id();
  std::string name = gguf_architecture(checkpoint);
  if (checkpoint.kind == tensor::CheckpointKind::kHuggingFace) {
    const std::vector<std::string> names = hf_architectures(checkpoint);
    name = names.empty() ? hf_model_type(checkpoint) : names[0];
  }
  if (name.empty())
    fail(ErrorKind::kBadInput, "[models] {}: the file does not say which architecture it holds", checkpoint.source_name());
  fail(ErrorKind::kUnsupported, "[models] {}: architecture '{}' is not supported; known families: {}",
       checkpoint.source_name(), name, known);
}

}  // namespace hone::models
