#include "app/speculation_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app/validators.h"
#include "base/error.h"
#include "generate/draft_model.h"
#include "generate/ngram_drafter.h"

namespace hone::app {

void SpeculationFlags::add(CLI::App& command) {
  command
      .add_option("--speculate", mode_,
                  "Guess tokens ahead and judge several in one run; the answers stay as they are. auto: from "
                  "the text "
                  "so far, or with --draft, as long as it pays; ngram: from the text, always; off")
      ->check(CLI::IsMember({"auto", "off", "ngram"}))
      ->capture_default_str()
      ->type_name("WHEN")
      ->group("Speculation");
  command.add_option("--draft", draft_, "A smaller model of the same vocabulary that guesses, where it pays")
      ->type_name("MODEL")
      ->group("Speculation");
  command.add_option("--draft-tokens", most_, "Most tokens to guess at a time")
      ->check(between(1, 63))
      ->capture_default_str()
      ->type_name("N")
      ->group("Speculation");
}

void SpeculationFlags::check() const {
  if (has_draft_model() && mode_ != "auto")
    fail(ErrorKind::kUsage, "--draft guesses with a model, which --speculate {} excludes; leave one out",
         mode_);
}

generate::Speculator* SpeculationFlags::open(const generate::LanguageModel& target,
                                             const text::Tokenizer& tokenizer, const std::string& target_name,
                                             const std::filesystem::path& path, exec::Device& device,
                                             const generate::SessionOptions& session) {
  if (off()) return nullptr;
  const generate::SpeculationOptions options{.most = most_, .adaptive = mode_ == "auto"};
  std::unique_ptr<generate::Drafter> drafter;
  if (has_draft_model()) {
    draft_model_ = models::open_model(path);
    const auto other = models::load_tokenizer(*draft_model_.checkpoint);
    generate::check_same_vocabulary(tokenizer, *other, target_name, draft_model_.checkpoint->source_name());
    generate::SessionOptions own = session;
    own.scored = 1;
    own.context = target.context();
    if (draft_model_.config.context_length > 0)
      own.context = std::min(own.context, draft_model_.config.context_length);
    draft_session_ = std::make_unique<generate::LanguageModel>(draft_model_, device, own);
    drafter = std::make_unique<generate::ModelDrafter>(*draft_session_, target.vocab_size());
  } else {
    drafter = std::make_unique<generate::NgramDrafter>();
  }
  speculator_ = std::make_unique<generate::Speculator>(std::move(drafter), options);
  return speculator_.get();
}

}  // namespace hone::app
