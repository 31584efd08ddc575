// Downloads from the Hugging Face Hub (or any server that speaks its protocol) into the shared cache:
// revisions, resumed transfers, access tokens, offline mode, hashes of large files verified.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "app/hub_cache.h"
#include "base/progress.h"

namespace hone::app {

struct HubConfig {
  std::string endpoint = "https://huggingface.co";
  std::string token;
  std::filesystem::path cache;  // the directory "hub"
  bool offline = false;
};
// From HF_ENDPOINT, HF_TOKEN (or the token file that a login leaves), HF_HUB_CACHE, HF_HOME and
// HF_HUB_OFFLINE, with huggingface_hub's defaults.
HubConfig hub_config_from_environment();

struct PullOptions {
  std::string repository, revision = "main";
  std::vector<std::string>
      include;  // shell patterns over whole paths; empty: what hone can read (see select_files)
};

struct PulledFile {
  std::string name;
  uint64_t bytes = 0;
  bool downloaded = false;  // false: it was in the cache
};

struct PullResult {
  std::filesystem::path snapshot;
  std::string commit;
  std::vector<PulledFile> files;
};

// Which of a repository's files to fetch: those that match `include`; without patterns all but weights in
// containers that hone does not read when it has safetensors or GGUF. Error(kUsage) when it holds several
// GGUF models and no pattern picks one; Error(kBadInput) when nothing is left.
std::vector<std::string> select_files(const std::vector<std::string>& names, const PullOptions& options);

// Error(kBadInput): no such repository, revision or file, or bytes that do not match their hash;
// Error(kResource): no access, no network, offline, disk. What was transferred is kept for the next try.
PullResult pull(const HubConfig& config, const PullOptions& options, ProgressSink* progress);

}  // namespace hone::app
