#include "app/text_input.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "app/model_argument.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/file.h"
#include "models/model.h"

namespace hone::app {

std::string read_stdin(size_t max_bytes) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    throw_if_cancelled();
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorKind::kResource, "cannot read standard input: {}", std::strerror(errno));
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > max_bytes)
      fail(ErrorKind::kBadInput, "standard input is larger than the {} bytes allowed here", max_bytes);
  }
}

std::unique_ptr<text::Tokenizer> open_tokenizer(const std::string& model, ProgressSink* progress) {
  return models::load_tokenizer(models::open_checkpoint(resolve_model(model, progress)));
}

}  // namespace hone::app
