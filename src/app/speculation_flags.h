// --speculate, --draft and --draft-tokens: what guesses tokens ahead, and how many.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "generate/session.h"
#include "generate/speculation.h"
#include "models/model.h"

namespace CLI {
class App;
}

namespace hone::app {

class SpeculationFlags {
 public:
  void add(CLI::App& command);
  // Error(kUsage) for options that exclude each other.
  void check() const;
  // Logit rows that the session has to give: SessionOptions::scored.
  int64_t scored() const { return off() ? 1 : most_ + 1; }
  bool asked() const { return mode_ == "ngram" || has_draft_model(); }
  bool has_draft_model() const { return !draft_.empty(); }
  const std::string& draft_model() const { return draft_; }

  // The speculator for a session, null when off; lives as long as these flags. path: of the draft model,
  // resolved. Error(kUsage) when the draft model speaks another vocabulary.
  generate::Speculator* open(const generate::LanguageModel& target, const text::Tokenizer& tokenizer,
                             const std::string& target_name, const std::filesystem::path& path,
                             exec::Device& device, const generate::SessionOptions& session);

 private:
  bool off() const { return mode_ == "off"; }

  std::string mode_ = "auto", draft_;
  int most_ = 7;
  models::Model draft_model_;
  std::unique_ptr<generate::LanguageModel> draft_session_;
  std::unique_ptr<generate::Speculator> speculator_;
};

}  // namespace hone::app
