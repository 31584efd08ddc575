// Where the Hub's cache and access token are, and which files of a repository a pull takes.
#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "app/hub.h"
#include "base/error.h"
#include "base/file.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool matches_any(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& p) { return ::fnmatch(p.c_str(), name.c_str(), 0) == 0; });
}

}  // namespace

HubConfig hub_config_from_environment() {
  HubConfig config;
  if (std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) {
    while (!endpoint.empty() && endpoint.back() == '/') endpoint.pop_back();
    config.endpoint = endpoint;
  }
  std::string offline = environment("HF_HUB_OFFLINE");
  std::transform(offline.begin(), offline.end(), offline.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  config.offline = offline == "1" || offline == "ON" || offline == "YES" || offline == "TRUE";
  fs::path home = environment("HF_HOME");
  if (home.empty()) {
    const std::string xdg = environment("XDG_CACHE_HOME");
    home = (xdg.empty() ? fs::path(environment("HOME")) / ".cache" : fs::path(xdg)) / "huggingface";
  }
  config.cache = environment("HF_HUB_CACHE");
  if (config.cache.empty()) config.cache = environment("HUGGINGFACE_HUB_CACHE");
  if (config.cache.empty()) config.cache = home / "hub";
  config.token = environment("HF_TOKEN");
  if (config.token.empty()) config.token = environment("HUGGING_FACE_HUB_TOKEN");
  if (config.token.empty()) {
    fs::path file = environment("HF_TOKEN_PATH");
    if (file.empty()) file = home / "token";
    std::error_code none;
    if (fs::is_regular_file(file, none)) config.token = read_text_file(file, 4096);
  }
  std::erase_if(config.token,
                [](unsigned char c) { return c <= 0x20 || c >= 0x7F; });  // it goes into a header line
  return config;
}

std::vector<std::string> select_files(const std::vector<std::string>& names, const PullOptions& options) {
  std::vector<std::string> chosen;
  if (!options.include.empty()) {
    std::copy_if(names.begin(), names.end(), std::back_inserter(chosen),
                 [&](const auto& n) { return matches_any(n, options.include); });
    if (chosen.empty())
      fail(ErrorKind::kBadInput, "[hub] {}: no file matches the --include patterns", options.repository);
    return chosen;
  }
  const auto models = group_gguf_files(names);
  const bool has_safetensors = std::any_of(names.begin(), names.end(),
                                           [](const auto& n) { return matches_any(n, {"*.safetensors"}); });
  if (models.size() > 1 && !has_safetensors) {
    std::string list;
    for (const auto& group : models) list += (list.empty() ? "" : ", ") + group.front();
    fail(ErrorKind::kUsage,
         "[hub] {} holds several models: {}; pick with --include PATTERN or name one as {}/FILE",
         options.repository, list, options.repository);
  }
  static const std::vector<std::string> kOtherWeights = {
      "*.bin",    "*.pt",   "*.pth",       "*.ckpt",    "*.h5",          "*.msgpack", "*.ot",
      "*.tflite", "*.onnx", "*.onnx_data", "*.mlmodel", "*.mlpackage/*", "original/*"};
  for (const auto& name : names)
    if (!((has_safetensors || !models.empty()) && matches_any(name, kOtherWeights))) chosen.push_back(name);
  if (chosen.empty()) fail(ErrorKind::kBadInput, "[hub] {}: the repository is empty", options.repository);
  return chosen;
}

}  // namespace hone::app
