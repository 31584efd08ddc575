#include "optimize/calibration.h"

#include <algorithm>

#include "base/error.h"
#include "evaluate/self_text.h"

namespace hone::optimize {
namespace {

constexpr int64_t kMaxTextBytes = int64_t{64} << 20;

// `count` windows spread evenly over all of them, the first and last included.
Windows spread(const Windows& all, size_t count) {
  if (all.size() <= count) return all;
  Windows picked;
  for (size_t i = 0; i < count; ++i) picked.push_back(all[count == 1 ? 0 : i * (all.size() - 1) / (count - 1)]);
  return picked;
}

// Consecutive pieces of kTrialWindow tokens out of longer windows.
Windows cut(const Windows& windows, int64_t tokens) {
  Windows pieces;
  for (const auto& w : windows)
    for (size_t begin = 0; begin + kTrialWindow <= w.size(); begin += kTrialWindow)
      pieces.emplace_back(w.begin() + static_cast<ptrdiff_t>(begin), w.begin() + static_cast<ptrdiff_t>(begin + kTrialWindow));
  return spread(pieces, static_cast<size_t>(std::max<int64_t>(1, tokens / kTrialWindow)));
}

Windows windows_of_file(const std::filesystem::path& path, const text::Tokenizer& tokenizer) {
  const std::string content = read_text_file(path, kMaxTextBytes);
  evaluate::WindowOptions options;
  options.window = kEvaluationWindow;
  return evaluate::make_windows(tokenizer, content, options);
}

}  // namespace

Texts prepare_texts(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer, const Options& options,
                    ProgressSink* progress) {
  const auto statistic_windows = static_cast<size_t>(std::max<int64_t>(1, options.calibration_tokens / kEvaluationWindow));
  const auto evaluation_windows = static_cast<size_t>(std::max<int64_t>(1, options.evaluation_tokens / kEvaluationWindow));
  Texts texts;
  Windows seen, held_out;
  if (options.calibration) {
    const Windows all = windows_of_file(*options.calibration, tokenizer);
    if (all.size() < 4)
      fail(ErrorKind::kBadInput, "[optimize] {}: {} windows of {} tokens; calibration needs at least 4, give a longer text",
           options.calibration->string(), all.size(), kEvaluationWindow);
    const size_t border = all.size() - std::max<size_t>(1, all.size() / 4);
    seen.assign(all.begin(), all.begin() + static_cast<ptrdiff_t>(border));
    held_out.assign(all.begin() + static_cast<ptrdiff_t>(border), all.end());
    texts.calibration_source = options.calibration->filename().string();
    texts.evaluation_source = "held-out last quarter of " + texts.calibration_source;
  } else {
    seen = evaluate::self_text(model, device, tokenizer, options.calibration_tokens, kEvaluationWindow, options.seed, progress);
    if (!options.evaluation)
      held_out = evaluate::self_text(model, device, tokenizer, options.evaluation_tokens, kEvaluationWindow,
                                     options.seed + 0x9E3779B9u, progress);
    texts.calibration_source = "written by the model itself";
    texts.evaluation_source = "written by the model itself, another seed";
  }
  if (options.evaluation) {
    held_out = windows_of_file(*options.evaluation, tokenizer);
    texts.evaluation_source = options.evaluation->filename().string();
  }
  texts.statistics = spread(seen, statistic_windows);
  texts.trial = cut(seen, options.trial_tokens);
  texts.search = cut(seen, options.search_tokens);
  texts.evaluation = spread(held_out, evaluation_windows);
  return texts;
}

}  // namespace hone::optimize
