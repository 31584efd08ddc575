// The command line as a whole: parses arguments, runs a verb, turns errors into one line and an exit code.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/verb.h"

namespace hone::app {

// What every verb has.
struct CommonFlags {
  bool json = false, quiet = false;
};

struct CommandTree {
  std::unique_ptr<CLI::App> root;
  std::vector<std::unique_ptr<Verb>> verbs;  // in the order of verb_list()
  CommonFlags flags;
};

// The CLI11 tree of all verbs; completion scripts and the manual page are made from it.
std::unique_ptr<CommandTree> make_command_tree();

// The arguments as one line for reports, quoted where a shell would need it.
std::string command_line(int argc, const char* const* argv);
const std::string& this_command_line();  // of the run in progress

int run_cli(int argc, const char* const* argv);

}  // namespace hone::app
