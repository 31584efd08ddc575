#include "generate/draft_model.h"

#include <algorithm>

#include "base/error.h"

namespace hone::generate {

using text::TokenId;

namespace {

constexpr uint64_t kDraftSeed = 0xD1B54A32D192ED03ull;  // apart from the target's draws

constexpr int64_t kUsualLag = 3;  // the last drafted token, the one after it, and one spare

}  // namespace

void check_same_vocabulary(const text::Tokenizer& target, const text::Tokenizer& draft,
                           const std::string& target_name, const std::string& draft_name) {
  if (target.vocab_size() != draft.vocab_size()) {
    fail(ErrorKind::kUsage,
         "[generate] {} cannot draft for {}: it has {} tokens in its vocabulary, not {}; take a smaller "
         "model of "
         "the same family",
         draft_name, target_name, draft.vocab_size(), target.vocab_size());
  }
  for (size_t i = 0; i < target.vocab_size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (target.piece(id) == draft.piece(id) && target.is_special(id) == draft.is_special(id)) continue;
    fail(ErrorKind::kUsage,
         "[generate] {} cannot draft for {}: token {} is '{}' there and '{}' here; take a smaller model of "
         "the "
         "same family",
         draft_name, target_name, id, draft.piece(id), target.piece(id));
  }
}

ModelDrafter::ModelDrafter(CausalModel& model, int64_t vocabulary)
    : model_(model), vocabulary_(vocabulary), sampler_(SamplingOptions{}) {}

void ModelDrafter::begin_answer(const SamplingOptions& sampling, std::span<const TokenId> history) {
  SamplingOptions own = sampling;
  own.seed ^= kDraftSeed;
  sampler_ = Sampler(own);
  if (look(history) >= 0) model_.feed(std::span(history_).last(static_cast<size_t>(cut_back())));
}

int64_t ModelDrafter::cut_back() {
  const std::vector<TokenId>& held = model_.tokens();
  const auto common =
      std::mismatch(held.begin(), held.end(), history_.begin(), history_.end()).first - held.begin();
  const auto size = static_cast<int64_t>(history_.size());
  model_.truncate(std::min<int64_t>(common, size - 1));
  return size - model_.position();
}

void ModelDrafter::catch_up() {
  const int64_t missing = cut_back();
  if (missing > kUsualLag)
    model_.feed(
        std::span(history_).last(static_cast<size_t>(missing)).first(static_cast<size_t>(missing - 1)));
}

int ModelDrafter::look(std::span<const TokenId> history) {
  // Room for the history and one drafted token more; the last drafted one is never fed.
  if (history.empty() || static_cast<int64_t>(history.size()) > model_.context()) return -1;
  history_.assign(history.begin(), history.end());
  return 0;
}

void ModelDrafter::extend(int most, Draft& draft) {
  draft.clear();
  std::span<const float> logits = model_.feed(std::span(history_).last(static_cast<size_t>(cut_back())));
  while (true) {
    logits = logits.first(std::min(logits.size(), static_cast<size_t>(vocabulary_)));
    const auto chances = sampler_.distribution(logits, history_);
    const TokenId id = sampler_.pick(chances);
    if (!sampler_.greedy()) draft.chances.emplace_back(chances.begin(), chances.end());
    draft.ids.push_back(id);
    if (static_cast<int>(draft.ids.size()) >= most || model_.position() >= model_.context()) return;
    history_.push_back(id);  // penalties look at it
    logits = model_.feed(std::span(&id, 1));
  }
}

}  // namespace hone::generate
