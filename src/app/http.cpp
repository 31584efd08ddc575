#include "app/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/cancel.h"
#include "base/version.h"

namespace hone::app {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

struct Transfer {
  HttpResponse response;
  const Http::BodySink* body = nullptr;
};

size_t on_header(char* data, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, count);
  if (line.substr(0, 5) == "HTTP/") transfer.response.headers.clear();  // a new answer (100 Continue, proxy)
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos && transfer.response.headers.size() < 200) {
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && std::string_view(" \t\r\n").find(value.back()) != std::string_view::npos)
      value.remove_suffix(1);
    transfer.response.headers[lower(line.substr(0, colon))] = value;
  }
  return count;
}

struct BodyState {
  CURL* curl;
  Transfer* transfer;
  std::exception_ptr failure;  // exceptions must not cross C frames
};

size_t on_body(char* data, size_t, size_t count, void* user) {
  auto& state = *static_cast<BodyState*>(user);
  if (!*state.transfer->body) return count;
  try {
    curl_easy_getinfo(state.curl, CURLINFO_RESPONSE_CODE, &state.transfer->response.status);
    return (*state.transfer->body)(state.transfer->response, {data, count}) ? count : 0;
  } catch (...) {
    state.failure = std::current_exception();
    return 0;
  }
}

int on_progress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return cancel_requested() ? 1 : 0;
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

struct Http::Impl {
  CURL* curl = nullptr;
};

Http::Http() : impl_(std::make_unique<Impl>()) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  impl_->curl = ready ? curl_easy_init() : nullptr;
  if (!impl_->curl) fail(ErrorKind::kResource, "[http] libcurl does not start; check its installation");
}

Http::~Http() {
  curl_easy_cleanup(impl_->curl);
}

HttpResponse Http::send(const HttpRequest& request, const BodySink& body) {
  CURL* curl = impl_->curl;
  curl_easy_reset(curl);  // keeps connections
  Transfer transfer;
  transfer.body = &body;
  BodyState state{curl, &transfer, nullptr};
  char detail[CURL_ERROR_SIZE] = "";

  curl_slist* headers = nullptr;
  for (const std::string& line : request.headers) headers = curl_slist_append(headers, line.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, (std::string("hone/") + kVersion).c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 20L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  const std::string range = std::to_string(request.resume_from) + "-";
  if (request.resume_from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  // The same variables that the curl tool and OpenSSL honour.
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* bundle = std::getenv(name); bundle && *bundle) {
      curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
      break;
    }
  }
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  if (state.failure) std::rethrow_exception(state.failure);
  throw_if_cancelled();
  if (code != CURLE_OK)
    throw TransferError(
        fmt::format("[http] {}: {}", url_origin(request.url), *detail ? detail : curl_easy_strerror(code)));
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer.response.status);
  return transfer.response;
}

std::string url_origin(std::string_view url) {
  const std::string text = lower(url.substr(0, std::min(url.size(), url.find_first_of("?#"))));
  for (const auto& [scheme, port] :
       {std::pair<std::string, const char*>{"https://", ":443"}, {"http://", ":80"}}) {
    if (text.compare(0, scheme.size(), scheme) != 0) continue;
    std::string host = text.substr(scheme.size(), text.find_first_of("/\\", scheme.size()) - scheme.size());
    if (const size_t at = host.rfind('@'); at != std::string::npos) host.erase(0, at + 1);  // user:password
    if (host.empty()) return {};
    const size_t colon = host.rfind(':'), bracket = host.rfind(']');  // [::1]:8080
    const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
    return scheme + host + (has_port ? "" : port);
  }
  return {};
}

std::string resolve_location(std::string_view base, std::string_view location) {
  if (location.find("://") != std::string_view::npos && location.find("://") < location.find_first_of("/?#"))
    return std::string(location);
  const size_t scheme = base.find("://");
  if (scheme == std::string_view::npos) return {};
  if (location.substr(0, 2) == "//") return std::string(base.substr(0, scheme + 1)) + std::string(location);
  const size_t path = base.find('/', scheme + 3);
  if (!location.empty() && location.front() == '/')
    return std::string(base.substr(0, path)) + std::string(location);
  return {};
}

std::string url_encode(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(u)
                           ? u < 0x80
                           : (c == '-' || c == '_' || c == '.' || c == '~' || (keep_slash && c == '/'));
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", u);
  }
  return out;
}

}  // namespace hone::app
