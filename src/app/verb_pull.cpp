// hone pull: a repository of the Hub into the cache that huggingface_hub shares.
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/hub.h"
#include "app/units.h"
#include "app/verbs.h"
#include "base/error.h"

namespace hone::app {
namespace {

class PullVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("repository", repository_, "org/name, or org/name/FILE for one file")
        ->required()
        ->type_name("ORG/NAME");
    command.add_option("--revision", revision_, "Branch, tag or commit; main unless given")->type_name("REV");
    command.add_option("--include", include_, "Only files that match this shell pattern; may be repeated")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
  }

  int run(Console& console) override {
    const auto reference = parse_hub_reference(repository_);
    if (!reference) fail(ErrorKind::kUsage, "'{}' is no repository; write org/name", repository_);
    PullOptions options;
    options.repository = reference->repository;
    options.revision = revision_.empty() ? reference->revision : revision_;
    if (!is_safe_relative_path(options.revision)) fail(ErrorKind::kUsage, "'{}' is no revision", revision_);
    options.include = include_;
    if (!reference->file.empty()) options.include.push_back(reference->file);
    const HubConfig config = hub_config_from_environment();
    const PullResult result = pull(config, options, console.progress());

    uint64_t bytes = 0, downloaded = 0;
    Json files = Json::array();
    for (const auto& f : result.files) {
      bytes += f.bytes;
      if (f.downloaded) downloaded += f.bytes;
      files.push_back({{"name", f.name}, {"bytes", f.bytes}, {"downloaded", f.downloaded}});
    }
    if (console.json()) {
      console.print_json({{"repository", options.repository},
                          {"revision", options.revision},
                          {"commit", result.commit},
                          {"path", result.snapshot.string()},
                          {"bytes", bytes},
                          {"files", files}});
      return 0;
    }
    console.note(fmt::format("{} files, {}, of which {} downloaded now", result.files.size(),
                             human_bytes(bytes), human_bytes(downloaded)));
    console.print(result.snapshot.string() + "\n");
    return 0;
  }

 private:
  std::string repository_, revision_;
  std::vector<std::string> include_;
};

}  // namespace

std::unique_ptr<Verb> make_pull() {
  return std::make_unique<PullVerb>();
}

}  // namespace hone::app
