// Speed and memory of a model on a device.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/json.h"
#include "base/progress.h"
#include "generate/session.h"

namespace hone::evaluate {

struct Sample {
  double median = 0, min = 0, max = 0;
};
Sample sample_of(std::span<const double> values);   // of at least one value

struct SpeedOptions {
  int64_t prefill_tokens = 512, decode_tokens = 128;
  int repetitions = 5;                     // after one run that is not counted
  tensor::FormatId cache_format = tensor::FormatId::kF16;
  int64_t depth = 0;                       // tokens in the cache before decoding
};

struct SpeedResult {
  Sample prefill_tokens_per_second, decode_tokens_per_second;
  Sample first_token_seconds;              // a prompt of prefill_tokens, to the first token chosen
  double load_seconds = 0;                 // opening the file to a compiled plan
  uint64_t peak_memory_bytes = 0;          // of the process while it ran
  uint64_t weight_bytes = 0, cache_bytes = 0;   // read per token; of the whole cache
  double read_bandwidth = 0;               // measured, bytes/s, with the same threads
  double decode_bandwidth_share = 0;       // (weight bytes per token * decode speed) / read_bandwidth
  int threads = 0;
  std::string isa;
};

// Reads a buffer far larger than the caches with every thread; best of several passes, bytes per second.
double measure_read_bandwidth(ThreadPool& pool);
// Prompts are pseudo-random ids, decoding is greedy. Error(kUsage) for sizes that are not positive or do not fit the
// model's context; whatever opening a model throws; Error(kCancelled).
SpeedResult measure_speed(const std::filesystem::path& model_path, exec::Device& device, const SpeedOptions& options,
                          ProgressSink* progress = nullptr);
// The same for a model that is open already; load_seconds is then the time of compiling its plan.
SpeedResult measure_speed(const models::Model& model, exec::Device& device, const SpeedOptions& options, ProgressSink* progress = nullptr);
Json to_json(const SpeedResult& result);

}  // namespace hone::evaluate
