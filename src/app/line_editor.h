// Lines from a terminal, with arrow keys and history where libedit is there; plain lines otherwise.
#pragma once

#include <memory>
#include <string>

namespace hone::app {

enum class LineResult { kLine, kEnd, kInterrupted, kInterruptedEmpty };  // the last: nothing had been typed

class LineEditor {
 public:
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Waits for a line (without its newline). An interrupt (cancel.h) ends the waiting and is cleared.
  LineResult read(const std::string& prompt, std::string& line);
  void remember(const std::string& entry);  // adds to the history

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone::app
