// Rotary frequencies and tables; the inverse fit lets a GGUF's divisors become a Hugging Face config.
#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace hone::models {

namespace {

std::vector<double> powers_of(double theta, int64_t width) {
  std::vector<double> result(static_cast<size_t>(width / 2));
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
  return result;
}
std::vector<double> base_frequencies(const ModelConfig& config) {
  return powers_of(config.rope_theta, config.rotary_width());
}

// Long waves are stretched by factor, short ones stay, those between are blended linearly in 1/wavelength.
double llama3_frequency(const ModelConfig& config, double frequency) {
  const double context = static_cast<double>(config.rope_original_context);
  const double turns = context * frequency / (2 * std::numbers::pi);  // over the original context
  if (turns > config.rope_high_freq_factor) return frequency;
  if (turns < config.rope_low_freq_factor) return frequency / config.rope_factor;
  const double blend =
      (turns - config.rope_low_freq_factor) / (config.rope_high_freq_factor - config.rope_low_freq_factor);
  return (1 - blend) * frequency / config.rope_factor + blend * frequency;
}

// YaRN (Peng et al. 2023): frequencies that turn often within the original context stay, slow ones are stretched,
// those between are blended linearly in their index.
void yarn(const ModelConfig& config, std::vector<double>& frequencies) {
  const auto width = static_cast<double>(config.rotary_width());
  const auto context = static_cast<double>(config.rope_original_context);
  auto index_of = [&](double turns) {
    return width * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(config.rope_theta));
  };
  const double low = std::max(std::floor(index_of(config.rope_beta_fast)), 0.0);
  double high = std::min(std::ceil(index_of(config.rope_beta_slow)), width - 1);
  if (high == low) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] *= stretched / config.rope_factor + (1 - stretched);
  }
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors) {
  std::vector<double> result = base_frequencies(config);
  if (factors.empty() && config.rope_scaling == RopeScaling::kYarn) yarn(config, result);
  if (!factors.empty() && factors.size() != result.size())
    fail(ErrorKind::kBadInput, "[models] {} rotary factors for {} frequencies", factors.size(), result.size());
  for (size_t i = 0; i < result.size(); ++i) {
    if (!factors.empty()) result[i] /= static_cast<double>(factors[i]);
    else if (config.rope_scaling == RopeScaling::kLlama3) result[i] = llama3_frequency(config, result[i]);
    if (config.rope_scaling == RopeScaling::kLinear) result[i] /= config.rope_factor;
    if (!std::isfinite(result[i])) fail(ErrorKind::kBadInput, "[models] rotary frequency {} is not finite", i);
  }
  return result;
}

std::vector<double> local_rope_frequencies(const ModelConfig& config) {
  return powers_of(config.rope_local_theta, config.rotary_width());
}

const std::vector<float>& longrope_factors(const ModelConfig& config, int64_t context) {
  return context > config.rope_original_context ? config.rope_long_factors : config.rope_short_factors;
}

double default_attention_factor(const ModelConfig& config) {
  const double stretch = config.rope_factor;
  if (stretch <= 1) return 1;
  if (config.rope_scaling == RopeScaling::kYarn) return 0.1 * std::log(stretch) + 1;
  if (config.rope_scaling != RopeScaling::kLongRope || config.rope_original_context <= 1) return 1;
  return std::sqrt(1 + std::log(stretch) / std::log(static_cast<double>(config.rope_original_context)));
}

std::vector<float> rope_factors(const ModelConfig& config) {
  std::vector<float> result;
  for (const double frequency : base_frequencies(config))
    result.push_back(static_cast<float>(frequency / llama3_frequency(config, frequency)));
  return result;
}

namespace {

// The parameters reproduce the divisors to rounding.
bool reproduces(const ModelConfig& config, std::span<const float> factors) {
  const std::vector<float> again = rope_factors(config);
  for (size_t i = 0; i < again.size(); ++i)
    if (!(std::abs(again[i] - factors[i]) <= 1e-4f * factors[i])) return false;
  return true;
}

// In the blended band 1/factor is linear in the frequency: two of its points give both bounds. Only the
// ratios of context, low and high matter, so low stays 1.
bool fit_band(std::span<const float> factors, std::span<const double> base, ModelConfig& config) {
  const double stretch = config.rope_factor;
  std::vector<size_t> blended;
  for (size_t i = 0; i < factors.size(); ++i)
    if (factors[i] > 1.0001f && factors[i] < stretch * 0.9999) blended.push_back(i);
  if (blended.size() < 2) return false;
  auto blend = [&](size_t i) { return (1 / static_cast<double>(factors[i]) - 1 / stretch) / (1 - 1 / stretch); };
  const size_t a = blended.front(), b = blended.back();
  const double slope = (blend(a) - blend(b)) / (base[a] - base[b]);
  const double at_zero = blend(a) - slope * base[a];
  if (!(slope > 0) || !(at_zero < 0)) return false;
  config.rope_high_freq_factor = 1 - 1 / at_zero;
  const double context = slope * (config.rope_high_freq_factor - 1) * 2 * std::numbers::pi;
  if (!(context >= 1 && context < 1e9)) return false;
  config.rope_original_context = std::llround(context);
  return reproduces(config, factors);
}

}  // namespace

bool fit_llama3_scaling(std::span<const float> factors, ModelConfig& config) {
  const std::vector<double> base = base_frequencies(config);
  if (factors.size() != base.size() || factors.empty()) return false;
  ModelConfig fitted = config;
  fitted.rope_scaling = RopeScaling::kLlama3;
  fitted.rope_factor = static_cast<double>(*std::max_element(factors.begin(), factors.end()));
  fitted.rope_low_freq_factor = 1;
  fitted.rope_high_freq_factor = 4;
  if (!(fitted.rope_factor > 1)) return false;
  // As models are published: bounds 1 and 4, the original context a power of two. Else from the band itself.
  bool found = false;
  for (int64_t context = 1; !found && context <= int64_t{1} << 24; context *= 2) {
    fitted.rope_original_context = context;
    found = reproduces(fitted, factors);
  }
  if (!found && !fit_band(factors, base, fitted)) return false;
  config = fitted;
  return true;
}

RopeTables rope_tables(std::span<const double> frequencies, int64_t rows, double factor) {
  std::vector<float> cosines(static_cast<size_t>(rows) * frequencies.size()), sines(cosines.size());
  size_t at = 0;
  for (int64_t position = 0; position < rows; ++position) {
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      cosines[at] = static_cast<float>(factor * std::cos(angle));
      sines[at++] = static_cast<float>(factor * std::sin(angle));
    }
  }
  auto wrap = [](std::vector<float> values) {
    auto owned = std::make_shared<const std::vector<float>>(std::move(values));
    ir::Constant constant;
    constant.bytes = std::as_bytes(std::span<const float>(*owned));
    constant.owner = std::move(owned);
    return constant;
  };
  return {wrap(std::move(cosines)), wrap(std::move(sines))};
}

}  // namespace hone::models
