// hone evaluate: perplexity, and with --reference how far the model's distribution is from another's. With a
// threshold it is a gate: exit code 1 when the model misses it.
#include <CLI/CLI.hpp>

#include "app/adapter_flags.h"
#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "evaluate/divergence.h"

namespace hone::app {
namespace {

class EvaluateVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to measure")->required()->type_name("MODEL");
    command
        .add_option("--reference", reference_, "What it is compared with, usually the model it was made from")
        ->type_name("MODEL");
    command.add_option("--text", text_, "The text to measure on")->required()->type_name("FILE");
    command.add_option("--windows", options_.max_windows, "Windows to use; all unless given")
        ->check(between(int64_t{1}, int64_t{1} << 40))
        ->type_name("N");
    command.add_option("--window", options_.window, "Tokens per window; the second half of each is scored")
        ->capture_default_str()
        ->check(between(4, 1 << 20))
        ->type_name("N");
    command.add_option("--max-kld", max_kld_, "Goal: mean KL divergence at most this")
        ->check(not_negative())
        ->type_name("NATS")
        ->group("Goals");
    command
        .add_option("--min-top1", min_top1_, "Goal: share of equal most likely tokens at least this (0 to 1)")
        ->check(between(0.0, 1.0))
        ->type_name("SHARE")
        ->group("Goals");
    command.add_option("--max-perplexity", max_perplexity_, "Goal: perplexity at most this")
        ->check(positive())
        ->type_name("X")
        ->group("Goals");
    device_.add(command);
    adapters_.add(command);
  }

  int run(Console& console) override {
    if (reference_.empty() && (max_kld_ >= 0 || min_top1_ >= 0))
      fail(ErrorKind::kUsage, "--max-kld and --min-top1 need a --reference");
    models::Model model = models::open_model(resolve_model(model_, console.progress()));
    adapters_.open(model);
    std::optional<models::Model> reference;
    if (!reference_.empty()) reference = models::open_model(resolve_model(reference_, console.progress()));
    if (reference && reference->config.vocab_size != model.config.vocab_size)
      fail(ErrorKind::kBadInput,
           "{} has {} tokens and {} has {}: models of different vocabularies cannot be compared", model_,
           model.config.vocab_size, reference_, reference->config.vocab_size);
    const auto tokenizer = models::load_tokenizer(*(reference ? reference->checkpoint : model.checkpoint));
    const auto windows = evaluate::make_windows(*tokenizer, read_text_file(text_), options_);
    const auto device = device_.make(true);
    std::optional<ir::Graph> adapted;
    if (adapters_.any())
      adapted = adapters_.apply(model.graph({.max_context = options_.window, .select_rows = true, .with_cache = false}));
    evaluate::Scorer scorer(model, *device, options_.window, std::move(adapted));
    std::optional<evaluate::Scorer> reference_scorer;
    if (reference) reference_scorer.emplace(*reference, *device, options_.window);
    const auto result = evaluate::evaluate(scorer, reference_scorer ? &*reference_scorer : nullptr, windows,
                                           model.config.vocab_size, device->pool(), console.progress());
    const std::string missed = missed_goals(result);
    if (console.json()) {
      Json json = evaluate::to_json(result);
      json["model"] = model_;
      if (reference) json["reference"] = reference_;
      json["windows"] = windows.size();
      json["goal_met"] = missed.empty();
      console.print_json(json);
    } else {
      console.print(to_text(result, windows.size()));
    }
    if (!missed.empty()) fail(ErrorKind::kGoalNotMet, "{}: {}", model_, missed);
    return 0;
  }

 private:
  std::string missed_goals(const evaluate::DivergenceResult& r) const {
    std::string missed;
    const auto miss = [&](bool is, const std::string& what) {
      if (is) missed += (missed.empty() ? "" : "; ") + what;
    };
    miss(max_kld_ >= 0 && !(r.kl_mean.value <= max_kld_),
         fmt::format("KL divergence {:.5f} is above {}", r.kl_mean.value, max_kld_));
    miss(min_top1_ >= 0 && !(r.same_top1.value >= min_top1_),
         fmt::format("same top-1 {:.4f} is below {}", r.same_top1.value, min_top1_));
    miss(max_perplexity_ > 0 && !(r.perplexity.value <= max_perplexity_),
         fmt::format("perplexity {:.3f} is above {}", r.perplexity.value, max_perplexity_));
    return missed;
  }

  std::string to_text(const evaluate::DivergenceResult& r, size_t windows) const {
    const auto row = [](const char* name, const evaluate::Statistic& s, int digits) {
      return std::vector<std::string>{name, fmt::format("{:.{}f}", s.value, digits),
                                      fmt::format("± {:.{}f}", s.error, digits)};
    };
    std::vector<std::vector<std::string>> rows = {row("perplexity", r.perplexity, 4)};
    if (!reference_.empty()) {
      rows.push_back(row("perplexity of the reference", r.reference_perplexity, 4));
      rows.push_back(row("KL divergence, mean", r.kl_mean, 6));
      rows.push_back(row("KL divergence, median", r.kl_median, 6));
      rows.push_back(row("KL divergence, 99 %", r.kl_99, 5));
      rows.push_back(row("KL divergence, 99.9 %", r.kl_999, 5));
      rows.push_back({"KL divergence, largest", fmt::format("{:.5f}", r.kl_max.value), ""});
      rows.push_back(row("same top-1, %", {100 * r.same_top1.value, 100 * r.same_top1.error}, 3));
    }
    return table(rows, {false, true, false}) + fmt::format("{} tokens scored in {} windows of {}, {}\n",
                                                           r.tokens, windows, options_.window,
                                                           human_duration(r.seconds));
  }

  std::string model_, reference_, text_;
  double max_kld_ = -1, min_top1_ = -1, max_perplexity_ = 0;
  evaluate::WindowOptions options_;
  DeviceFlags device_;
  AdapterFlags adapters_;
};

}  // namespace

std::unique_ptr<Verb> make_evaluate() {
  return std::make_unique<EvaluateVerb>();
}

}  // namespace hone::app
