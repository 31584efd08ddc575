// hone bench: speed, memory and the share of the machine's read bandwidth that decode reaches. (Not
// verb_bench.cpp: the build takes *_bench.cpp for benchmark programs.)
#include <CLI/CLI.hpp>

#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/units.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/cpu.h"
#include "base/error.h"
#include "evaluate/speed.h"

namespace hone::app {
namespace {

class BenchVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to run")->required()->type_name("MODEL");
    const auto tokens = [&](const char* name, int64_t& value, const char* help, int64_t least) {
      command.add_option(name, value, help)
          ->capture_default_str()
          ->check(between(least, int64_t{1} << 24))
          ->type_name("N");
    };
    tokens("-p,--prefill", options_.prefill_tokens, "Tokens of the prompt", 1);
    tokens("-n,--decode", options_.decode_tokens, "Tokens to generate one by one", 1);
    tokens("--depth", options_.depth, "Tokens already in the cache", 0);
    command.add_option("-r,--repetitions", options_.repetitions, "How often; the median counts")
        ->capture_default_str()
        ->check(between(1, 1000))
        ->type_name("N");
    cache_.add(command);
    device_.add(command);
  }

  int run(Console& console) override {
    options_.cache_format = cache_.format();
    const auto path = resolve_model(model_, console.progress());
    const auto device = device_.make();
    const evaluate::SpeedResult result = evaluate::measure_speed(path, *device, options_, console.progress());
    if (console.json()) {
      Json json = evaluate::to_json(result);
      json["model"] = model_;
      json["processor"] = cpu_model_name();
      console.print_json(json);
    } else {
      console.print(to_text(result));
    }
    return 0;
  }

 private:
  std::string to_text(const evaluate::SpeedResult& r) const {
    const auto row = [](std::string name, const evaluate::Sample& s, int digits, const char* unit) {
      return std::vector<std::string>{std::move(name), fmt::format("{:.{}f} {}", s.median, digits, unit),
                                      fmt::format("{:.{}f} to {:.{}f}", s.min, digits, s.max, digits)};
    };
    const std::vector<std::vector<std::string>> rows = {
        row(fmt::format("prefill {}", options_.prefill_tokens), r.prefill_tokens_per_second, 1, "tokens/s"),
        row(fmt::format("decode {}", options_.decode_tokens), r.decode_tokens_per_second, 1, "tokens/s"),
        row("first token", r.first_token_seconds, 3, "s"),
        {"load", fmt::format("{:.3f} s", r.load_seconds), ""},
        {"peak memory", human_bytes(r.peak_memory_bytes), ""},
        {"weights, KV cache", human_bytes(r.weight_bytes), human_bytes(r.cache_bytes)},
        {"read bandwidth", fmt::format("{:.1f} GB/s", r.read_bandwidth / 1e9),
         fmt::format("{:.0f} % reached in decode", 100 * r.decode_bandwidth_share)}};
    return table(rows) + fmt::format("{}, {} threads, {}; median of {}\n", cpu_model_name(), r.threads, r.isa,
                                     options_.repetitions);
  }

  std::string model_;
  evaluate::SpeedOptions options_;
  CacheFlag cache_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_bench() {
  return std::make_unique<BenchVerb>();
}

}  // namespace hone::app
