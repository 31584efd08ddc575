#include "app/line_editor.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <cwchar>

#include "app/console.h"
#include "base/cancel.h"

#ifdef HONE_HAVE_LIBEDIT
#include <histedit.h>
#endif

namespace hone::app {
namespace {

enum class Byte { kOk, kEnd, kInterrupted };

// One byte of stdin; an interrupt before or while waiting wins.
Byte read_byte(char& byte) {
  for (;;) {
    if (cancel_requested() || termination_requested()) return Byte::kInterrupted;
    struct pollfd wait {
      STDIN_FILENO, POLLIN, 0
    };
    // The signal may come between the check and the wait, so the wait is short.
    const int ready = ::poll(&wait, 1, 200);
    if (ready <= 0) continue;
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got == 1) return Byte::kOk;
    if (got == 0 || (errno != EINTR && errno != EAGAIN)) return Byte::kEnd;
  }
}

}  // namespace

#ifdef HONE_HAVE_LIBEDIT

namespace {

// What the C callbacks touch, by way of libedit's client data.
struct Shared {
  std::string prompt;
  bool interrupted = false, typed = false;
};

char* prompt_of(EditLine* edit) {
  Shared* shared = nullptr;
  el_get(edit, EL_CLIENTDATA, &shared);
  return shared->prompt.data();
}

// Reads one character for libedit: its own reader retries after a signal, so an interrupt would be lost.
int read_character(EditLine* edit, wchar_t* character) {
  Shared* shared = nullptr;
  el_get(edit, EL_CLIENTDATA, &shared);
  std::mbstate_t state{};
  for (;;) {
    char byte = 0;
    switch (read_byte(byte)) {
      case Byte::kEnd:
        return 0;
      case Byte::kInterrupted: {
        const LineInfo* line = el_line(edit);
        shared->interrupted = true;
        shared->typed = line->lastchar != line->buffer;
        return -1;
      }
      case Byte::kOk:
        break;
    }
    const size_t used = std::mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // more bytes of this character follow
    if (used == static_cast<size_t>(-1)) {          // not of this encoding: dropped
      state = {};
      continue;
    }
    return 1;
  }
}

}  // namespace

struct LineEditor::Impl {
  EditLine* edit = nullptr;
  History* history = nullptr;
  Shared shared;
};

LineEditor::LineEditor() : impl_(std::make_unique<Impl>()) {
  const char* locale = std::setlocale(LC_CTYPE, "");
  if (!locale || std::strcmp(locale, "C") == 0 || std::strcmp(locale, "POSIX") == 0)
    std::setlocale(LC_CTYPE, "C.UTF-8");
  impl_->edit = el_init("hone", stdin, stdout, stderr);
  impl_->history = history_init();
  if (!impl_->edit || !impl_->history) return;
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, 1000);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  el_set(impl_->edit, EL_CLIENTDATA, &impl_->shared);
  el_set(impl_->edit, EL_PROMPT, &prompt_of);
  el_set(impl_->edit, EL_EDITOR, "emacs");
  el_set(impl_->edit, EL_SIGNAL, 0);
  el_set(impl_->edit, EL_HIST, history, impl_->history);
  el_set(impl_->edit, EL_GETCFN, &read_character);
  // Keys that terminals send and the emacs map lacks: Home, End, Delete, Ctrl-arrows.
  for (const auto& [key, command] : {std::pair<const char*, const char*>{"\033[H", "ed-move-to-beg"},
                                     {"\033[F", "ed-move-to-end"},
                                     {"\033[3~", "ed-delete-next-char"},
                                     {"\033[1;5C", "em-next-word"},
                                     {"\033[1;5D", "ed-prev-word"}})
    el_set(impl_->edit, EL_BIND, key, command, nullptr);
}

LineEditor::~LineEditor() {
  if (impl_->history) history_end(impl_->history);
  if (impl_->edit) el_end(impl_->edit);
}

void LineEditor::remember(const std::string& entry) {
  HistEvent event;
  if (impl_->history) history(impl_->history, &event, H_ENTER, entry.c_str());
}

LineResult LineEditor::read(const std::string& prompt, std::string& line) {
  if (!impl_->edit) return LineResult::kEnd;
  Shared& shared = impl_->shared;
  shared = {prompt, false, false};
  int count = 0;
  // el_gets shows the prompt before it sets the terminal up: a key pressed in between would be lost.
  el_set(impl_->edit, EL_PREP_TERM, 1);
  const char* text = el_gets(impl_->edit, &count);
  if (shared.interrupted) {
    clear_cancel();
    el_reset(impl_->edit);
    return shared.typed ? LineResult::kInterrupted : LineResult::kInterruptedEmpty;
  }
  if (!text || count <= 0) return LineResult::kEnd;
  line.assign(text, static_cast<size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return LineResult::kLine;
}

#else

struct LineEditor::Impl {};
LineEditor::LineEditor() : impl_(std::make_unique<Impl>()) {}
LineEditor::~LineEditor() = default;
void LineEditor::remember(const std::string&) {}

LineResult LineEditor::read(const std::string& prompt, std::string& line) {
  if (::write(STDOUT_FILENO, prompt.data(), prompt.size()) < 0) return LineResult::kEnd;
  line.clear();
  for (char byte = 0;;) {
    switch (read_byte(byte)) {
      case Byte::kEnd:
        return line.empty() ? LineResult::kEnd : LineResult::kLine;
      case Byte::kInterrupted:
        clear_cancel();
        return line.empty() ? LineResult::kInterruptedEmpty : LineResult::kInterrupted;
      case Byte::kOk:
        break;
    }
    if (byte == '\n') return LineResult::kLine;
    line += byte;
  }
}

#endif

}  // namespace hone::app
