// hone optimize: the main job. Parsing and the short table; the work is optimize::run.
#include <CLI/CLI.hpp>

#include "app/cli.h"
#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/error.h"
#include "optimize/optimize.h"
#include "optimize/report_json.h"

namespace hone::app {
namespace {

// "0.01234 ± 0.00056"
std::string with_error(const evaluate::Statistic& s, int digits) {
  return s.error > 0 ? fmt::format("{:.{}f} ± {:.{}f}", s.value, digits, s.error, digits)
                     : fmt::format("{:.{}f}", s.value, digits);
}

std::string short_table(const optimize::Result& r) {
  const auto& d = r.divergence;
  std::vector<std::vector<std::string>> rows = {
      {"", "input", "output"},
      {"size", human_bytes(r.input_bytes), human_bytes(r.output_bytes)},
      {"bits per weight", fmt::format("{:.3f}", r.input_bpw), fmt::format("{:.3f}", r.output_bpw)},
      {"KL divergence, mean", "", with_error(d.kl_mean, 5)},
      {"KL divergence, 99.9 %", "", with_error(d.kl_999, 4)},
      {"same top-1", "", fmt::format("{:.2f} ± {:.2f} %", 100 * d.same_top1.value, 100 * d.same_top1.error)},
      {"perplexity", with_error(d.reference_perplexity, 3), with_error(d.perplexity, 3)},
  };
  if (r.speed_after.decode_tokens_per_second.median > 0) {
    const auto &a = r.speed_before, &b = r.speed_after;
    const auto rate = [](const evaluate::Sample& s) { return fmt::format("{:.1f}", s.median); };
    rows.push_back(
        {"prefill tokens/s", rate(a.prefill_tokens_per_second), rate(b.prefill_tokens_per_second)});
    rows.push_back({"decode tokens/s", rate(a.decode_tokens_per_second), rate(b.decode_tokens_per_second)});
    rows.push_back(
        {"peak memory running", human_bytes(a.peak_memory_bytes), human_bytes(b.peak_memory_bytes)});
  }
  rows.push_back({"peak memory of this job", "", human_bytes(r.peak_memory_bytes)});
  rows.push_back({"time", "", human_duration(r.seconds)});
  return table(rows, {false, true, true}) + fmt::format("\n{}\n{}\n{}\n{}\n", r.output.string(),
                                                        r.report_html.string(), r.report_json.string(),
                                                        r.recipe_yaml.string());
}

class OptimizeVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to make smaller")->required()->type_name("MODEL");
    command.add_option("-o,--output", output_, "The file to write; reports go beside it")
        ->required()
        ->type_name("OUT.gguf");
    command.add_option("--max-size", max_size_, "Budget: bytes of the file (80MB, 75MiB)")
        ->type_name("SIZE")
        ->group("Budget");
    command.add_option("--max-bpw", max_bpw_, "Budget: bits per weight")
        ->check(positive())
        ->type_name("BITS")
        ->group("Budget");
    command.add_option("--max-kld", max_kld_, "Budget: mean KL divergence to the input, in nats")
        ->check(positive())
        ->type_name("NATS")
        ->group("Budget");
    command.add_option("--recipe", recipe_, "Replay a recipe instead of searching")->type_name("FILE");
    command
        .add_option("--calibration", calibration_,
                    "Text to calibrate on; without it the model writes its own")
        ->type_name("FILE");
    command.add_option("--text", text_, "Text to measure on; else a held-out part of the calibration text")
        ->type_name("FILE");
    command.add_option("--seed", options_.seed, "Seed of the calibration text that the model writes")
        ->capture_default_str()
        ->type_name("N");
    const auto tokens = [&](const char* name, int64_t& value, const char* help) {
      command.add_option(name, value, help)
          ->capture_default_str()
          ->check(between(int64_t{1}, int64_t{1} << 40))
          ->type_name("N")
          ->group("Effort");
    };
    tokens("--calibration-tokens", options_.calibration_tokens, "Tokens of text to calibrate on");
    tokens("--trial-tokens", options_.trial_tokens, "Tokens on which each tensor is tried alone");
    tokens("--search-tokens", options_.search_tokens, "Tokens on which whole allocations are measured");
    tokens("--evaluation-tokens", options_.evaluation_tokens, "Held-out tokens for the final figures");
    command.add_option("--swap-trials", options_.swap_trials, "Measured exchanges at the end")
        ->capture_default_str()
        ->check(between(0, 100000))
        ->type_name("N")
        ->group("Effort");
    command.add_flag("--feedback", options_.feedback,
                     "Encode against the covariance of the inputs: much less loss with 16,000 calibration tokens or more")
        ->group("Effort");
    command.add_option("--sweeps", options_.sweeps, "Rounds over all codes after the feedback")
        ->capture_default_str()
        ->check(between(0, 1000))
        ->type_name("N")
        ->group("Effort");
    command.add_option("--damping", options_.damping, "Of the covariances, as a share of their mean diagonal")
        ->capture_default_str()
        ->check(between(0.0, 100.0))
        ->type_name("SHARE")
        ->group("Effort");
    command.add_flag("--no-speed", no_speed_, "Do not measure speed and memory")->group("Effort");
    device_.add(command);
  }

  int run(Console& console) override {
    if (max_size_.empty() && max_bpw_ <= 0 && max_kld_ <= 0 && recipe_.empty())
      fail(ErrorKind::kUsage,
           "optimize needs a budget: --max-size, --max-bpw or --max-kld (or --recipe to replay one)");
    if (!max_size_.empty()) options_.budget.max_bytes = parse_size(max_size_);
    if (max_bpw_ > 0) options_.budget.max_bpw = max_bpw_;
    if (max_kld_ > 0) options_.budget.max_kld = max_kld_;
    if (!recipe_.empty()) options_.recipe = recipe_;
    if (!calibration_.empty()) options_.calibration = calibration_;
    if (!text_.empty()) options_.evaluation = text_;
    options_.output = output_;
    options_.measure_speed = !no_speed_;
    options_.command_line = this_command_line();
    const auto path = resolve_model(model_, console.progress());
    check_output(output_, path);
    const models::Model model = models::open_model(path);
    const auto device = device_.make(true);
    const optimize::Result result = optimize::run(model, *device, options_, console.progress());
    if (console.json())
      console.print_json(optimize::report_json(result));
    else
      console.print(short_table(result));
    return 0;
  }

 private:
  std::string model_, output_, max_size_, recipe_, calibration_, text_;
  double max_bpw_ = 0, max_kld_ = 0;
  bool no_speed_ = false;
  optimize::Options options_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_optimize() {
  return std::make_unique<OptimizeVerb>();
}

}  // namespace hone::app
