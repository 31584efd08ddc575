#include "app/hub.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "app/http.h"
#include "app/units.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

namespace hone::app {
namespace fs = std::filesystem;
namespace {

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail_system(const fs::path& path, const char* action) {
  fail(ErrorKind::kResource, "[hub] {}: cannot {}: {}", path.string(), action, std::strerror(errno));
}

// What a HEAD of a file says.
struct RemoteFile {
  std::string url;   // where the bytes are
  std::string etag;  // names the blob: SHA-256 for large files, git's SHA-1 otherwise
  uint64_t bytes = 0;
};

// W/"abc" -> abc. The name goes into a path, so only what real tags are made of passes.
std::string blob_name(std::string_view etag) {
  if (etag.substr(0, 2) == "W/") etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  const bool plain = !etag.empty() && etag.size() <= 128 && etag.front() != '.' &&
                     std::all_of(etag.begin(), etag.end(), [](unsigned char c) {
                       return c < 0x80 && (std::isalnum(c) || c == '-' || c == '_' || c == '.');
                     });
  return plain ? std::string(etag) : std::string();
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

class Puller {
 public:
  Puller(const HubConfig& config, const PullOptions& options, ProgressSink* progress)
      : config_(config), options_(options), progress_(progress), cache_(config.cache, options.repository) {}

  PullResult run() {
    const auto [commit, names] = list();
    PullResult result{cache_.snapshot(commit), commit, {}};
    for (const std::string& name : select_files(names, options_)) result.files.push_back(fetch(commit, name));
    cache_.write_ref(options_.revision, commit);
    return result;
  }

 private:
  std::vector<std::string> headers_for(const std::string& url) const {
    std::vector<std::string> headers = {"Accept-Encoding: identity"};  // sizes and ranges count stored bytes
    if (!config_.token.empty() && url_origin(url) == url_origin(config_.endpoint))
      headers.push_back("Authorization: Bearer " + config_.token);
    return headers;
  }

  [[noreturn]] void refuse(const HttpResponse& response, const std::string& what) const {
    const std::string reason = response.header("x-error-message");
    if (response.status == 401 || response.status == 403)
      fail(ErrorKind::kResource,
           "[hub] {}: access denied (HTTP {}){}; check the name, or set HF_TOKEN to a token that may read it",
           what, response.status, reason.empty() ? "" : ": " + reason);
    if (response.status == 404)
      fail(ErrorKind::kBadInput, "[hub] {}: not found at {}{}; check the name and --revision", what,
           config_.endpoint, reason.empty() ? "" : ": " + reason);
    fail(ErrorKind::kResource, "[hub] {}: the server answered HTTP {}{}; try again later", what,
         response.status, reason.empty() ? "" : ": " + reason);
  }

  // A request with redirects followed; the token goes to the endpoint's own origin only.
  HttpResponse follow(HttpRequest request, const Http::BodySink& body, std::string* final_url = nullptr) {
    const bool secure = request.url.compare(0, 8, "https://") == 0;
    for (int hop = 0; hop < 10; ++hop) {
      request.headers = headers_for(request.url);
      if (final_url) *final_url = request.url;
      const HttpResponse response = http_.send(request, body);
      if (response.status < 300 || response.status > 399 || response.status == 304) return response;
      const std::string next = resolve_location(request.url, response.header("location"));
      if (url_origin(next).empty() || (secure && next.compare(0, 8, "https://") != 0))
        fail(ErrorKind::kResource, "[hub] {}: a redirect leads to an address that is not allowed",
             url_origin(request.url));
      // The Hub's redirect to the storage of large files carries the file's own headers: stop there.
      if (request.head && !response.header("x-linked-etag").empty() &&
          !response.header("x-linked-size").empty()) {
        if (final_url) *final_url = next;
        return response;
      }
      request.url = next;
    }
    fail(ErrorKind::kResource, "[hub] {}: too many redirects", url_origin(request.url));
  }

  std::pair<std::string, std::vector<std::string>> list() {
    const std::string what = options_.repository + "@" + options_.revision;
    HttpRequest request;
    request.url = config_.endpoint + "/api/models/" + url_encode(options_.repository, true) + "/revision/" +
                  url_encode(options_.revision, false);
    std::string text;
    const HttpResponse response = retried([&] {
      text.clear();
      return follow(request, [&](const HttpResponse&, std::span<const char> piece) {
        text.append(piece.data(), piece.size());
        return text.size() < (size_t{64} << 20);
      });
    });
    if (response.status != 200) refuse(response, what);
    const Json json = parse_json(text, "[hub] list of " + what);
    const std::string commit = json_string_or(json, "sha", "", what);
    const Json* siblings = json_find(json, "siblings");
    if (!is_commit_hash(commit) || !siblings || !siblings->is_array())
      fail(ErrorKind::kBadInput, "[hub] {}: the server's list of files is malformed", what);
    std::vector<std::string> names;
    for (const Json& sibling : *siblings) {
      const std::string name = json_string_or(sibling, "rfilename", "", what);
      if (!is_safe_relative_path(name))
        fail(ErrorKind::kBadInput, "[hub] {}: unsafe file name '{}' refused", what, name);
      names.push_back(name);
    }
    return {commit, names};
  }

  RemoteFile look_up(const std::string& commit, const std::string& name) {
    HttpRequest request;
    request.head = true;
    request.url = config_.endpoint + "/" + url_encode(options_.repository, true) + "/resolve/" + commit +
                  "/" + url_encode(name, true);
    RemoteFile file;
    const HttpResponse response = retried([&] { return follow(request, {}, &file.url); });
    const std::string what = options_.repository + "/" + name;
    if (response.status >= 400) refuse(response, what);
    const std::string linked = response.header("x-linked-etag"), size = response.header("x-linked-size");
    file.etag = blob_name(linked.empty() ? response.header("etag") : linked);
    if (file.etag.empty()) fail(ErrorKind::kBadInput, "[hub] {}: the server gave no usable ETag", what);
    const std::string length = size.empty() ? response.header("content-length") : size;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), file.bytes);
    if (error != std::errc() || end != length.data() + length.size())
      fail(ErrorKind::kBadInput, "[hub] {}: the server gave no size", what);
    const std::string at = response.header("x-repo-commit");
    if (!at.empty() && at != commit)
      fail(ErrorKind::kBadInput, "[hub] {}: the server answered for commit {} instead of {}", what, at,
           commit);
    return file;
  }

  // A blob is written by one process at a time; the lock files are those that huggingface_hub takes.
  Descriptor locked(const std::string& etag) {
    const fs::path path = cache_.lock(etag);
    fs::create_directories(path.parent_path());
    Descriptor lock{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    if (lock.fd < 0) fail_system(path, "open the lock");
    while (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) fail_system(path, "lock");
      throw_if_cancelled();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    const int fd = std::exchange(lock.fd, -1);
    return Descriptor{fd};
  }

  PulledFile fetch(const std::string& commit, const std::string& name) {
    const RemoteFile remote = look_up(commit, name);
    PulledFile pulled{name, remote.bytes, false};
    fs::create_directories(cache_.directory() / "blobs");
    const Descriptor lock = locked(remote.etag);
    const fs::path blob = cache_.blob(remote.etag);
    std::error_code none;
    if (!fs::is_regular_file(blob, none) || fs::file_size(blob) != remote.bytes) {
      download(remote, name, blob);
      pulled.downloaded = true;
    }
    cache_.link(commit, name, remote.etag);
    return pulled;
  }

  void download(const RemoteFile& remote, const std::string& name, const fs::path& blob) {
    fs::path partial = blob;
    partial += ".incomplete";
    std::error_code none;
    uint64_t have = fs::is_regular_file(partial, none) ? fs::file_size(partial) : 0;
    if (have > remote.bytes) fs::remove(partial), have = 0;
    if (const auto space = fs::space(blob.parent_path(), none);
        !none && remote.bytes - have > space.available)
      fail(ErrorKind::kResource, "[hub] {}: needs {} more, the disk of {} has {} free", name,
           human_bytes(remote.bytes - have), config_.cache.string(), human_bytes(space.available));
    Progress bar(progress_, name, remote.bytes);
    bar.advance(have);
    retried([&] { return transfer(remote, name, partial, bar); });
    if (is_sha256(remote.etag) && sha256_hex_file(partial) != remote.etag) {
      fs::remove(partial);
      fail(ErrorKind::kBadInput,
           "[hub] {}: the SHA-256 of the downloaded bytes is not {}; removed, try again", name, remote.etag);
    }
    fs::rename(partial, blob);
  }

  // Appends what is missing to the partial file.
  HttpResponse transfer(const RemoteFile& remote, const std::string& name, const fs::path& partial,
                        Progress& bar) {
    Descriptor file{::open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
    if (file.fd < 0) fail_system(partial, "write");
    const off_t end = ::lseek(file.fd, 0, SEEK_END);
    if (end < 0) fail_system(partial, "write");
    uint64_t position = static_cast<uint64_t>(end);
    HttpRequest request;
    request.url = remote.url;
    request.resume_from = position;
    if (position == remote.bytes) return {};
    bool first = true;
    const auto sink = [&](const HttpResponse& response, std::span<const char> piece) {
      if (response.status != 200 && response.status != 206) return true;  // an error's text
      if (std::exchange(first, false) && response.status == 200 &&
          position > 0) {  // the server ignores ranges
        if (::ftruncate(file.fd, 0) != 0 || ::lseek(file.fd, 0, SEEK_SET) != 0) fail_system(partial, "write");
        position = 0;
      }
      if (piece.size() > remote.bytes - position)
        fail(ErrorKind::kBadInput, "[hub] {}: the server sends more than the {} bytes it announced", name,
             remote.bytes);
      for (size_t done = 0; done < piece.size();) {
        const ssize_t n = ::write(file.fd, piece.data() + done, piece.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_system(partial, "write");
        done += static_cast<size_t>(n);
      }
      position += piece.size();
      bar.advance(piece.size());
      return true;
    };
    const HttpResponse response = follow(request, sink);
    if (response.status == 416) {  // the partial file is none of this content's
      if (::ftruncate(file.fd, 0) != 0) fail_system(partial, "write");
      throw TransferError(fmt::format("[hub] {}: the server refused to resume", name));
    }
    if (response.status != 200 && response.status != 206) refuse(response, name);
    if (position != remote.bytes)
      throw TransferError(fmt::format("[hub] {}: got {} of {} bytes; run it again to go on from there", name,
                                      position, remote.bytes));
    return response;
  }

  // Three tries a second apart for what a network may do; a full disk or a refusal does not pass by waiting.
  template <typename F>
  HttpResponse retried(F&& attempt) {
    for (int left = 2;; --left) {
      try {
        const HttpResponse response = attempt();
        if (left == 0 || (response.status != 429 && response.status < 500)) return response;
      } catch (const TransferError&) {
        if (left == 0) throw;
      }
      for (int tenth = 0; tenth < 10; ++tenth) {
        throw_if_cancelled();
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
    }
  }

  const HubConfig& config_;
  const PullOptions& options_;
  ProgressSink* progress_;
  HubCache cache_;
  Http http_;
};

}  // namespace

PullResult pull(const HubConfig& config, const PullOptions& options, ProgressSink* progress) {
  if (config.offline)
    fail(ErrorKind::kResource,
         "[hub] {}: HF_HUB_OFFLINE is set, so nothing is downloaded; unset it or pull the model before",
         options.repository);
  if (url_origin(config.endpoint).empty())
    fail(ErrorKind::kUsage, "[hub] HF_ENDPOINT '{}' is no http or https address", config.endpoint);
  return Puller(config, options, progress).run();
}

}  // namespace hone::app
