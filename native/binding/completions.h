// The way back from the lanes: finished jobs gather in one queue, and one wake of the event loop
// settles what is there, some at a time: what waits on a thousand promises must not hold up the
// loop in one go.
#pragma once

#include <napi.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "binding/lane.h"
#include "binding/reference.h"

namespace tandem::binding {

class Completions {
 public:
  /// `addon` owns this. Makes the thread-safe function, whose own cleanup hook then runs after any
  /// that is added later.
  Completions(napi_env env, Addon& addon);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  /// Pushes `job` to `lane` and returns its promise. Pending jobs keep the process alive. A job
  /// that takes less time than the way to a lane and back runs at once instead.
  napi_value submit(Lane& lane, std::unique_ptr<Job> job);
  /// Whether what takes `expected_ms()` milliseconds is to run on the JavaScript thread, now. That
  /// is only asked while nothing is pending: a lane at work may be changing what it reads. Hooks of
  /// users run as a turn begins, and may submit more.
  template <typename Expected>
  bool runs_here(const Expected& expected_ms) noexcept {
    return pending_ == 0 && has_time_for(expected_ms()) && pending_ == 0;
  }
  /// From a lane: `job` has run.
  void post(std::unique_ptr<Job> job) noexcept;
  /// Destroys finished jobs without settling them, for the end of the environment.
  void drop() noexcept;

 private:
  bool has_time_for(double expected_ms) noexcept;
  void begin_polling(double expected_ms) noexcept;
  bool begin_turn() noexcept;
  void run_here(Job& job);
  static void on_wake(napi_env env, napi_value function, void* context, void* data);
  void settle_some(napi_env env);
  std::unique_ptr<Job> next_finished() noexcept;
  /// Whether the rest will be settled in the loop's next turn.
  bool defer() noexcept;
  bool call_set_immediate(const Reference& function) noexcept;
  template <void (Completions::*method)()>
  Reference make_callback(const char* name);
  void on_resume() { settle_some(env_); }
  void on_turn() { turn_open_ = false; }
  void on_poll();
  void settle(napi_env env, Job& job);

  napi_env env_;
  Addon& addon_;
  napi_threadsafe_function wake_ = nullptr;
  size_t pending_ = 0;  ///< submitted and not settled; of the JavaScript thread
  /// When the first job of this turn of the loop ran here; of the JavaScript thread.
  std::chrono::steady_clock::time_point turn_began_;
  bool turn_open_ = false;  ///< one did, and the loop has not turned since
  /// Until when the loop turns without sleeping; of the JavaScript thread.
  std::chrono::steady_clock::time_point poll_end_;
  bool polling_ = false;
  Reference set_immediate_;
  Reference resume_;  ///< the functions that defer(), begin_turn() and on_poll() hand to it
  Reference turned_;
  Reference polled_;

  std::mutex mutex_;  ///< guards what follows
  JobQueue finished_;
  bool wake_pending_ = false;  ///< settle_some() is going to run
};

}  // namespace tandem::binding
