// The one pool of threads of the process. A dispatch runs one body on the caller's thread and on
// those that come to its help before it is done. Threads spin briefly after work, so that the next
// step of a training loop finds them awake, and then park.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace tandem::cpu {

/// Processors this process may use: affinity and the cgroup's quota, at least 1.
int available_processors();

class Pool {
 public:
  /// `worker`: 0 for the caller, numbers of their own for the others.
  using Body = void (*)(void* context, int worker);

  /// How long a dispatch takes, next to waking a thread.
  enum class Length {
    kLong,
    /// Parked threads would come too late. They are only waked when such dispatches follow one
    /// another closely, so that the next ones find them awake, and ever more rarely while they do
    /// not come because other work has the processors.
    kBrief,
  };

  /// Never destroyed: its threads may outlive static destructors, and they hold nothing.
  static Pool& instance();

  /// Runs `body` on the caller and on up to `workers` - 1 other threads, and returns when all that
  /// began are done. The caller's call of `body` has to be enough to do all of the work: the others
  /// may come late or not at all, as when another dispatch is under way, or when other processes
  /// have held them up.
  void run(int workers, Length length, Body body, void* context);

  /// Runs so far that called other threads: not those of one worker, or while the pool was busy.
  [[nodiscard]] uint64_t dispatches() const noexcept {
    return dispatches_.load(std::memory_order_relaxed);
  }

  /// Brief dispatches of the calling thread run on it alone from here on (see core/backend.h).
  static void work_behind() noexcept;

 private:
  struct Worker;
  Pool() = default;
  void grow(int workers);
  void call(Worker& worker, bool wake);
  bool dismiss(Worker& worker);
  static bool rests(Worker& worker);
  static void judge(Worker& worker);
  bool worth_waking();
  static void park(Worker& self);
  void loop(Worker& self);
  static void after_fork_in_child();

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<uint64_t> dispatches_{0};  ///< written by whoever holds busy_
  std::vector<std::unique_ptr<Worker>> workers_;
  Body body_ = nullptr;
  void* context_ = nullptr;
  Length length_ = Length::kLong;
  int processor_ = -1;  ///< of the caller, where known
  std::chrono::steady_clock::time_point last_brief_;
  int idle_brief_ = 0;   ///< brief dispatches before the next that wakes threads
  int brief_pause_ = 1;  ///< how many there will be after that one
};

}  // namespace tandem::cpu
