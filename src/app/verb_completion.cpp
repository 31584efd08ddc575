// hone completion: scripts for shells, and the manual page, from the program's own tree of options.
#include <CLI/CLI.hpp>

#include "app/completion.h"
#include "app/console.h"
#include "app/verbs.h"
#include "base/error.h"

namespace hone::app {
namespace {

struct Writer {
  const char* name;
  std::string (*write)(const std::vector<VerbSummary>&);
};
constexpr Writer kWriters[] = {
    {"bash", bash_completion}, {"zsh", zsh_completion}, {"fish", fish_completion}, {"man", manual_page}};

class CompletionVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("shell", shell_, "bash, zsh, fish, or man for the manual page")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish", "man"}))
        ->type_name("SHELL");
  }

  int run(Console& console) override {
    const auto tree = make_command_tree();
    for (const Writer& writer : kWriters) {
      if (shell_ != writer.name) continue;
      const std::string script = writer.write(summarize(*tree));
      if (console.json())
        console.print_json({{"shell", shell_}, {"script", script}});
      else
        console.print(script);
    }
    return 0;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Verb> make_completion() {
  return std::make_unique<CompletionVerb>();
}

}  // namespace hone::app
