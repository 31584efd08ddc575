// What the program says: results on stdout, progress and notes on stderr. With --json the only output is
// one JSON value on stdout; with --quiet there is no progress.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/progress.h"

namespace hone::app {

class Console {
 public:
  Console(bool json, bool quiet);

  bool json() const { return json_; }
  ProgressSink* progress() { return progress_.get(); }  // null with --json or --quiet

  // Error(kResource) when stdout cannot be written (full disk).
  void print(std::string_view text);
  void print_json(const Json& value);
  void note(std::string_view line);  // stderr; silent with --json or --quiet

 private:
  bool json_, quiet_;
  std::unique_ptr<ProgressSink> progress_;
};

// One line of a terminal progress bar, at most `width` columns: label, bar, percentage, time left. Without
// a total: label and time spent.
std::string progress_line(std::string_view label, uint64_t done, uint64_t total, double seconds, int width);

// For a terminal: one line redrawn at most ten times a second. For a pipe: a line when a stage begins, one
// every ten seconds, one when it ends.
std::unique_ptr<ProgressSink> make_terminal_progress(int fd);
std::unique_ptr<ProgressSink> make_plain_progress(int fd);

// Rows of cells as aligned columns, two spaces apart; a column is right-aligned where `right` says so.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right = {});

// Control characters replaced, so that a file's strings cannot drive the terminal.
std::string printable(std::string_view text);

// SIGINT, SIGTERM and SIGHUP: request_cancel(). The third ends the process at once, for work that does not
// look.
void install_signal_handlers();
bool termination_requested();  // SIGTERM or SIGHUP came: end the program, not only an answer
// While an object lives, SIGINT never ends the process (chat: it stops the answer).
class InterruptsStopAnswers {
 public:
  InterruptsStopAnswers();
  ~InterruptsStopAnswers();
};

}  // namespace hone::app
