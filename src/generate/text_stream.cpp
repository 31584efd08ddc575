// Stop strings across token borders. The text held back is always shorter than the longest stop string.
#include "generate/text_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hone::generate {

StopStream::StopStream(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) fail(ErrorKind::kUsage, "[generate] a stop string is empty; leave it out or give it text");
  }
}

std::string StopStream::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, {});
  }
  size_t keep = 0;  // longest end of the text that begins a stop string
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
    }
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStream::finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

}  // namespace hone::generate
