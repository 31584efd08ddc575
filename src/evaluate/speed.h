// Speed and memory of a model on a device, and how near they are to what the machine allows.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "evaluate/speed_cost.h"
#include "evaluate/speed_profile.h"
#include "evaluate/speed_roof.h"
#include "generate/session.h"

namespace hone::evaluate {

struct Sample {
  double median = 0, min = 0, max = 0;
};
Sample sample_of(std::span<const double> values);  // of at least one value

struct SpeedOptions {
  int64_t prefill_tokens = 512, decode_tokens = 128;
  int repetitions = 5;  // after one run that is not counted
  tensor::FormatId cache_format = tensor::FormatId::kF16;
  int64_t depth = 0;      // tokens in the cache before decoding
  int64_t sequences = 1;  // decoded at once, in lockstep; prefill is of one
  bool profile = false;   // one more repetition of each phase, op by op
};

struct SpeedResult {
  Sample prefill_tokens_per_second;
  Sample decode_tokens_per_second;  // of all sequences together
  Sample first_token_seconds;       // a prompt of prefill_tokens, to the first token chosen
  double load_seconds = 0;          // opening the file to a compiled plan
  uint64_t peak_memory_bytes = 0;   // of the process while it ran, the mapped file's pages included
  uint64_t file_bytes = 0;          // 0 where the model came from no file
  uint64_t rest_bytes = 0;          // peak memory beyond file and cache
  uint64_t weight_bytes = 0, cache_bytes = 0;  // read per step; of the whole cache
  OpCost prefill_cost, decode_cost;            // of the prompt; of the mean step of decode
  double read_bandwidth = 0;                   // measured, bytes/s, with the same threads
  double decode_bandwidth_share = 0;  // (weights and cache read per step * steps per second) / read_bandwidth
  double prefill_arithmetic_share =
      0;  // least time of the multiply-adds at their instructions' peak / time taken
  Roofs roofs;
  std::vector<ProductUse> products;  // which precision activations have, by storage format
  std::optional<PhaseProfile> prefill_profile, decode_profile;
  SpeedOptions options;
  int threads = 0;
  std::string isa;
};

// Prompts are pseudo-random ids, decoding is greedy. Error(kUsage) for sizes that are not positive or do not
// fit the model's context; whatever opening a model throws; Error(kCancelled).
SpeedResult measure_speed(const std::filesystem::path& model_path, exec::Device& device,
                          const SpeedOptions& options, ProgressSink* progress = nullptr);
// The same for a model that is open already; load_seconds is then the time of compiling its plan.
SpeedResult measure_speed(const models::Model& model, exec::Device& device, const SpeedOptions& options,
                          ProgressSink* progress = nullptr);
Json to_json(const SpeedResult& result);

}  // namespace hone::evaluate
