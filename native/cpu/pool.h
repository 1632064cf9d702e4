// The one pool of threads of the process. A dispatch runs one body on some threads, of which the
// caller is the first; bodies meet at barriers of their own. Threads spin briefly after work, so
// that the next step of a training loop finds them awake, and then park.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tandem::cpu {

/// Processors this process may use: affinity and the cgroup's quota, at least 1.
int available_processors();

class Pool {
 public:
  using Body = void (*)(void* context, int worker, int workers);

  /// Never destroyed: its threads may outlive static destructors, and they hold nothing.
  static Pool& instance();

  /// Runs `body` on up to `workers` threads and returns when all are done. When another dispatch is
  /// under way, or no thread can be had, the caller runs alone (workers = 1): results are the same.
  void run(int workers, Body body, void* context);

 private:
  struct Worker;
  Pool() = default;
  void grow(int workers);
  void loop(Worker& self);
  static void after_fork_in_child();

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::vector<std::unique_ptr<Worker>> workers_;
  Body body_ = nullptr;
  void* context_ = nullptr;
  int active_ = 0;
  int processor_ = -1;  ///< where the caller ran at the dispatch
  std::atomic<int> pending_{0};
};

/// Where the workers of one dispatch meet. Waiting spins, then yields: stages are short.
class Barrier {
 public:
  /// Returns when `count` workers have come.
  void wait(int count) noexcept;

 private:
  std::atomic<int> arrived_{0};
  std::atomic<uint32_t> generation_{0};
};

}  // namespace tandem::cpu
