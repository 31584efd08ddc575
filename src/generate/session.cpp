// The session: a plan with growing states, fed in chunks. Buffers of a run are laid out once.
#include "generate/session.h"

#include <algorithm>

#include "base/cancel.h"
#include "base/error.h"

namespace hone::generate {
namespace {

using text::TokenId;
constexpr int64_t kDefaultContext = 4096;

int64_t choose_context(const models::Model& model, int64_t asked) {
  const int64_t longest = model.config.context_length;
  if (asked < 0) fail(ErrorKind::kUsage, "[generate] the context is {} tokens; give a positive number", asked);
  if (asked == 0) return longest > 0 ? std::min(longest, kDefaultContext) : kDefaultContext;
  if (longest > 0 && asked > longest) {
    fail(ErrorKind::kUsage, "[generate] {}: a context of {} tokens is beyond the {} that its positions were made for; ask for at most that",
         model.checkpoint->source_name(), asked, longest);
  }
  return asked;
}

exec::Input make_input(const char* name, std::vector<int64_t>& values) {
  exec::Input input{name, {}};
  input.view.format = tensor::FormatId::kI64;
  input.view.bytes = std::as_bytes(std::span(values));
  return input;
}

}  // namespace

LanguageModel::LanguageModel(const models::Model& model, exec::Device& device, const SessionOptions& options,
                             std::optional<ir::Graph> graph)
    : options_(options) {
  options_.context = choose_context(model, options.context);
  HONE_CHECK(options.batch > 0 && options.chunk > 0);
  options_.chunk = std::min(options.chunk, options_.context);
  if (!graph) graph = model.graph({.max_context = options_.context, .select_rows = true, .with_cache = true});
  const ir::Shape& logits = graph->value(graph->outputs().at(0)).shape;
  HONE_CHECK(logits.size() == 2 && logits.back().known());
  vocab_ = logits.back().size;

  exec::PlanLimits limits;
  limits.batch = limits.rows = options_.batch;
  limits.sequence = options_.chunk;
  limits.context = options_.context;
  limits.state_format = options_.cache_format;
  plan_ = exec::Plan::compile(std::move(*graph), device, limits);
  states_ = plan_->make_states();

  const auto most = static_cast<size_t>(options_.batch * options_.chunk);
  ids_.resize(most);
  positions_.resize(most);
  logit_rows_.resize(static_cast<size_t>(options_.batch));
  inputs_ = {make_input("input_ids", ids_), make_input("position_ids", positions_), make_input("logit_rows", logit_rows_)};
  tokens_.reserve(static_cast<size_t>(options_.context));
}

void LanguageModel::check_ids(std::span<const TokenId> ids) const {
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_) {
      fail(ErrorKind::kBadInput, "[generate] token id {} is outside the model's vocabulary of {}; the tokenizer does not belong to it", id, vocab_);
    }
  }
}

std::span<const float> LanguageModel::run(std::span<const TokenId> ids, int64_t length) {
  const int64_t rows = options_.batch;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t past = states_.lengths()[static_cast<size_t>(row)];
    for (int64_t i = 0; i < length; ++i) {
      const auto at = static_cast<size_t>(row * length + i);
      ids_[at] = ids[at];
      positions_[at] = past + i;
    }
    logit_rows_[static_cast<size_t>(row)] = (row + 1) * length - 1;
  }
  const auto used = static_cast<size_t>(rows * length);
  inputs_[0].view.shape.assign({rows, length});
  inputs_[0].view.bytes = std::as_bytes(std::span(ids_).first(used));
  inputs_[1].view.shape.assign({rows, length});
  inputs_[1].view.bytes = std::as_bytes(std::span(positions_).first(used));
  inputs_[2].view.shape.assign({rows});
  plan_->run(inputs_, &states_);
  return {plan_->output(0).f32(), static_cast<size_t>(rows * vocab_)};
}

std::span<const float> LanguageModel::feed(std::span<const TokenId> ids) {
  HONE_CHECK(options_.batch == 1 && !ids.empty());
  check_ids(ids);
  const auto count = static_cast<int64_t>(ids.size());
  if (count > context() - position()) {
    fail(ErrorKind::kBadInput, "[generate] {} tokens after {} do not fit the context of {}; shorten the text or ask for a larger context", count,
         position(), context());
  }
  std::span<const float> logits;
  for (int64_t at = 0; at < count; at += options_.chunk) {
    if (at > 0) throw_if_cancelled();
    const int64_t length = std::min(options_.chunk, count - at);
    const auto part = ids.subspan(static_cast<size_t>(at), static_cast<size_t>(length));
    logits = run(part, length);
    tokens_.insert(tokens_.end(), part.begin(), part.end());
  }
  return logits;
}

std::span<const float> LanguageModel::feed_batch(std::span<const TokenId> one_per_row) {
  HONE_CHECK(static_cast<int64_t>(one_per_row.size()) == options_.batch);
  check_ids(one_per_row);
  for (int64_t row = 0; row < options_.batch; ++row) {
    if (position(row) >= context()) {
      fail(ErrorKind::kBadInput, "[generate] the context of {} tokens is full in batch row {}; ask for a larger context", context(), row);
    }
  }
  const auto logits = run(one_per_row, 1);
  tokens_.push_back(one_per_row[0]);
  return logits;
}

int64_t LanguageModel::position(int64_t row) const { return states_.lengths()[static_cast<size_t>(row)]; }

void LanguageModel::truncate(int64_t length, int64_t row) {
  HONE_CHECK(length >= 0 && length <= position(row));
  states_.truncate(row, length);
  if (row == 0) tokens_.resize(static_cast<size_t>(length));
}

void LanguageModel::reset() {
  states_.reset();
  tokens_.clear();
}

}  // namespace hone::generate
