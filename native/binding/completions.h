// The way back from the lanes: finished jobs gather in one queue, and one wake of the event loop
// settles all that are there.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>

#include "binding/lane.h"

namespace tandem::binding {

class Completions {
 public:
  /// `addon` owns this. Makes the thread-safe function, whose own cleanup hook then runs after any
  /// that is added later.
  Completions(napi_env env, Addon& addon);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  /// Pushes `job` to `lane` and returns its promise. Pending jobs keep the process alive.
  napi_value submit(Lane& lane, std::unique_ptr<Job> job);
  /// From a lane: `job` has run.
  void post(std::unique_ptr<Job> job) noexcept;
  /// Destroys finished jobs without settling them, for the end of the environment.
  void drop() noexcept;

 private:
  static void on_wake(napi_env env, napi_value function, void* context, void* data);
  void settle_all(napi_env env);
  void settle(napi_env env, Job& job);

  napi_env env_;
  Addon& addon_;
  napi_threadsafe_function wake_ = nullptr;
  size_t pending_ = 0;  ///< submitted and not settled; of the JavaScript thread

  std::mutex mutex_;  ///< guards what follows
  JobQueue finished_;
  bool wake_pending_ = false;
};

}  // namespace tandem::binding
