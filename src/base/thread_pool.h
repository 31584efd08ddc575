// A fixed set of worker threads for data-parallel loops. Waiting threads spin briefly and then park,
// so that a machine shared with other work gets its cores back.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace hone {

// A non-owning reference to a callable: no allocation per parallel region.
template <typename Signature>
class FunctionRef;
template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)  // NOLINT: implicit on purpose
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, Args... args) -> R { return (*static_cast<std::remove_reference_t<F>*>(o))(args...); }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class ThreadPool {
 public:
  // threads counts the calling thread; 0 means one per usable core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls body(begin, end, worker) on disjoint chunks of at most grain items that cover [0, count);
  // chunks are taken dynamically, worker is in [0, size()). Returns when all are done. The first
  // exception thrown by a body is rethrown here. Not reentrant: a body that opens a region of several chunks
  // throws std::logic_error. Costs about 0.1 microseconds when the workers are awake (they are for about 20
  // microseconds after a region) and a wake-up through the kernel, 2 to 5 microseconds, when they are parked.
  void for_range(size_t count, size_t grain, FunctionRef<void(size_t begin, size_t end, int worker)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone
