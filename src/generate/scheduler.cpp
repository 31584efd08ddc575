#include "generate/scheduler.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/cancel.h"
#include "base/error.h"

namespace hone::generate {

using text::TokenId;
using Clock = std::chrono::steady_clock;

namespace {

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

struct Scheduler::Sequence {
  Sequence(Id new_id, BatchRequest new_request, const text::Tokenizer& tokenizer)
      : id(new_id),
        request(std::move(new_request)),
        answer(tokenizer, !request.options.own_text && holds_text(tokenizer, request.prompt), request.options,
               request.on_text),
        sampler(request.options.sampling) {}

  bool reading() const { return read < request.prompt.size(); }

  Id id;
  BatchRequest request;
  Answer answer;
  Sampler sampler;
  BatchSession::Id row = -1;
  size_t read = 0;       // tokens of the prompt that were fed
  TokenId pending = -1;  // chosen, not fed yet
  std::span<const float> logits;
  bool cancelled = false;
  Clock::time_point joined, decoding;
};

Scheduler::Scheduler(LanguageModel& model, const text::Tokenizer& tokenizer, ThreadPool& pool,
                     const SchedulerOptions& options)
    : tokenizer_(tokenizer), pool_(pool), options_(options), session_(model) {}
Scheduler::~Scheduler() = default;

Scheduler::Id Scheduler::submit(BatchRequest request) {
  validate(request.options.sampling);
  check_prompt(request.prompt, session_.context(), session_.context());
  waiting_.push_back(std::make_unique<Sequence>(next_, std::move(request), tokenizer_));
  return next_++;
}

void Scheduler::cancel(Id id) {
  for (const auto& s : waiting_) s->cancelled = s->cancelled || s->id == id;
  for (const auto& s : running_) s->cancelled = s->cancelled || s->id == id;
}

// The longest prompts of those that can join take the first rows: they are fed as a staircase.
void Scheduler::admit() {
  std::vector<std::unique_ptr<Sequence>> joining;
  while (!waiting_.empty()) {
    Sequence& first = *waiting_.front();
    const bool at_once = first.cancelled || first.answer.at_limit();
    const auto places = session_.capacity() - session_.size() - static_cast<int64_t>(joining.size());
    if (!at_once && places <= 0) break;
    auto sequence = std::move(waiting_.front());
    waiting_.pop_front();
    if (at_once)
      finish(*sequence, sequence->cancelled ? StopReason::kCancelled : StopReason::kMaxTokens);
    else
      joining.push_back(std::move(sequence));
  }
  std::stable_sort(joining.begin(), joining.end(), [](const auto& a, const auto& b) {
    return a->request.prompt.size() > b->request.prompt.size();
  });
  for (auto& sequence : joining) {
    sequence->row = session_.join();
    sequence->joined = Clock::now();
    running_.push_back(std::move(sequence));
  }
}

void Scheduler::plan_feeds() {
  feeds_.clear(), fed_.clear();
  int64_t budget = options_.prompt_tokens_per_step > 0 ? options_.prompt_tokens_per_step
                                                       : std::numeric_limits<int64_t>::max();
  for (const auto& s : running_) {
    if (!s->reading()) {
      feeds_.push_back({s->row, std::span(&s->pending, 1)});
      fed_.push_back(s.get());
      continue;
    }
    const std::span<const TokenId> rest = std::span(s->request.prompt).subspan(s->read);
    const auto take = std::min<int64_t>(budget, static_cast<int64_t>(rest.size()));
    if (take == 0) continue;
    budget -= take;
    feeds_.push_back({s->row, rest.first(static_cast<size_t>(take))});
    fed_.push_back(s.get());
  }
}

bool Scheduler::step() {
  if (cancel_requested()) cancel_all();
  for (const auto& s : running_)
    if (s->cancelled) finish(*s, StopReason::kCancelled);
  std::erase_if(running_, [](const auto& s) { return s->row < 0; });
  admit();
  if (running_.empty()) return !waiting_.empty();
  plan_feeds();
  try {
    take_tokens(session_.feed(feeds_));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
    cancel_all();
  }
  std::erase_if(running_, [](const auto& s) { return s->row < 0; });
  return !running_.empty() || !waiting_.empty();
}

void Scheduler::take_tokens(std::span<const std::span<const float>> logits) {
  sampled_.clear();
  for (size_t i = 0; i < fed_.size(); ++i) {
    Sequence& s = *fed_[i];
    const bool was_reading = s.reading();
    if (was_reading) s.read += feeds_[i].ids.size();
    if (s.reading()) continue;
    if (was_reading) s.decoding = Clock::now();
    s.logits = logits[i];
    sampled_.push_back(&s);
  }
  pool_.for_range(sampled_.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      Sequence& s = *sampled_[i];
      s.pending = s.sampler.sample(s.logits, session_.tokens(s.row));
    }
  });
  for (Sequence* s : sampled_) {
    if (const auto reason = s->answer.take(s->pending))
      finish(*s, *reason);
    else if (session_.position(s->row) >= session_.context())
      finish(*s, StopReason::kContextFull);
  }
}

void Scheduler::finish(Sequence& s, StopReason reason) {
  GenerateResult result;
  const auto now = Clock::now();
  result.prompt_tokens = static_cast<int64_t>(s.request.prompt.size());
  if (s.row >= 0) {
    const bool decoded = s.decoding != Clock::time_point();
    result.prefill_seconds = seconds_between(s.joined, decoded ? s.decoding : now);
    if (decoded) result.decode_seconds = seconds_between(s.decoding, now);
    session_.leave(s.row);
    s.row = -1;
  }
  s.answer.finish(reason, result);
  if (s.request.on_done) s.request.on_done(std::move(result));
}

void Scheduler::cancel_all() {
  for (const auto& s : running_) finish(*s, StopReason::kCancelled);
  running_.clear();
  while (!waiting_.empty()) {
    const auto s = std::move(waiting_.front());
    waiting_.pop_front();
    finish(*s, StopReason::kCancelled);
  }
}

}  // namespace hone::generate
