#include "app/console.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "app/units.h"
#include "base/cancel.h"
#include "base/error.h"

namespace hone::app {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Progress is a courtesy: a closed stderr must not end the work, so failures are ignored.
void write_quietly(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    text.remove_prefix(static_cast<size_t>(done));
  }
}

int terminal_width(int fd) {
  struct winsize size {};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 10) return size.ws_col;
  return 80;
}

class TerminalProgress : public ProgressSink {
 public:
  explicit TerminalProgress(int fd) : fd_(fd) {}
  ~TerminalProgress() override { erase(); }

  void begin(std::string_view label, uint64_t total) override {
    label_ = label, total_ = total, done_ = 0, active_ = true;
    start_ = Clock::now();
    draw();
  }
  void update(uint64_t done) override {
    done_ = done;
    if (active_ && since(drawn_) >= 0.1) draw();
  }
  void end() override {
    active_ = false;
    erase();
  }
  void note(std::string_view line) override {
    erase();
    write_quietly(fd_, printable(line) + "\n");
    if (active_) draw();
  }

 private:
  void draw() {
    write_quietly(
        fd_, "\r" + progress_line(label_, done_, total_, since(start_), terminal_width(fd_) - 1) + "\x1b[K");
    drawn_ = Clock::now();
    visible_ = true;
  }
  void erase() {
    if (visible_) write_quietly(fd_, "\r\x1b[K");
    visible_ = false;
  }

  int fd_;
  std::string label_;
  uint64_t total_ = 0, done_ = 0;
  bool active_ = false, visible_ = false;
  Clock::time_point start_, drawn_;
};

class PlainProgress : public ProgressSink {
 public:
  explicit PlainProgress(int fd) : fd_(fd) {}

  void begin(std::string_view label, uint64_t total) override {
    label_ = label, total_ = total;
    start_ = written_ = Clock::now();
    write_quietly(fd_, label_ + "\n");
  }
  void update(uint64_t done) override {
    if (since(written_) < 10) return;
    written_ = Clock::now();
    if (total_ == 0) {
      write_quietly(fd_, fmt::format("{}: {} so far\n", label_, human_duration(since(start_))));
    } else {
      const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
      write_quietly(fd_, fmt::format("{}: {:.0f} %\n", label_, 100 * share));
    }
  }
  void end() override { write_quietly(fd_, fmt::format("{}: {}\n", label_, human_duration(since(start_)))); }
  void note(std::string_view line) override { write_quietly(fd_, printable(line) + "\n"); }

 private:
  int fd_;
  std::string label_;
  uint64_t total_ = 0;
  Clock::time_point start_, written_;
};

std::atomic<int> g_interrupts{0};
std::atomic<bool> g_keep_running{false}, g_terminate{false};

extern "C" void on_interrupt(int signal) {
  request_cancel();
  if (signal != SIGINT)
    g_terminate.store(true, std::memory_order_relaxed);
  else if (g_keep_running.load(std::memory_order_relaxed))
    return;
  if (g_interrupts.fetch_add(1, std::memory_order_relaxed) >= 2) ::_exit(130);
}

}  // namespace

Console::Console(bool json, bool quiet) : json_(json), quiet_(quiet) {
  if (json_ || quiet_) return;
  progress_ =
      ::isatty(STDERR_FILENO) ? make_terminal_progress(STDERR_FILENO) : make_plain_progress(STDERR_FILENO);
}

void Console::print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(STDOUT_FILENO, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(ErrorKind::kResource, "cannot write to standard output: {}", std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(done));
  }
}

void Console::print_json(const Json& value) {
  print(dump_json(value, 2) + "\n");
}

void Console::note(std::string_view line) {
  if (progress_) progress_->note(line);
}

std::unique_ptr<ProgressSink> make_terminal_progress(int fd) {
  return std::make_unique<TerminalProgress>(fd);
}
std::unique_ptr<ProgressSink> make_plain_progress(int fd) {
  return std::make_unique<PlainProgress>(fd);
}

std::string progress_line(std::string_view label, uint64_t done, uint64_t total, double seconds, int width) {
  const auto columns = static_cast<size_t>(std::max(width, 1));
  if (total == 0) return fmt::format("{}  {}", label, human_duration(seconds)).substr(0, columns);
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  // The first second's rate says little: no time left is shown until 2 % or 2 s are done.
  std::string left;
  if (share > 0 && share < 1 && (share >= 0.02 || seconds >= 2))
    left = "  " + human_duration(seconds * (1 - share) / share) + " left";
  const std::string tail = fmt::format(" {:3.0f} %{}", std::floor(100 * share), left);
  const size_t fixed = label.size() + tail.size() + 4;
  const size_t cells = columns > fixed + 5 ? std::min<size_t>(columns - fixed, 40) : 0;
  if (cells == 0) return (std::string(label) + tail).substr(0, columns);
  const auto full = static_cast<size_t>(share * static_cast<double>(cells));
  return fmt::format("{} [{}{}]{}", label, std::string(full, '#'), std::string(cells - full, '.'), tail);
}

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
  const auto columns_of = [](std::string_view s) {  // code points: close enough to columns for what is shown
    return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - columns_of(row[i]), ' ');
      if (i > 0) line += "  ";
      line += i < right.size() && right[i] ? space + row[i] : row[i] + space;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (u < 0x20 || u == 0x7F)
      out += fmt::format("\\x{:02x}", u);
    else
      out += c;
  }
  return out;
}

void install_signal_handlers() {
  ::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error of write(), like a full disk
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigemptyset(&action.sa_mask);  // no SA_RESTART: a blocked read returns so that it can look
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // nohup and background shells ignore some of these on purpose.
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    ::sigaction(signal, &action, nullptr);
  }
}

bool termination_requested() {
  return g_terminate.load(std::memory_order_relaxed);
}

InterruptsStopAnswers::InterruptsStopAnswers() {
  g_keep_running = true;
}
InterruptsStopAnswers::~InterruptsStopAnswers() {
  g_keep_running = false;
}

}  // namespace hone::app
