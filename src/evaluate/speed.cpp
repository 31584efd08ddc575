// Repeated timings of prefill and decode, held against the roofs of the machine.
#include "evaluate/speed.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "base/cancel.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/random.h"

namespace hone::evaluate {
namespace {

using Clock = std::chrono::steady_clock;
using generate::LanguageModel;
using text::TokenId;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(const SpeedOptions& o) {
  const auto positive = [](int64_t value, const char* name) {
    if (value <= 0) fail(ErrorKind::kUsage, "[evaluate] {} is {}; it must be positive", name, value);
  };
  positive(o.prefill_tokens, "the number of prefill tokens");
  positive(o.decode_tokens, "the number of decode tokens");
  positive(o.repetitions, "the number of repetitions");
  positive(o.sequences, "the number of sequences");
  if (o.depth < 0) fail(ErrorKind::kUsage, "[evaluate] the cache depth is {}; it must be 0 or more", o.depth);
}

std::vector<TokenId> random_ids(int64_t count, int64_t vocab) {
  Random random(1);
  std::vector<TokenId> ids(static_cast<size_t>(count));
  for (TokenId& id : ids) id = static_cast<TokenId>(random.below(static_cast<uint64_t>(vocab)));
  return ids;
}

// The two phases on a session; each call is one repetition.
class Phases {
 public:
  Phases(LanguageModel& session, const SpeedOptions& options)
      : session_(session),
        options_(options),
        prompt_(random_ids(options.prefill_tokens, session.vocab_size())),
        last_(random_ids(session.batch(), session.vocab_size())) {}

  double prefill_seconds = 0, first_token_seconds = 0, decode_seconds = 0;

  void prefill(Profiler* profiler = nullptr) {
    session_.reset();
    if (profiler) return profiled_prefill(*profiler);
    const auto start = Clock::now();
    const std::span<const float> logits = session_.feed(prompt_);
    prefill_seconds = seconds_since(start);
    last_[0] = generate::argmax(logits);
    first_token_seconds = seconds_since(start);
  }

  void decode(Profiler* profiler = nullptr) {
    fill();
    const auto start = Clock::now();
    for (int64_t i = 0; i < options_.decode_tokens; ++i) {
      const auto step_start = Clock::now();
      const auto logits = session_.batch() == 1 ? session_.feed(last_) : session_.feed_batch(last_);
      const double seconds = profiler ? seconds_since(step_start) : 0;
      for (size_t row = 0; row < last_.size(); ++row)
        last_[row] = generate::argmax(logits.subspan(row * static_cast<size_t>(session_.vocab_size()),
                                                     static_cast<size_t>(session_.vocab_size())));
      if (profiler) profiler->add_run(sizes(1, options_.depth + i), seconds);
    }
    decode_seconds = seconds_since(start);
  }

  // `depth` tokens in every row, those of the repetition before where they are left.
  void fill() {
    if (filled_ && session_.position() >= options_.depth) {
      for (int64_t row = 0; row < session_.batch(); ++row) session_.truncate(options_.depth, row);
      return;
    }
    session_.reset();
    const std::vector<TokenId> filler = random_ids(options_.depth, session_.vocab_size());
    if (session_.batch() == 1 && !filler.empty()) session_.feed(filler);
    std::vector<TokenId> same(static_cast<size_t>(session_.batch()));
    for (int64_t i = 0; i < options_.depth && session_.batch() > 1; ++i) {
      throw_if_cancelled();
      std::fill(same.begin(), same.end(), filler[static_cast<size_t>(i)]);
      session_.feed_batch(same);
    }
    filled_ = true;
  }

  RunSizes sizes(int64_t sequence, int64_t past) const {
    return {session_.batch(), sequence, past, session_.batch(), options_.cache_format};
  }

 private:
  // Chunk by chunk, as the session would take it.
  void profiled_prefill(Profiler& profiler) {
    const int64_t chunk = generate::SessionOptions{}.chunk;
    for (int64_t at = 0; at < options_.prefill_tokens; at += chunk) {
      const int64_t length = std::min(chunk, options_.prefill_tokens - at);
      const auto start = Clock::now();
      session_.feed(
          std::span<const TokenId>(prompt_).subspan(static_cast<size_t>(at), static_cast<size_t>(length)));
      profiler.add_run(sizes(length, at), seconds_since(start));
    }
  }

  LanguageModel& session_;
  const SpeedOptions& options_;
  std::vector<TokenId> prompt_, last_;
  bool filled_ = false;
};

// Sum over the prompt's chunks, each with the cache that the ones before left.
OpCost prefill_cost(const ir::Graph& graph, const SpeedOptions& o, const Roofs& roofs,
                    double& arithmetic_seconds) {
  OpCost total;
  const int64_t chunk = generate::SessionOptions{}.chunk;
  for (int64_t at = 0; at < o.prefill_tokens; at += chunk) {
    const RunSizes sizes{1, std::min(chunk, o.prefill_tokens - at), at, 1, o.cache_format};
    for (const OpCost& cost : run_costs(graph, sizes)) {
      total += cost;
      arithmetic_seconds += roofs.arithmetic_seconds(cost);
    }
  }
  return total;
}

OpCost decode_cost(const ir::Graph& graph, const SpeedOptions& o) {
  OpCost total;
  for (const OpCost& cost :
       run_costs(graph, {o.sequences, 1, o.depth + o.decode_tokens / 2, o.sequences, o.cache_format}))
    total += cost;
  return total;
}

class Measurement {
 public:
  Measurement(const models::Model& model, exec::Device& device, const SpeedOptions& options,
              ProgressSink* progress)
      : model_(model), device_(device), options_(options), progress_(progress) {
    result_.options = options;
  }

  void set_file_bytes(uint64_t bytes) { result_.file_bytes = bytes; }

  SpeedResult run(Clock::time_point start) {
    auto session =
        make_session(1, std::max(options_.prefill_tokens,
                                 options_.sequences == 1 ? options_.depth + options_.decode_tokens : 0));
    result_.load_seconds = seconds_since(start);
    time_prefill(*session);
    uint64_t peak = peak_rss_bytes();
    result_.roofs = roofs();
    profile_prefill(*session);
    if (options_.sequences > 1) {
      session.reset();
      reset_peak_rss();
      session = make_session(options_.sequences, options_.depth + options_.decode_tokens);
    } else {
      reset_peak_rss();
    }
    time_decode(*session);
    peak = std::max(peak, peak_rss_bytes());
    profile_decode(*session);
    conclude(*session, peak);
    return std::move(result_);
  }

 private:
  std::unique_ptr<LanguageModel> make_session(int64_t sequences, int64_t context) {
    generate::SessionOptions session;
    session.batch = sequences;
    session.context = context;
    session.cache_format = options_.cache_format;
    if (sequences > 1) session.chunk = 1;
    return std::make_unique<LanguageModel>(model_, device_, session);
  }

  Roofs roofs() {
    Progress stage(progress_, "measuring the machine", 1);
    return measure_roofs(device_.pool());
  }

  // The first run of each phase reads the weights into memory and is not counted.
  void time_prefill(LanguageModel& session) {
    Phases phases(session, options_);
    std::vector<double> speed, first;
    Progress stage(progress_, "prefill", static_cast<uint64_t>(options_.repetitions) + 1);
    for (int i = 0; i <= options_.repetitions; ++i) {
      throw_if_cancelled();
      phases.prefill();
      stage.advance();
      if (i == 0) continue;
      speed.push_back(static_cast<double>(options_.prefill_tokens) / phases.prefill_seconds);
      first.push_back(phases.first_token_seconds);
    }
    result_.prefill_tokens_per_second = sample_of(speed);
    result_.first_token_seconds = sample_of(first);
  }

  void time_decode(LanguageModel& session) {
    Phases phases(session, options_);
    std::vector<double> speed;
    Progress stage(progress_, "decode", static_cast<uint64_t>(options_.repetitions) + 1);
    for (int i = 0; i <= options_.repetitions; ++i) {
      throw_if_cancelled();
      phases.decode();
      stage.advance();
      if (i > 0)
        speed.push_back(static_cast<double>(options_.decode_tokens * options_.sequences) /
                        phases.decode_seconds);
    }
    result_.decode_tokens_per_second = sample_of(speed);
  }

  void profile_prefill(LanguageModel& session) {
    double seconds = 0;
    result_.prefill_cost = prefill_cost(session.plan().graph(), options_, result_.roofs, seconds);
    result_.prefill_arithmetic_share =
        seconds * result_.prefill_tokens_per_second.median / static_cast<double>(options_.prefill_tokens);
    if (!options_.profile) return;
    Phases phases(session, options_);
    Profiler profiler(session.plan(), result_.roofs);
    for (int i = 0; i < options_.repetitions; ++i) phases.prefill(&profiler);
    result_.prefill_profile = profiler.finish(options_.prefill_tokens * options_.repetitions);
  }

  void profile_decode(LanguageModel& session) {
    result_.decode_cost = decode_cost(session.plan().graph(), options_);
    if (!options_.profile) return;
    Phases phases(session, options_);
    phases.fill();  // before the watch begins
    Profiler profiler(session.plan(), result_.roofs);
    phases.decode(&profiler);
    result_.decode_profile = profiler.finish(options_.decode_tokens * options_.sequences);
  }

  void conclude(LanguageModel& session, uint64_t peak) {
    SpeedResult& r = result_;
    r.peak_memory_bytes = peak;
    r.weight_bytes = session.plan().weight_bytes();
    r.cache_bytes = session.state_bytes();
    const uint64_t known = r.file_bytes + r.cache_bytes;
    r.rest_bytes = peak > known ? peak - known : 0;
    r.products = product_uses(session.plan().graph(), options_.sequences,
                              std::min(options_.prefill_tokens, generate::SessionOptions{}.chunk));
    r.threads = device_.pool().size();
    r.isa = isa_name(active_isa());
    r.read_bandwidth = r.roofs.read_bandwidth;
    const double steps = r.decode_tokens_per_second.median / static_cast<double>(options_.sequences);
    r.decode_bandwidth_share = r.roofs.memory_seconds(r.decode_cost) * steps;
  }

  const models::Model& model_;
  exec::Device& device_;
  const SpeedOptions& options_;
  ProgressSink* progress_;
  SpeedResult result_;
};

// A file, or a directory's files of weights.
uint64_t bytes_on_disk(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return std::filesystem::file_size(path);
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors") total += entry.file_size();
  }
  return total;
}

}  // namespace

Sample sample_of(std::span<const double> values) {
  HONE_CHECK(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return {(sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted.front(), sorted.back()};
}

SpeedResult measure_speed(const std::filesystem::path& model_path, exec::Device& device,
                          const SpeedOptions& options, ProgressSink* progress) {
  check(options);
  reset_peak_rss();
  const auto start = Clock::now();
  const models::Model model = models::open_model(model_path);
  Measurement measurement(model, device, options, progress);
  measurement.set_file_bytes(bytes_on_disk(model_path));
  return measurement.run(start);
}

SpeedResult measure_speed(const models::Model& model, exec::Device& device, const SpeedOptions& options,
                          ProgressSink* progress) {
  check(options);
  reset_peak_rss();
  return Measurement(model, device, options, progress).run(Clock::now());
}

}  // namespace hone::evaluate
