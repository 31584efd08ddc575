// Repeated timings of prefill and decode, and the memory bandwidth they are held against.
#include "evaluate/speed.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "base/cancel.h"
#include "base/cpu.h"
#include "base/error.h"

namespace hone::evaluate {
namespace {

using Clock = std::chrono::steady_clock;
using text::TokenId;

constexpr size_t kBandwidthBytes = size_t{256} << 20;  // eight times the largest last-level cache at hand
constexpr int kBandwidthPasses = 8;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check(const SpeedOptions& o) {
  const auto positive = [](int64_t value, const char* name) {
    if (value <= 0) fail(ErrorKind::kUsage, "[evaluate] {} is {}; it must be positive", name, value);
  };
  positive(o.prefill_tokens, "the number of prefill tokens");
  positive(o.decode_tokens, "the number of decode tokens");
  positive(o.repetitions, "the number of repetitions");
  if (o.depth < 0) fail(ErrorKind::kUsage, "[evaluate] the cache depth is {}; it must be 0 or more", o.depth);
}

std::vector<TokenId> random_ids(int64_t count, int64_t vocab) {
  Random random(1);
  std::vector<TokenId> ids(static_cast<size_t>(count));
  for (TokenId& id : ids) id = static_cast<TokenId>(random.below(static_cast<uint64_t>(vocab)));
  return ids;
}

// One repetition of each measurement; the session is left empty.
struct Timer {
  generate::LanguageModel& session;
  const SpeedOptions& options;
  std::vector<TokenId> prompt, filler;

  double prefill_seconds = 0, first_token_seconds = 0, decode_seconds = 0;

  void run() {
    session.reset();
    const auto start = Clock::now();
    const std::span<const float> logits = session.feed(prompt);
    prefill_seconds = seconds_since(start);
    TokenId id = generate::argmax(logits);
    first_token_seconds = seconds_since(start);
    session.reset();
    if (!filler.empty()) session.feed(filler);
    const auto decode_start = Clock::now();
    for (int64_t i = 0; i < options.decode_tokens; ++i) id = generate::argmax(session.feed(std::span(&id, 1)));
    decode_seconds = seconds_since(decode_start);
    session.reset();
  }
};

SpeedResult measure(generate::LanguageModel& session, exec::Device& device, const SpeedOptions& options, double load_seconds,
                    ProgressSink* progress) {
  Timer timer{session, options, random_ids(options.prefill_tokens, session.vocab_size()), random_ids(options.depth, session.vocab_size())};
  std::vector<double> prefill, decode, first;
  {
    Progress stage(progress, "timing", static_cast<uint64_t>(options.repetitions) + 1);
    for (int i = 0; i <= options.repetitions; ++i) {
      throw_if_cancelled();
      timer.run();
      stage.advance();
      if (i == 0) continue;  // the first run reads the weights into memory
      prefill.push_back(static_cast<double>(options.prefill_tokens) / timer.prefill_seconds);
      decode.push_back(static_cast<double>(options.decode_tokens) / timer.decode_seconds);
      first.push_back(timer.first_token_seconds);
    }
  }
  SpeedResult result;
  result.peak_memory_bytes = peak_rss_bytes();  // before the bandwidth buffer
  result.prefill_tokens_per_second = sample_of(prefill);
  result.decode_tokens_per_second = sample_of(decode);
  result.first_token_seconds = sample_of(first);
  result.load_seconds = load_seconds;
  result.weight_bytes = session.plan().weight_bytes();
  result.cache_bytes = session.state_bytes();
  result.threads = device.pool().size();
  result.isa = isa_name(active_isa());
  result.read_bandwidth = measure_read_bandwidth(device.pool());
  result.decode_bandwidth_share = static_cast<double>(result.weight_bytes) * result.decode_tokens_per_second.median / result.read_bandwidth;
  return result;
}

generate::SessionOptions session_options(const SpeedOptions& options) {
  generate::SessionOptions session;
  session.context = std::max(options.prefill_tokens, options.depth + options.decode_tokens);
  session.cache_format = options.cache_format;
  return session;
}

Json sample_json(const Sample& s) { return Json{{"median", s.median}, {"min", s.min}, {"max", s.max}}; }

}  // namespace

Sample sample_of(std::span<const double> values) {
  HONE_CHECK(!values.empty());
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return {(sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted.front(), sorted.back()};
}

double measure_read_bandwidth(ThreadPool& pool) {
  constexpr size_t kWords = kBandwidthBytes / sizeof(uint64_t), kChunk = (size_t{1} << 20) / sizeof(uint64_t);
  const auto words = std::make_unique_for_overwrite<uint64_t[]>(kWords);
  // Written once, so that every page is real memory of its own.
  pool.for_range(kWords, kChunk, [&](size_t begin, size_t end, int) { std::fill(&words[begin], &words[0] + end, begin + 1); });
  std::vector<uint64_t> sums(static_cast<size_t>(pool.size()) * 8);  // a cache line each
  double best = 0;
  for (int pass = 0; pass < kBandwidthPasses; ++pass) {
    const auto start = Clock::now();
    pool.for_range(kWords, kChunk, [&](size_t begin, size_t end, int worker) {
      uint64_t sum = 0;
      for (size_t i = begin; i < end; ++i) sum += words[i];
      sums[static_cast<size_t>(worker) * 8] += sum;
    });
    best = std::max(best, static_cast<double>(kBandwidthBytes) / seconds_since(start));
  }
  uint64_t total = 0;  // used, so that the reads are not optimised away
  for (const uint64_t s : sums) total += s;
  HONE_CHECK(total != 0);
  return best;
}

SpeedResult measure_speed(const std::filesystem::path& model_path, exec::Device& device, const SpeedOptions& options, ProgressSink* progress) {
  check(options);
  reset_peak_rss();
  const auto start = Clock::now();
  const models::Model model = models::open_model(model_path);
  generate::LanguageModel session(model, device, session_options(options));
  return measure(session, device, options, seconds_since(start), progress);
}

SpeedResult measure_speed(const models::Model& model, exec::Device& device, const SpeedOptions& options, ProgressSink* progress) {
  check(options);
  reset_peak_rss();
  const auto start = Clock::now();
  generate::LanguageModel session(model, device, session_options(options));
  return measure(session, device, options, seconds_since(start), progress);
}

Json to_json(const SpeedResult& r) {
  return Json{{"prefill_tokens_per_second", sample_json(r.prefill_tokens_per_second)},
              {"decode_tokens_per_second", sample_json(r.decode_tokens_per_second)},
              {"first_token_seconds", sample_json(r.first_token_seconds)},
              {"load_seconds", r.load_seconds},
              {"peak_memory_bytes", r.peak_memory_bytes},
              {"weight_bytes_per_token", r.weight_bytes},
              {"cache_bytes", r.cache_bytes},
              {"read_bandwidth_bytes_per_second", r.read_bandwidth},
              {"decode_bandwidth_share", r.decode_bandwidth_share},
              {"threads", r.threads},
              {"isa", r.isa}};
}

}  // namespace hone::evaluate
