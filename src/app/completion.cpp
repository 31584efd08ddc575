#include "app/completion.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/version.h"

namespace hone::app {
namespace {

std::string replace_all(std::string text, std::string_view what, std::string_view with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

// For single-quoted shell words.
std::string quoted(const std::string& text) {
  return replace_all(text, "'", "'\\''");
}

std::string all_names(const std::vector<OptionSummary>& options) {
  std::string names;
  for (const auto& option : options)
    for (const auto& name : option.names) names += (names.empty() ? "" : " ") + name;
  return names;
}

// Words after which a shell offers files: everything that takes a path.
bool wants_file(const std::string& value) {
  return value.find("FILE") != std::string::npos || value.find("OUT") != std::string::npos ||
         value == "MODEL";
}

// roff: a leading dot or quote is a request, a backslash an escape, a hyphen may be broken.
std::string roff(const std::string& text) {
  std::string out = replace_all(replace_all(text, "\\", "\\e"), "-", "\\-");
  out = replace_all(out, "\n.", "\n\\&.");
  out = replace_all(out, "\n'", "\n\\&'");
  return !out.empty() && (out[0] == '.' || out[0] == '\'') ? "\\&" + out : out;
}

}  // namespace

std::vector<VerbSummary> summarize(const CommandTree& tree) {
  std::vector<VerbSummary> verbs;
  for (const VerbRow& row : verb_list()) {
    const CLI::App* command = tree.root->get_subcommand(row.name);
    VerbSummary verb{row.name, row.summary, row.examples, {}, {}};
    for (const CLI::Option* option : command->get_options()) {
      OptionSummary summary;
      summary.help = option->get_description();
      if (option->get_items_expected_max() > 0) summary.value = option->get_type_name();
      for (const auto& name : option->get_snames()) summary.names.push_back("-" + name);
      for (const auto& name : option->get_lnames()) summary.names.push_back("--" + name);
      if (summary.names.empty()) {
        verb.positionals.push_back(std::move(summary));
      } else {
        verb.options.push_back(std::move(summary));
      }
    }
    verbs.push_back(std::move(verb));
  }
  return verbs;
}

std::string bash_completion(const std::vector<VerbSummary>& verbs) {
  std::string words, cases;
  for (const auto& verb : verbs) {
    words += (words.empty() ? "" : " ") + verb.name;
    std::string files, values;
    for (const auto& option : verb.options) {
      if (option.value.empty()) continue;
      std::string& list = wants_file(option.value) ? files : values;
      for (const auto& name : option.names) list += (list.empty() ? "" : "|") + name;
    }
    cases += "    " + verb.name + ")\n      options='" + all_names(verb.options) +
             "'\n      case \"$previous\" in\n";
    if (!files.empty())
      cases += "        " + files +
               ") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n";
    if (!values.empty()) cases += "        " + values + ") return ;;\n";
    cases += "      esac ;;\n";
  }
  return "# bash completion of hone; made by: hone completion bash\n"
         "_hone() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} options=''\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W '" +
         words +
         " --help --version' -- \"$current\"))\n"
         "    return\n"
         "  fi\n"
         "  case \"${COMP_WORDS[1]}\" in\n" +
         cases +
         "  esac\n"
         "  if [[ $current == -* ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
         "  else\n"
         "    compopt -o filenames\n"
         "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "  fi\n"
         "}\n"
         "complete -F _hone hone\n";
}

std::string zsh_completion(const std::vector<VerbSummary>& verbs) {
  const auto text = [](const std::string& s) {
    return quoted(replace_all(replace_all(replace_all(s, "[", "("), "]", ")"), ":", "\\:"));
  };
  std::string list, cases;
  for (const auto& verb : verbs) {
    list += "    '" + verb.name + ":" + text(verb.help) + "'\n";
    cases += "    " + verb.name + ")\n      _arguments -s";
    for (const auto& option : verb.options) {
      for (const auto& name : option.names) {
        cases += " \\\n        '*" + name + "[" + text(option.help) + "]";
        if (!option.value.empty())
          cases += ":" + text(option.value) + ":" + (wants_file(option.value) ? "_files" : " ");
        cases += "'";
      }
    }
    cases += " \\\n        '*:file:_files' ;;\n";
  }
  return "#compdef hone\n# zsh completion of hone; made by: hone completion zsh\n"
         "_hone() {\n  local -a verbs\n  verbs=(\n" +
         list +
         "  )\n"
         "  if (( CURRENT == 2 )); then\n    _describe 'verb' verbs\n    return\n  fi\n"
         "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n"
         "  case $verb in\n" +
         cases +
         "  esac\n}\n"
         "if [ \"$funcstack[1]\" = _hone ]; then _hone \"$@\"; else compdef _hone hone; fi\n";
}

std::string fish_completion(const std::vector<VerbSummary>& verbs) {
  const auto text = [](const std::string& s) {
    return replace_all(replace_all(s, "\\", "\\\\"), "'", "\\'");
  };
  std::string out =
      "# fish completion of hone; made by: hone completion fish\ncomplete -c hone -n __fish_use_subcommand "
      "-f\n"
      "complete -c hone -n __fish_use_subcommand -l version -d 'Print the version'\n";
  for (const auto& verb : verbs)
    out += "complete -c hone -n __fish_use_subcommand -a " + verb.name + " -d '" + text(verb.help) + "'\n";
  for (const auto& verb : verbs) {
    for (const auto& option : verb.options) {
      out += "complete -c hone -n '__fish_seen_subcommand_from " + verb.name + "'";
      for (const auto& name : option.names)
        out += name.compare(0, 2, "--") == 0 ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.value.empty()) out += wants_file(option.value) ? " -r" : " -x";
      out += " -d '" + text(option.help) + "'\n";
    }
  }
  return out;
}

std::string manual_page(const std::vector<VerbSummary>& verbs) {
  std::string out = fmt::format(
      ".TH HONE 1 \"\" \"hone {}\" \"User Commands\"\n.SH NAME\nhone \\- the best version of a model for a "
      "budget\n"
      ".SH SYNOPSIS\n.B hone\n.I VERB\n[options]\n.SH DESCRIPTION\n"
      "Takes a language model as it is published, makes it smaller within a budget, proves how good the "
      "result is, and runs it.\n"
      "A MODEL is a .gguf file, a Hugging Face directory, or org/name from the Hub's cache or the Hub.\n.SH "
      "VERBS\n",
      kVersion);
  for (const auto& verb : verbs) {
    out += ".SS hone " + verb.name;
    for (const auto& p : verb.positionals) out += " " + roff(p.value.empty() ? "ARG" : p.value);
    out += "\n" + roff(verb.help) + ".\n";
    for (const auto& option : verb.options) {
      out += ".TP\n";
      std::string names;
      for (const auto& name : option.names)
        names += (names.empty() ? "" : ", ") + std::string("\\fB") + roff(name) + "\\fR";
      out += names + (option.value.empty() ? "" : " \\fI" + roff(option.value) + "\\fR") + "\n" +
             roff(option.help) + "\n";
    }
    out += ".PP\nExamples:\n.PP\n.nf\n.RS\n" + roff(verb.examples) + "\n.RE\n.fi\n";
  }
  return out +
         ".SH EXIT STATUS\n0 success, 1 goal not met, 2 usage, 3 bad input, 4 resource, 130 interrupted.\n"
         ".SH ENVIRONMENT\n.TP\nHONE_ISA\nscalar, avx2 or avx512 (on ARM neon, neon-dot or neon-i8mm): the instruction set that the kernels use.\n"
         ".TP\nHF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE\nas huggingface_hub reads "
         "them.\n";
}

}  // namespace hone::app
