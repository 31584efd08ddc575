#include "app/cli.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <new>

#include "app/console.h"
#include "base/error.h"
#include "base/version.h"

namespace hone::app {
namespace {

std::string g_command_line;

std::string indented(std::string_view lines) {
  std::string text = "  ";
  for (const char c : lines) text += c == '\n' ? std::string("\n  ") : std::string(1, c);
  return text;
}

int report(const std::string& message, int code) {
  const std::string line = "hone: error: " + printable(message) + "\n";
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0)
    return code;  // nobody listens; the code still tells
  return code;
}

int usage_error(const CommandTree& tree, const CLI::ParseError& error) {
  const auto used = tree.root->get_subcommands();
  const std::string verb = used.empty() ? "" : " " + used.front()->get_name();
  return report(fmt::format("{}; see hone{} --help", error.what(), verb), exit_code(ErrorKind::kUsage));
}

int run_verb(CommandTree& tree) {
  Console console(tree.flags.json, tree.flags.quiet);
  const auto& rows = verb_list();
  for (size_t i = 0; i < rows.size(); ++i)
    if (tree.root->got_subcommand(rows[i].name)) return tree.verbs[i]->run(console);
  console.print(tree.root->help());
  return exit_code(ErrorKind::kUsage);
}

}  // namespace

std::unique_ptr<CommandTree> make_command_tree() {
  auto tree = std::make_unique<CommandTree>();
  tree->root = std::make_unique<CLI::App>(
      "hone sharpens any model for the edge: the best version of a model for a budget.", "hone");
  CLI::App& root = *tree->root;
  root.set_version_flag("--version", std::string("hone ") + kVersion);
  root.require_subcommand(0, 1);
  root.get_formatter()->column_width(34);
  root.footer(
      "Exit codes: 0 success, 1 goal not met, 2 usage, 3 bad input, 4 resource, 130 interrupted.\n"
      "A MODEL is a .gguf file, a Hugging Face directory, or org/name from the Hub's cache or the Hub.");
  for (const VerbRow& row : verb_list()) {
    CLI::App* command = root.add_subcommand(row.name, row.summary);
    tree->verbs.push_back(row.make());
    tree->verbs.back()->define(*command);
    command->add_flag("--json", tree->flags.json, "Print one JSON value on stdout and nothing else");
    command->add_flag("-q,--quiet", tree->flags.quiet, "No progress and no notes");
    const std::string more = command->get_footer();
    command->footer((more.empty() ? "" : more + "\n\n") + "Examples:\n" + indented(row.examples));
  }
  return tree;
}

std::string command_line(int argc, const char* const* argv) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  std::string line = "hone";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    line += ' ';
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

const std::string& this_command_line() {
  return g_command_line;
}

int run_cli(int argc, const char* const* argv) {
  install_signal_handlers();
  g_command_line = command_line(argc, argv);
  try {
    const auto tree = make_command_tree();
    try {
      tree->root->parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      Console(false, true).print(tree->root->help());  // of the verb, when one was named
      return 0;
    } catch (const CLI::CallForVersion&) {
      Console(false, true).print(std::string("hone ") + kVersion + "\n");
      return 0;
    } catch (const CLI::ParseError& error) {
      return usage_error(*tree, error);
    }
    return run_verb(*tree);
  } catch (const Error& error) {
    return report(error.what(), exit_code(error.kind()));
  } catch (const std::bad_alloc&) {
    return report("out of memory; try a smaller context or model", exit_code(ErrorKind::kResource));
  } catch (const std::filesystem::filesystem_error& error) {
    return report(error.what(), exit_code(ErrorKind::kResource));
  } catch (const std::exception& error) {
    return report(fmt::format("internal error: {}; please report it", error.what()),
                  exit_code(ErrorKind::kResource));
  }
}

}  // namespace hone::app
