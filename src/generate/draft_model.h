// A smaller model of the same vocabulary as drafter.
#pragma once

#include "generate/session.h"
#include "generate/speculation.h"

namespace hone::generate {

// Error(kUsage) when the two tokenizers do not agree on every token: a draft would be read as other text.
// names: how messages call the models.
void check_same_vocabulary(const text::Tokenizer& target, const text::Tokenizer& draft,
                           const std::string& target_name, const std::string& draft_name);

class ModelDrafter : public Drafter {
 public:
  // The model must outlive the drafter and nobody else may feed it. vocabulary: logits of the target; a draft
  // model with more (padding rows) never proposes beyond them.
  ModelDrafter(CausalModel& model, int64_t vocabulary);

  int look(std::span<const text::TokenId> history) override;
  void extend(int most, Draft& draft) override;
  std::vector<double> priors() const override { return {0.7}; }
  bool costless() const override { return false; }
  // Drafts are drawn with the target's settings and draws of their own.
  void begin_answer(const SamplingOptions& sampling, std::span<const text::TokenId> history) override;
  void catch_up() override;

 private:
  // Cuts the model back to what it shares with the history, at most all but one token; how many are left to
  // feed.
  int64_t cut_back();

  CausalModel& model_;
  int64_t vocabulary_;
  std::vector<text::TokenId> history_;
  Sampler sampler_;
};

}  // namespace hone::generate
