// Windows of a text, and the forward pass that gives their logits.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "evaluate/divergence.h"

namespace hone::evaluate {

using text::TokenId;

bool adds_bos(const text::Tokenizer& tokenizer) {
  if (!tokenizer.bos) return false;
  const std::vector<TokenId> with = tokenizer.encode("a", {.add_special = true, .parse_special = false});
  const std::vector<TokenId> without = tokenizer.encode("a", {.add_special = false, .parse_special = false});
  return !with.empty() && with.front() == *tokenizer.bos && (without.empty() || without.front() != *tokenizer.bos);
}

std::vector<std::vector<TokenId>> make_windows(const text::Tokenizer& tokenizer, std::string_view text, const WindowOptions& options) {
  if (options.window < 2) fail(ErrorKind::kUsage, "[evaluate] a window of {} tokens leaves nothing to predict; ask for at least 2", options.window);
  if (options.max_windows < 0) fail(ErrorKind::kUsage, "[evaluate] the number of windows is {}; it must be 0 (all) or more", options.max_windows);
  const bool bos = adds_bos(tokenizer);
  std::vector<TokenId> ids;
  if (bos) ids.push_back(*tokenizer.bos);
  const std::vector<TokenId> encoded = tokenizer.encode(text, {.add_special = false, .parse_special = false});
  ids.insert(ids.end(), encoded.begin(), encoded.end());

  const auto length = static_cast<size_t>(options.window);
  size_t count = ids.size() / length;
  if (count == 0) {
    fail(ErrorKind::kBadInput, "[evaluate] the text has {} tokens, less than one window of {}; give a longer text or a smaller window", ids.size(),
         options.window);
  }
  if (options.max_windows > 0) count = std::min(count, static_cast<size_t>(options.max_windows));
  std::vector<std::vector<TokenId>> windows;
  windows.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * length);
    windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(length));
    if (bos && options.add_bos) windows.back().front() = *tokenizer.bos;
  }
  return windows;
}

Scorer::Scorer(const models::Model& model, exec::Device& device, int64_t window, std::optional<ir::Graph> graph, int64_t max_rows)
    : window_(window) {
  HONE_CHECK(window > 0 && max_rows >= 0);
  const int64_t longest = model.config.context_length;
  if (longest > 0 && window > longest) {
    fail(ErrorKind::kUsage, "[evaluate] {}: a window of {} tokens is beyond the model's context of {}; ask for a smaller window",
         model.checkpoint->source_name(), window, longest);
  }
  max_rows_ = std::min(window, max_rows > 0 ? max_rows : std::max<int64_t>(256, (window + 1) / 2));
  if (!graph) graph = model.graph({.max_context = window, .select_rows = true, .with_cache = false});
  const ir::Shape& logits = graph->value(graph->outputs().at(0)).shape;
  HONE_CHECK(logits.size() == 2 && logits.back().known());
  vocab_ = logits.back().size;
  exec::PlanLimits limits;
  limits.batch = 1;
  limits.sequence = limits.context = window;
  limits.rows = max_rows_;
  limits.every_node = true;  // trials start anywhere
  plan_ = exec::Plan::compile(std::move(*graph), device, limits);
}

std::span<const float> Scorer::logits(std::span<const TokenId> window, int64_t first, int64_t rows, const exec::RunOptions& options) {
  const auto length = static_cast<int64_t>(window.size());
  HONE_CHECK(length > 0 && length <= window_ && first >= 0 && rows > 0 && rows <= max_rows_ && first + rows <= length);
  std::vector<int64_t> ids(window.begin(), window.end()), positions(window.size()), selected(static_cast<size_t>(rows));
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocab_) {
      fail(ErrorKind::kBadInput, "[evaluate] token id {} is outside the model's vocabulary of {}; the tokenizer does not belong to it", id, vocab_);
    }
  }
  std::iota(positions.begin(), positions.end(), int64_t{0});
  std::iota(selected.begin(), selected.end(), first);
  const auto view = [](const std::vector<int64_t>& values, tensor::Shape shape) {
    return tensor::TensorView{tensor::FormatId::kI64, std::move(shape), std::as_bytes(std::span(values))};
  };
  const exec::Input inputs[] = {{"input_ids", view(ids, {1, length})},
                                {"position_ids", view(positions, {1, length})},
                                {"logit_rows", view(selected, {rows})}};
  plan_->run(inputs, nullptr, options);
  return {plan_->output(0).f32(), static_cast<size_t>(rows * vocab_)};
}

}  // namespace hone::evaluate
