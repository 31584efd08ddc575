#include "base/cancel.h"

#include <atomic>

#include "base/error.h"

namespace hone {
namespace {
std::atomic<bool> g_cancel{false};
static_assert(std::atomic<bool>::is_always_lock_free);
}  // namespace

void request_cancel() { g_cancel.store(true, std::memory_order_relaxed); }
void clear_cancel() { g_cancel.store(false, std::memory_order_relaxed); }
bool cancel_requested() { return g_cancel.load(std::memory_order_relaxed); }
void throw_if_cancelled() {
  if (cancel_requested()) throw Error(ErrorKind::kCancelled, "interrupted; nothing was left half-written");
}

}  // namespace hone
