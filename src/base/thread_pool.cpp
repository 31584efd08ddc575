// Each parallel region publishes one job under a new generation number. Workers and the caller take
// chunks from an atomic counter; the caller then waits until every worker that entered has left.
// A wait spins for a bounded number of pauses and then parks in the kernel (std::atomic::wait).
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <utility>
#include <thread>
#include <vector>

#include "base/cpu.h"

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

  const Body* body = nullptr;
  size_t count = 0, grain = 1;
  std::atomic<size_t> next{0};
  std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> running{0};  // workers that have not yet finished this generation
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

  void worker_loop(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_until_changed(generation, seen);
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      take_chunks(worker);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
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
  s.body = &body;
  s.count = count;
  s.grain = grain;
  s.next.store(0, std::memory_order_relaxed);
  s.running.store(static_cast<uint32_t>(s.threads.size()), std::memory_order_relaxed);
  s.generation.fetch_add(1, std::memory_order_release);
  s.generation.notify_all();
  s.take_chunks(0);
  for (uint32_t left; (left = s.running.load(std::memory_order_acquire)) != 0;) wait_until_changed(s.running, left);
  if (s.error) {
    std::exception_ptr error = std::exchange(s.error, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace hone
