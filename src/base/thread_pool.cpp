// Each parallel region opens one job. Workers that are awake enter it; they and the caller take chunks from
// an atomic counter. When no chunk is left the caller closes the job and waits only for workers that are
// inside: one that the system has not scheduled costs nothing, so that on a crowded machine the caller
// proceeds alone. A wait spins for a bounded number of pauses and then parks in the kernel.
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <utility>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hone {
namespace {

// About 20 microseconds of pauses: longer than the gap between two ops of a decode step, shorter
// than a scheduler's time slice.
constexpr int kSpins = 1000;

void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns once value != old.
template <typename T>
void wait_until_changed(std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause_cpu();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  using Body = FunctionRef<void(size_t, size_t, int)>;

  // The job: generation in the high half, then whether it is open, then how many workers are inside. The
  // plain fields below change only while it is closed and empty.
  static constexpr uint64_t kOpen = uint64_t{1} << 31, kInside = kOpen - 1;
  std::atomic<uint64_t> job{0};
  const Body* body = nullptr;
  size_t count = 0, grain = 1;
  alignas(64) std::atomic<size_t> next{0};
  alignas(64) std::atomic<uint32_t> generation{0};  // what idle workers wait on
  std::atomic<uint32_t> left{0};                    // counts departures; what the caller waits on
  std::atomic<bool> stop{false};
  std::mutex error_mutex;
  std::exception_ptr error;
  std::vector<std::thread> threads;

  void take_chunks(int worker) {
    try {
      for (;;) {
        const size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        (*body)(begin, std::min(count, begin + grain), worker);
      }
    } catch (...) {
      next.store(count, std::memory_order_relaxed);
      std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  bool enter() {
    uint64_t seen = job.load(std::memory_order_relaxed);
    while (seen & kOpen)
      if (job.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
  }

  void worker_loop(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_until_changed(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      if (!enter()) continue;
      take_chunks(worker);
      const uint64_t before = job.fetch_sub(1, std::memory_order_release);
      if (!(before & kOpen)) {  // the caller may be waiting
        left.fetch_add(1, std::memory_order_release);
        left.notify_one();
      }
    }
  }

  void close() {
    job.fetch_and(~kOpen, std::memory_order_relaxed);
    for (;;) {
      const uint32_t departures = left.load(std::memory_order_acquire);
      if ((job.load(std::memory_order_acquire) & kInside) == 0) return;
      for (int i = 0; i < kSpins; ++i) {
        if ((job.load(std::memory_order_acquire) & kInside) == 0) return;
        pause_cpu();
      }
      left.wait(departures, std::memory_order_acquire);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  const int total = threads > 0 ? threads : usable_cores();
  for (int i = 1; i < total; ++i) state_->threads.emplace_back([s = state_.get(), i] { s->worker_loop(i); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (auto& thread : state_->threads) thread.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::for_range(size_t count, size_t grain, FunctionRef<void(size_t, size_t, int)> body) {
  State& s = *state_;
  grain = std::max<size_t>(grain, 1);
  if (count == 0) return;
  if (s.threads.empty() || count <= grain) {
    for (size_t begin = 0; begin < count; begin += grain) body(begin, std::min(count, begin + grain), 0);
    return;
  }
  HONE_CHECK((s.job.load(std::memory_order_relaxed) & (State::kOpen | State::kInside)) == 0);  // a body calls for_range
  s.body = &body;
  s.count = count;
  s.grain = grain;
  s.next.store(0, std::memory_order_relaxed);
  s.job.fetch_add((uint64_t{1} << 32) + State::kOpen, std::memory_order_release);
  s.generation.fetch_add(1, std::memory_order_release);
  s.generation.notify_all();
  s.take_chunks(0);
  s.close();
  if (s.error) {
    std::exception_ptr error = std::exchange(s.error, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace hone
