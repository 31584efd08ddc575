// How long work reports itself. The library never prints: the application passes a sink.
#pragma once

#include <cstdint>
#include <string_view>

namespace hone {

class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // One stage at a time; total in units of the caller's choice (0: unknown).
  virtual void begin(std::string_view label, uint64_t total) = 0;
  virtual void update(uint64_t done) = 0;
  virtual void end() = 0;
  virtual void note(std::string_view line) = 0;  // a line that stays visible
};

// RAII around one stage; sink may be null.
class Progress {
 public:
  Progress(ProgressSink* sink, std::string_view label, uint64_t total) : sink_(sink) {
    if (sink_) sink_->begin(label, total);
  }
  ~Progress() {
    if (sink_) sink_->end();
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(uint64_t units = 1) {
    done_ += units;
    if (sink_) sink_->update(done_);
  }

 private:
  ProgressSink* sink_;
  uint64_t done_ = 0;
};

}  // namespace hone
