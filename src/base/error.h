// The one exception type of the library. A message names the module, the thing and what to do, for
// example: [gguf] model.gguf: tensor 'x' ends 512 bytes past the end of the file; the file is truncated
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace hone {

enum class ErrorKind {
  kUsage,        // the caller asked for something that makes no sense (exit code 2)
  kBadInput,     // a file, a prompt or a template is malformed (3)
  kUnsupported,  // well-formed, but hone cannot carry it (3)
  kGoalNotMet,   // a stated budget or threshold cannot be reached (1)
  kResource,     // memory, disk, permission, network (4)
  kCancelled,    // interrupted by the user (130)
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Process exit code of an error of this kind; the only place where kinds map to codes.
int exit_code(ErrorKind kind);

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace hone

// For programmer errors only: throws std::logic_error. Bad input goes through hone::fail.
#define HONE_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::hone::check_failed(#condition, __FILE__, __LINE__))
