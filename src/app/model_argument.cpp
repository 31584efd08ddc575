#include "app/model_argument.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "app/hub.h"
#include "base/error.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

// The model that a reference names inside a snapshot; empty when it is not (completely) there.
std::optional<fs::path> in_snapshot(const fs::path& snapshot, const HubReference& reference) {
  if (reference.file.empty()) return model_in_snapshot(snapshot, reference.repository);
  std::error_code none;
  const fs::path file = snapshot / reference.file;
  return fs::exists(file, none) ? std::optional(file) : std::nullopt;
}

}  // namespace

fs::path resolve_model(const std::string& argument, ProgressSink* progress) {
  std::error_code none;
  if (fs::exists(argument, none)) return argument;
  const auto reference = parse_hub_reference(argument);
  const bool looks_like_file = argument.size() > 5 && argument.substr(argument.size() - 5) == ".gguf" &&
                               (!reference || reference->file.empty());
  if (!reference || looks_like_file)
    fail(ErrorKind::kBadInput,
         "{}: no such file or directory; give a .gguf file, a Hugging Face directory or org/name", argument);

  const HubConfig config = hub_config_from_environment();
  HubCache cache(config.cache, reference->repository);
  if (const auto commit = cache.commit_of(reference->revision))
    if (const auto path = in_snapshot(cache.snapshot(*commit), *reference)) return *path;
  if (config.offline)
    fail(ErrorKind::kResource, "{}: no such path, not in the cache {}, and HF_HUB_OFFLINE is set", argument,
         config.cache.string());

  PullOptions options;
  options.repository = reference->repository;
  options.revision = reference->revision;
  if (!reference->file.empty()) options.include = {reference->file};
  const PullResult result = pull(config, options, progress);
  if (const auto path = in_snapshot(result.snapshot, *reference)) return *path;
  fail(ErrorKind::kBadInput,
       "[hub] {}: holds no model that hone can read (safetensors with config.json, or GGUF)", argument);
}

void check_output(const fs::path& output, const fs::path& input) {
  std::error_code none;
  if (!output.empty() && fs::exists(output, none) && fs::equivalent(output, input, none))
    fail(ErrorKind::kUsage, "{}: output and input are the same; choose another name", output.string());
  const bool directory_only = output.filename() == ".";
  if (const auto status = fs::status(output, none);
      !directory_only && fs::exists(status) && !fs::is_regular_file(status))
    fail(ErrorKind::kUsage, "{}: exists and is no regular file; choose another name", output.string());
  fs::path directory = output.parent_path();
  if (directory.empty()) directory = ".";
  if (!fs::is_directory(directory, none))
    fail(ErrorKind::kResource, "{}: its directory {} does not exist; create it first", output.string(),
         directory.string());
  if (::access(directory.c_str(), W_OK) != 0)
    fail(ErrorKind::kResource, "{}: cannot write into {}: {}", output.string(), directory.string(),
         std::strerror(errno));
}

}  // namespace hone::app
