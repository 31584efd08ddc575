// A verb of the command line: its options and what it does. One file per verb (verb_<name>.cpp) and one
// row in the list of verbs.cpp.
#pragma once

#include <memory>
#include <vector>

namespace CLI {
class App;
}

namespace hone::app {

class Console;

class Verb {
 public:
  virtual ~Verb() = default;
  // Declares options on the verb's own subcommand; --json, --quiet and --help are already there.
  virtual void define(CLI::App& command) = 0;
  // Does the work after parsing; returns the exit code. Failures are hone::Error.
  virtual int run(Console& console) = 0;
};

struct VerbRow {
  const char* name;
  const char* summary;
  const char* examples;  // lines shown under "Examples:" of --help
  std::unique_ptr<Verb> (*make)();
};

const std::vector<VerbRow>& verb_list();

}  // namespace hone::app
