// Completion scripts and the manual page, made from the tree of verbs and options.
#pragma once

#include <string>
#include <vector>

#include "app/cli.h"

namespace hone::app {

struct OptionSummary {
  std::vector<std::string> names;  // "-o", "--output"
  std::string help, value;         // value: "FILE", empty for a flag
};
struct VerbSummary {
  std::string name, help, examples;
  std::vector<OptionSummary> options, positionals;
};
std::vector<VerbSummary> summarize(const CommandTree& tree);

std::string bash_completion(const std::vector<VerbSummary>& verbs);
std::string zsh_completion(const std::vector<VerbSummary>& verbs);
std::string fish_completion(const std::vector<VerbSummary>& verbs);
std::string manual_page(const std::vector<VerbSummary>& verbs);  // roff, section 1

}  // namespace hone::app
