// The directory layout of the Hugging Face cache, shared with huggingface_hub:
//   models--org--name/refs/<revision>            text: the commit
//   models--org--name/blobs/<etag>               bytes; <etag>.incomplete while downloading
//   models--org--name/snapshots/<commit>/<file>  relative symlink to the blob
// Reference: huggingface_hub's documentation, "Understand caching".
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone::app {

// "org/name", "org/name@revision", "org/name/path/in/repository.gguf".
struct HubReference {
  std::string repository;  // "org/name"
  std::string revision = "main";
  std::string file;  // empty: the repository's model
};
// Empty when the text cannot be such a reference.
std::optional<HubReference> parse_hub_reference(std::string_view text);

// A relative path that stays below where it is put: no empty, "." or ".." parts, no backslash, no
// control characters, not absolute.
bool is_safe_relative_path(std::string_view path);
bool is_commit_hash(std::string_view text);  // 40 lower-case hex digits

class HubCache {
 public:
  HubCache(std::filesystem::path root, const std::string& repository);

  std::filesystem::path directory() const { return directory_; }
  std::filesystem::path blob(const std::string& etag) const { return directory_ / "blobs" / etag; }
  std::filesystem::path snapshot(const std::string& commit) const {
    return directory_ / "snapshots" / commit;
  }
  std::filesystem::path lock(const std::string& etag) const;

  // The commit a revision (branch, tag or commit) names in this cache.
  std::optional<std::string> commit_of(const std::string& revision) const;
  void write_ref(const std::string& revision, const std::string& commit);
  // Points snapshots/<commit>/<file> at the blob.
  void link(const std::string& commit, const std::string& file, const std::string& etag);

 private:
  std::filesystem::path root_, directory_;
};

// What of a snapshot is a model: the directory itself (config.json and complete safetensors), or its only
// .gguf (the first shard of a split one). Empty when there is none that is complete; several different GGUF
// files: Error(kUsage) that lists them.
std::optional<std::filesystem::path> model_in_snapshot(const std::filesystem::path& snapshot,
                                                       const std::string& name);
// The files among `names` that make up one GGUF model each, shards together, in order.
std::vector<std::vector<std::string>> group_gguf_files(const std::vector<std::string>& names);

}  // namespace hone::app
