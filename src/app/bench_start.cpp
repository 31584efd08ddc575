#include "app/bench_start.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/error.h"

extern char** environ;

namespace hone::app {
namespace {

class Pipe {
 public:
  Pipe() {
    if (pipe(ends_) != 0) fail(ErrorKind::kResource, "[bench] cannot open a pipe: {}", std::strerror(errno));
  }
  ~Pipe() {
    close(ends_[0]);
    close_writer();
  }
  void close_writer() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }

 private:
  int ends_[2] = {-1, -1};
};

double one_start(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  Pipe pipe;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe.writer(), STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, pipe.reader());
  pid_t child = 0;
  const auto start = std::chrono::steady_clock::now();
  const int failed = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed)
    fail(ErrorKind::kResource, "[bench] cannot start this program again: {}", std::strerror(failed));
  pipe.close_writer();
  char byte;
  ssize_t got;
  do got = read(pipe.reader(), &byte, 1);
  while (got < 0 && errno == EINTR);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  char rest[256];
  while (got > 0 && read(pipe.reader(), rest, sizeof(rest)) > 0) {
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (got != 1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fail(ErrorKind::kResource, "[bench] a fresh process of this program gave no token (status {})", status);
  return seconds.count();
}

}  // namespace

evaluate::Sample fresh_start_seconds(const std::filesystem::path& model, int threads, int repetitions) {
  const std::vector<std::string> words = {
      "hone",    "run", model.string(),         "Once upon a time", "--raw",
      "-n",      "1",   "--ignore-end",         "--temperature",    "0",
      "--quiet", "-t",  std::to_string(threads)};
  std::vector<double> seconds;
  for (int i = 0; i <= repetitions; ++i) {
    throw_if_cancelled();
    const double one = one_start(words);
    if (i > 0) seconds.push_back(one);
  }
  return evaluate::sample_of(seconds);
}

}  // namespace hone::app
