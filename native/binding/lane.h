// A lane: one thread of the engine's own that runs jobs in order, so that libuv's pool stays free
// for files and DNS. An environment has one for training and one for predictions, started by their
// first job.
//
// A job is made on the JavaScript thread, runs on its lane, and is settled and destroyed on the
// JavaScript thread again; it may therefore hold JavaScript references, which run() does not touch.
#pragma once

#include <atomic>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "binding/errors.h"

namespace tandem::binding {

/// What takes less than so many milliseconds is best done where it is: the way to another thread
/// and back would take longer.
inline constexpr double kBriefMs = 0.05;

class Job {
 public:
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  /// On the lane. `halt` turns true when the environment ends: return at the next step boundary.
  virtual void run(const std::atomic<bool>& halt) = 0;
  /// On the lane, before run(): may do the work of jobs that wait behind this one as well, and
  /// leaves their run() nothing to do then. They are `next` and those behind() it.
  virtual void meet(Job& /*next*/) noexcept {}
  /// Milliseconds that run() is expected to take, as far as known. Asked while no lane has work.
  [[nodiscard]] virtual double expected_ms() const noexcept {
    return std::numeric_limits<double>::infinity();
  }
  /// On the JavaScript thread, just before it goes to its lane, which it then does.
  virtual void on_push() noexcept {}
  /// Whether run() hands its work to a device and waits for it.
  [[nodiscard]] virtual bool waits_for_device() const noexcept { return false; }
  /// On the JavaScript thread after run() has succeeded: what the promise resolves with.
  virtual napi_value finish(napi_env env) = 0;

  /// The job that waits behind this one, or null.
  [[nodiscard]] Job* behind() const noexcept { return next_.get(); }

 private:
  friend class Completions;
  friend class JobQueue;
  friend class Lane;
  std::optional<Failure> failure_;
  napi_deferred deferred_ = nullptr;
  std::unique_ptr<Job> next_;
};

/// First in, first out. Linked through the jobs, so that pushing cannot run out of memory.
class JobQueue {
 public:
  JobQueue() = default;
  JobQueue(JobQueue&& other) noexcept
      : head_(std::move(other.head_)), tail_(std::exchange(other.tail_, nullptr)) {}
  JobQueue& operator=(JobQueue&&) = delete;
  ~JobQueue() {
    while (pop() != nullptr) {
    }
  }
  void push(std::unique_ptr<Job> job) noexcept;
  /// The oldest job, or null.
  [[nodiscard]] Job* front() const noexcept { return head_.get(); }
  /// The same, no longer of the queue.
  std::unique_ptr<Job> pop() noexcept;
  void swap(JobQueue& other) noexcept {
    std::swap(head_, other.head_);
    std::swap(tail_, other.tail_);
  }
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }

 private:
  std::unique_ptr<Job> head_;
  Job* tail_ = nullptr;
};

class Completions;

class Lane {
 public:
  /// `prepare` is called first thing on the lane's thread.
  explicit Lane(Completions& completions, void (*prepare)() = nullptr)
      : completions_(completions), prepare_(prepare) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() { stop(); }

  /// Makes sure that there is a thread. Throws std::system_error when the system has none.
  void start();
  /// Needs start().
  void push(std::unique_ptr<Job> job) noexcept;
  /// Ends the running job at its next boundary, joins the thread and destroys the queued jobs. For
  /// the JavaScript thread; harmless when called twice.
  void stop() noexcept;

 private:
  friend class ExitGuard;
  void work() noexcept;
  void halt_and_join() noexcept;
  std::unique_ptr<Job> next() noexcept;
  void linger() const noexcept;

  Completions& completions_;
  void (*prepare_)();
  JobQueue taken_;                  ///< of the thread: jobs that it took from queue_ together
  bool waited_for_device_ = false;  ///< of the thread: its last job was
  std::mutex mutex_;                ///< guards queue_, asleep_, and halt_ for those who wait
  std::condition_variable wake_;
  JobQueue queue_;
  bool asleep_ = false;
  std::atomic<bool> pushed_{false};  ///< queue_ may have jobs; looked at before mutex_ is taken
  std::atomic<bool> halt_{false};
  std::thread thread_;    ///< guarded by ExitGuard
  bool started_ = false;  ///< of the JavaScript thread
};

}  // namespace tandem::binding
