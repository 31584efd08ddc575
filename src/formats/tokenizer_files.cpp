#include "formats/tokenizer_files.h"

#include "base/error.h"
#include "base/file.h"
#include "formats/output.h"

namespace hone::formats {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxText = size_t{256} << 20;
constexpr const char* kMain[] = {"tokenizer.json", "tokenizer.model"};
constexpr const char* kSidecars[] = {"config.json",       "tokenizer_config.json", "special_tokens_map.json",
                                     "added_tokens.json", "chat_template.jinja",   "generation_config.json"};

bool is_file(const fs::path& path) {
  std::error_code none;
  return fs::is_regular_file(path, none);
}

}  // namespace

bool is_tokenizer_only(const fs::path& path) {
  if (is_file(path)) return path.extension() == ".json" || path.extension() == ".model";
  std::error_code none;
  if (!fs::is_directory(path, none) || (!is_file(path / kMain[0]) && !is_file(path / kMain[1]))) return false;
  for (const auto& entry : fs::directory_iterator(path, none)) {
    const fs::path extension = entry.path().extension();
    if (extension == ".safetensors" || extension == ".bin" ||
        entry.path().filename() == "model.safetensors.index.json")
      return false;
  }
  return true;
}

tensor::Checkpoint read_tokenizer_files(const fs::path& path) {
  tensor::Checkpoint out;
  out.kind = tensor::CheckpointKind::kHuggingFace;
  out.path = path;
  const bool file = is_file(path);
  const fs::path folder = file ? path.parent_path() : path;
  // A file that was named is the tokenizer, whatever it is called; the other kind beside it is not read.
  if (file)
    out.texts[path.extension() == ".model" ? kMain[1] : kMain[0]] = read_text_file(path, kMaxText);
  else
    for (const char* name : kMain)
      if (is_file(folder / name)) out.texts[name] = read_text_file(folder / name, kMaxText);
  for (const char* name : kSidecars)
    if (is_file(folder / name)) out.texts[name] = read_text_file(folder / name, kMaxText);
  if (!out.texts.count(kMain[0]) && !out.texts.count(kMain[1]))
    fail(ErrorKind::kBadInput, "[tokenizer] {}: neither tokenizer.json nor tokenizer.model is there",
         path.string());
  return out;
}

void write_tokenizer_files(const fs::path& directory, const std::map<std::string, std::string>& texts) {
  FileGroup group;
  group.create_directory(directory);
  for (const auto& [name, text] : texts) group.add(directory / name).write(text);
  group.commit();
}

}  // namespace hone::formats
