#include "base/error.h"

namespace hone {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kGoalNotMet: return 1;
    case ErrorKind::kUsage: return 2;
    case ErrorKind::kBadInput:
    case ErrorKind::kUnsupported: return 3;
    case ErrorKind::kResource: return 4;
    case ErrorKind::kCancelled: return 130;
  }
  return 4;
}

void check_failed(const char* condition, const char* file, int line) {
  throw std::logic_error(fmt::format("{}:{}: internal check failed: {}", file, line, condition));
}

}  // namespace hone
