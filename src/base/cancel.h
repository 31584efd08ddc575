// Cooperative cancellation. The application installs a signal handler that calls request_cancel();
// long loops call throw_if_cancelled() about every tenth of a second of work.
#pragma once

namespace hone {

void request_cancel();  // async-signal-safe
void clear_cancel();
bool cancel_requested();
void throw_if_cancelled();  // Error(kCancelled)

}  // namespace hone
