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

std::span<const float> CausalModel::feed_scored(std::span<const TokenId>) {
  fail(ErrorKind::kUnsupported, "[generate] this model scores one token at a time; it cannot judge drafts");
}

LanguageModel::LanguageModel(const models::Model& model, exec::Device& device, const SessionOptions& options,
                             std::optional<ir::Graph> graph)
    : options_(options) {
  options_.context = choose_context(model, options.context);
  HONE_CHECK(options.batch > 0 && options.chunk > 0 && options.scored > 0);
  options_.chunk = std::min(options.chunk, options_.context);
  options_.scored = std::min(options.scored, options_.chunk);
  if (!graph) graph = model.graph({.max_context = options_.context, .select_rows = true, .with_cache = true, .early_rows = true});
  const ir::Shape& logits = graph->value(graph->outputs().at(0)).shape;
  HONE_CHECK(logits.size() == 2 && logits.back().known());
  vocab_ = logits.back().size;

  exec::PlanLimits limits;
  limits.batch = options_.batch;
  limits.rows = options_.batch * options_.scored;
  limits.sequence = options_.chunk;
  limits.context = options_.context;
  limits.state_format = options_.cache_format;
  plan_ = exec::Plan::compile(std::move(*graph), device, limits);
  states_ = plan_->make_states();

  const auto most = static_cast<size_t>(options_.batch * options_.chunk);
  ids_.resize(most);
  positions_.resize(most);
  logit_rows_.resize(static_cast<size_t>(limits.rows));
  inputs_ = {make_input("input_ids", ids_), make_input("position_ids", positions_), make_input("logit_rows", logit_rows_)};
  tokens_.resize(static_cast<size_t>(options_.batch));
}

void LanguageModel::check_ids(std::span<const TokenId> ids) const {
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_) {
      fail(ErrorKind::kBadInput, "[generate] token id {} is outside the model's vocabulary of {}; the tokenizer does not belong to it", id, vocab_);
    }
  }
}

void LanguageModel::check_room(int64_t row, int64_t count) const {
  if (count <= context() - position(row)) return;
  if (options_.batch == 1) {
    fail(ErrorKind::kBadInput, "[generate] {} tokens after {} do not fit the context of {}; shorten the text or ask for a larger context", count,
         position(row), context());
  }
  fail(ErrorKind::kBadInput, "[generate] batch row {}: {} tokens after {} do not fit the context of {}; shorten the text or ask for a larger context",
       row, count, position(row), context());
}

std::span<const float> LanguageModel::run(std::span<const TokenId> ids, const Rectangle& r) {
  for (int64_t row = 0; row < r.rows; ++row) {
    const int64_t past = position(r.first + row);
    for (int64_t i = 0; i < r.length; ++i) {
      const auto at = static_cast<size_t>(row * r.length + i);
      ids_[at] = ids[at];
      positions_[at] = past + i;
    }
    for (int64_t i = 0; i < r.scored; ++i) {
      logit_rows_[static_cast<size_t>(row * r.scored + i)] = (row + 1) * r.length - r.scored + i;
    }
  }
  const auto used = static_cast<size_t>(r.rows * r.length), scored = static_cast<size_t>(r.rows * r.scored);
  inputs_[0].view.shape.assign({r.rows, r.length});
  inputs_[0].view.bytes = std::as_bytes(std::span(ids_).first(used));
  inputs_[1].view.shape.assign({r.rows, r.length});
  inputs_[1].view.bytes = std::as_bytes(std::span(positions_).first(used));
  inputs_[2].view.shape.assign({r.rows * r.scored});
  inputs_[2].view.bytes = std::as_bytes(std::span(logit_rows_).first(scored));
  exec::RunOptions options;
  options.first_row = r.first;
  plan_->run(inputs_, &states_, options);
  return {plan_->output(0).f32(), scored * static_cast<size_t>(vocab_)};
}

std::span<const float> LanguageModel::feed(std::span<const TokenId> ids) {
  HONE_CHECK(options_.batch == 1 && !ids.empty());
  check_ids(ids);
  const auto count = static_cast<int64_t>(ids.size());
  check_room(0, count);
  std::span<const float> logits;
  for (int64_t at = 0; at < count; at += options_.chunk) {
    if (at > 0) throw_if_cancelled();
    const int64_t length = std::min(options_.chunk, count - at);
    const auto part = ids.subspan(static_cast<size_t>(at), static_cast<size_t>(length));
    logits = run(part, {.length = length});
    append(0, part);
  }
  return logits;
}

std::span<const float> LanguageModel::feed_scored(std::span<const TokenId> ids) {
  const auto count = static_cast<int64_t>(ids.size());
  HONE_CHECK(options_.batch == 1 && count >= 1 && count <= scored_rows());
  check_ids(ids);
  check_room(0, count);
  const auto logits = run(ids, {.length = count, .scored = count});
  append(0, ids);
  return logits;
}

std::span<const float> LanguageModel::feed_batch(std::span<const TokenId> one_per_row) {
  HONE_CHECK(static_cast<int64_t>(one_per_row.size()) == options_.batch);
  return feed_rows(0, options_.batch, one_per_row);
}

std::span<const float> LanguageModel::feed_rows(int64_t first_row, int64_t rows, std::span<const TokenId> ids) {
  HONE_CHECK(first_row >= 0 && rows > 0 && first_row + rows <= options_.batch && !ids.empty());
  const int64_t length = static_cast<int64_t>(ids.size()) / rows;
  HONE_CHECK(static_cast<int64_t>(ids.size()) == rows * length && length <= options_.chunk);
  check_ids(ids);
  for (int64_t row = first_row; row < first_row + rows; ++row) check_room(row, length);
  const auto logits = run(ids, {.first = first_row, .rows = rows, .length = length});
  for (int64_t row = 0; row < rows; ++row) {
    append(first_row + row, ids.subspan(static_cast<size_t>(row * length), static_cast<size_t>(length)));
  }
  return logits;
}

void LanguageModel::check(int64_t row, std::span<const TokenId> ids) const {
  check_ids(ids);
  check_room(row, static_cast<int64_t>(ids.size()));
}

void LanguageModel::move_row(int64_t from, int64_t to) {
  states_.move_row(from, to);
  if (from == to) return;
  tokens_[static_cast<size_t>(to)] = std::move(tokens_[static_cast<size_t>(from)]);
  tokens_[static_cast<size_t>(from)].clear();
}

void LanguageModel::append(int64_t row, std::span<const TokenId> ids) {
  auto& held = tokens_[static_cast<size_t>(row)];
  held.insert(held.end(), ids.begin(), ids.end());
}

int64_t LanguageModel::position(int64_t row) const { return states_.lengths()[static_cast<size_t>(row)]; }

void LanguageModel::truncate(int64_t length, int64_t row) {
  HONE_CHECK(length >= 0 && length <= position(row));
  states_.truncate(row, length);
  tokens_[static_cast<size_t>(row)].resize(static_cast<size_t>(length));
}

void LanguageModel::reset() {
  states_.reset();
  for (auto& held : tokens_) held.clear();
}

}  // namespace hone::generate
