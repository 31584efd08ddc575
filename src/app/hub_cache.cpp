#include "app/hub_cache.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <regex>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

// One part of a repository's name, as the Hub allows them.
bool is_repository_part(std::string_view part) {
  if (part.empty() || part.size() > 96 || part.front() == '.' || part.front() == '-' || part.back() == '.')
    return false;
  if (part.find("..") != std::string_view::npos || part.find("--") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '.' || c == '_' || c == '-');
  });
}

std::optional<std::string> read_small(const fs::path& path) {
  std::error_code none;
  if (!fs::is_regular_file(path, none)) return {};
  std::string text = read_text_file(path, 4096);
  text.erase(text.find_last_not_of(" \r\n\t") + 1);
  return text;
}

bool has_complete_safetensors(const fs::path& snapshot) {
  if (!fs::exists(snapshot / "config.json")) return false;
  if (fs::exists(snapshot / "model.safetensors")) return true;
  const fs::path index = snapshot / "model.safetensors.index.json";
  if (!fs::exists(index)) return false;
  const Json json = parse_json(read_text_file(index, size_t{256} << 20), index.string());
  const Json* map = json_find(json, "weight_map");
  if (!map || !map->is_object()) return false;
  return std::all_of(map->begin(), map->end(), [&](const Json& file) {
    return file.is_string() && is_safe_relative_path(file.get<std::string>()) &&
           fs::exists(snapshot / file.get<std::string>());
  });
}

}  // namespace

std::optional<HubReference> parse_hub_reference(std::string_view text) {
  HubReference reference;
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {};
  size_t end = text.find_first_of("/@", slash + 1);
  if (end == std::string_view::npos) end = text.size();
  reference.repository = text.substr(0, end);
  if (!is_repository_part(text.substr(0, slash)) ||
      !is_repository_part(text.substr(slash + 1, end - slash - 1)))
    return {};
  std::string_view rest = text.substr(end);
  if (!rest.empty() && rest.front() == '/') {
    const size_t at = rest.find('@');
    reference.file = rest.substr(1, at == std::string_view::npos ? at : at - 1);
    if (!is_safe_relative_path(reference.file)) return {};
    rest = at == std::string_view::npos ? std::string_view() : rest.substr(at);
  }
  if (!rest.empty()) {
    reference.revision = rest.substr(1);
    if (!is_safe_relative_path(reference.revision)) return {};
  }
  return reference;
}

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/') return false;
  if (std::any_of(path.begin(), path.end(),
                  [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '\\'; }))
    return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool is_commit_hash(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

HubCache::HubCache(fs::path root, const std::string& repository) : root_(std::move(root)) {
  std::string name = "models--" + repository;
  if (const size_t slash = name.find('/'); slash != std::string::npos) name.replace(slash, 1, "--");
  directory_ = root_ / name;
}

fs::path HubCache::lock(const std::string& etag) const {
  return root_ / ".locks" / directory_.filename() / (etag + ".lock");
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_commit_hash(revision))
    return fs::exists(snapshot(revision)) ? std::optional(revision) : std::nullopt;
  const auto commit = read_small(directory_ / "refs" / revision);
  return commit && is_commit_hash(*commit) ? commit : std::nullopt;
}

void HubCache::write_ref(const std::string& revision, const std::string& commit) {
  if (revision == commit) return;
  const fs::path path = directory_ / "refs" / revision;
  fs::create_directories(path.parent_path());
  write_text_file(path, commit);
}

void HubCache::link(const std::string& commit, const std::string& file, const std::string& etag) {
  const fs::path path = snapshot(commit) / file;
  fs::create_directories(path.parent_path());
  fs::path target = "../..";
  for (const char c : file)
    if (c == '/') target /= "..";
  target = target / "blobs" / etag;
  std::error_code none;
  if (fs::is_symlink(path, none) && fs::read_symlink(path, none) == target) return;
  fs::path temporary = path;
  temporary += "." + std::to_string(::getpid()) + ".tmp";
  fs::remove(temporary, none);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, path);
}

std::vector<std::vector<std::string>> group_gguf_files(const std::vector<std::string>& names) {
  static const std::regex shard(R"((.*)-\d{5}-of-(\d{5})\.gguf)");
  std::map<std::string, std::vector<std::string>> groups;
  for (const std::string& name : names) {
    if (name.size() < 5 || name.substr(name.size() - 5) != ".gguf") continue;
    std::smatch parts;
    groups[std::regex_match(name, parts, shard) ? parts[1].str() + "/" + parts[2].str() : name].push_back(
        name);
  }
  std::vector<std::vector<std::string>> list;
  for (auto& [key, files] : groups) {
    std::sort(files.begin(), files.end());
    list.push_back(std::move(files));
  }
  return list;
}

std::optional<fs::path> model_in_snapshot(const fs::path& snapshot, const std::string& name) {
  std::error_code none;
  if (!fs::is_directory(snapshot, none)) return {};
  if (has_complete_safetensors(snapshot)) return snapshot;
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot))
    if (fs::exists(entry.path(), none)) files.push_back(entry.path().lexically_relative(snapshot).string());
  const auto models = group_gguf_files(files);
  if (models.empty()) return {};
  if (models.size() > 1) {
    std::string list;
    for (const auto& group : models) list += (list.empty() ? "" : ", ") + group.front();
    fail(ErrorKind::kUsage, "[hub] {} holds several models: {}; name one as {}/FILE", name, list, name);
  }
  return snapshot / models.front().front();
}

}  // namespace hone::app
