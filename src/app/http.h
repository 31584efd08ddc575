// HTTP GET and HEAD through libcurl, one request at a time, without following redirects: who follows
// decides where a token may go.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace hone::app {

struct HttpRequest {
  std::string url;
  bool head = false;
  std::vector<std::string> headers;  // "Name: value"
  uint64_t resume_from = 0;          // asks for the bytes from here on
};

struct HttpResponse {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case, the last of each kept
  std::string header(const std::string& name) const;
};

// No complete answer came; another try may succeed.
class TransferError : public Error {
 public:
  explicit TransferError(const std::string& message) : Error(ErrorKind::kResource, message) {}
};

class Http {
 public:
  // Called with each piece of a body whose headers have come; false stops the transfer.
  using BodySink = std::function<bool(const HttpResponse& response, std::span<const char> piece)>;

  Http();
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // TransferError when no complete answer comes (no connection, cut transfer, sink said stop),
  // Error(kCancelled) on an interrupt. Any status is an answer.
  HttpResponse send(const HttpRequest& request, const BodySink& body = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Scheme, host and port of an absolute http(s) URL, in lower case ("https://host:443"); empty otherwise.
std::string url_origin(std::string_view url);
// A Location header against the URL it came from: absolute, scheme-relative or absolute-path.
std::string resolve_location(std::string_view base, std::string_view location);
// Percent-encodes everything but unreserved characters; keep_slash leaves '/' alone.
std::string url_encode(std::string_view text, bool keep_slash);

}  // namespace hone::app
