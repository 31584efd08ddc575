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

// Consecutive pieces out of longer windows, each half a window or `tokens` long, about `tokens` in all.
Windows cut(const Windows& windows, int64_t window, int64_t tokens) {
  const auto length = static_cast<size_t>(std::clamp<int64_t>(tokens, 2, std::max<int64_t>(2, window / 2)));
  Windows pieces;
  for (const auto& w : windows)
    for (size_t begin = 0; begin + length <= w.size(); begin += length)
      pieces.emplace_back(w.begin() + static_cast<ptrdiff_t>(begin), w.begin() + static_cast<ptrdiff_t>(begin + length));
  return spread(pieces, std::max<size_t>(1, static_cast<size_t>(tokens) / length));
}

Windows windows_of_file(const std::filesystem::path& path, const text::Tokenizer& tokenizer, int64_t window) {
  const std::string content = read_text_file(path, kMaxTextBytes);
  evaluate::WindowOptions options;
  options.window = window;
  return evaluate::make_windows(tokenizer, content, options);
}

}  // namespace

int64_t evaluation_window(const models::ModelConfig& config) {
  return config.context_length > 0 ? std::min<int64_t>(512, config.context_length) : 512;
}

Texts prepare_texts(const models::Model& model, exec::Device& device, const text::Tokenizer& tokenizer, const Options& options,
                    ProgressSink* progress) {
  const int64_t window = evaluation_window(model.config);
  const auto statistic_windows = static_cast<size_t>(std::max<int64_t>(1, options.calibration_tokens / window));
  const auto evaluation_windows = static_cast<size_t>(std::max<int64_t>(1, options.evaluation_tokens / window));
  Texts texts;
  Windows seen, held_out;
  if (options.calibration) {
    const Windows all = windows_of_file(*options.calibration, tokenizer, window);
    if (all.size() < 4)
      fail(ErrorKind::kBadInput, "[optimize] {}: {} windows of {} tokens; calibration needs at least 4, give a longer text",
           options.calibration->string(), all.size(), window);
    const size_t border = all.size() - std::max<size_t>(1, all.size() / 4);
    seen.assign(all.begin(), all.begin() + static_cast<ptrdiff_t>(border));
    held_out.assign(all.begin() + static_cast<ptrdiff_t>(border), all.end());
    texts.calibration_source = options.calibration->filename().string();
    texts.evaluation_source = "held-out last quarter of " + texts.calibration_source;
  } else {
    seen = evaluate::self_text(model, device, tokenizer, options.calibration_tokens, window, options.seed, progress);
    if (!options.evaluation)
      held_out = evaluate::self_text(model, device, tokenizer, options.evaluation_tokens, window,
                                     options.seed + 0x9E3779B9u, progress);
    texts.calibration_source = "written by the model itself";
    texts.evaluation_source = "written by the model itself, another seed";
  }
  if (options.evaluation) {
    held_out = windows_of_file(*options.evaluation, tokenizer, window);
    texts.evaluation_source = options.evaluation->filename().string();
  }
  texts.statistics = spread(seen, statistic_windows);
  texts.trial = cut(seen, window, options.trial_tokens);
  texts.search = cut(seen, window, options.search_tokens);
  texts.evaluation = spread(held_out, evaluation_windows);
  return texts;
}

}  // namespace hone::optimize
