// hone bench: speed and memory of a model, and how near they are to what the machine allows. (Not
// verb_bench.cpp: the build takes *_bench.cpp for benchmark programs.)
#include <CLI/CLI.hpp>

#include "app/bench_start.h"
#include "app/bench_text.h"
#include "app/console.h"
#include "app/flags.h"
#include "app/model_argument.h"
#include "app/validators.h"
#include "app/verbs.h"
#include "base/cpu.h"
#include "evaluate/speed.h"

namespace hone::app {
namespace {

class BenchVerb : public Verb {
 public:
  void define(CLI::App& command) override {
    command.add_option("model", model_, "The model to run")->required()->type_name("MODEL");
    const auto tokens = [&](const char* name, int64_t& value, const char* help, int64_t least, int64_t most) {
      command.add_option(name, value, help)
          ->capture_default_str()
          ->check(between(least, most))
          ->type_name("N");
    };
    constexpr int64_t kMost = int64_t{1} << 24;
    tokens("-p,--prefill", options_.prefill_tokens, "Tokens of the prompt", 1, kMost);
    tokens("-n,--decode", options_.decode_tokens, "Tokens to generate one by one", 1, kMost);
    tokens("--depth", options_.depth, "Tokens already in the cache before decoding", 0, kMost);
    tokens("--sequences", options_.sequences, "Sequences to decode at once; speed is of all together", 1,
           1024);
    command.add_option("-r,--repetitions", options_.repetitions, "How often; the median counts")
        ->capture_default_str()
        ->check(between(1, 1000))
        ->type_name("N");
    command.add_flag("--profile", options_.profile,
                     "Time, bytes and multiply-adds of each op, beside its roof");
    command.add_flag("--start", start_,
                     "Also time fresh processes of this program from start to first token");
    cache_.add(command);
    device_.add(command);
  }

  int run(Console& console) override {
    options_.cache_format = cache_.format();
    const auto path = resolve_model(model_, console.progress());
    const auto device = device_.make();
    const evaluate::SpeedResult result = evaluate::measure_speed(path, *device, options_, console.progress());
    evaluate::Sample fresh;
    if (start_) fresh = fresh_start_seconds(path, result.threads, options_.repetitions);
    if (console.json()) {
      Json json = evaluate::to_json(result);
      json["model"] = model_;
      json["processor"] = cpu_model_name();
      if (start_)
        json["fresh_process_seconds"] = {{"median", fresh.median}, {"min", fresh.min}, {"max", fresh.max}};
      console.print_json(json);
    } else {
      console.print(bench_text(result, start_ ? &fresh : nullptr));
    }
    return 0;
  }

 private:
  std::string model_;
  bool start_ = false;
  evaluate::SpeedOptions options_;
  CacheFlag cache_;
  DeviceFlags device_;
};

}  // namespace

std::unique_ptr<Verb> make_bench() {
  return std::make_unique<BenchVerb>();
}

}  // namespace hone::app
