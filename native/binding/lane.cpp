#include "binding/lane.h"

#include <chrono>
#include <cstdlib>
#include <vector>

#include "binding/completions.h"
#include "core/priority.h"

namespace tandem::binding {

void JobQueue::push(std::unique_ptr<Job> job) noexcept {
  Job* const last = job.get();
  if (head_ == nullptr) {
    head_ = std::move(job);
  } else {
    tail_->next_ = std::move(job);
  }
  tail_ = last;
}

std::unique_ptr<Job> JobQueue::pop() noexcept {
  std::unique_ptr<Job> job = std::move(head_);
  if (job != nullptr) head_ = std::move(job->next_);
  if (head_ == nullptr) tail_ = nullptr;
  return job;
}

/// process.exit() and an uncaught exception on the main thread end in exit(), which runs no cleanup
/// hook: without this, lanes would compute on while the process takes itself apart. The list holds
/// running lanes only, no JavaScript handle, and is never destroyed.
class ExitGuard {
 public:
  static ExitGuard& instance() {
    static auto* const guard = new ExitGuard;
    return *guard;
  }
  /// Starts the lane's thread, unless the process is ending.
  void start(Lane* lane) {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    lanes_.reserve(lanes_.size() + 1);
    lane->thread_ = std::thread([lane] { lane->work(); });
    lanes_.push_back(lane);
  }
  /// Whether the lane's thread is still to be joined; from here on nobody but the caller does.
  bool remove(Lane* lane) noexcept {
    const std::lock_guard lock(mutex_);
    return std::erase(lanes_, lane) > 0;
  }

 private:
  ExitGuard() {
    std::atexit([] { instance().halt_all(); });
  }
  void halt_all() noexcept {
    const std::lock_guard lock(mutex_);
    for (Lane* lane : lanes_) lane->halt_and_join();
    lanes_.clear();
    ended_ = true;
  }

  std::mutex
      mutex_;  ///< also guards the threads of lanes: it is held while one starts or is joined
  bool ended_ = false;
  std::vector<Lane*> lanes_;
};

void Lane::start() {
  if (started_) return;
  ExitGuard::instance().start(this);
  started_ = true;
}

void Lane::push(std::unique_ptr<Job> job) noexcept {
  bool asleep = false;
  {
    const std::lock_guard lock(mutex_);
    queue_.push(std::move(job));
    pushed_.store(true, std::memory_order_relaxed);
    asleep = std::exchange(asleep_, false);
  }
  if (asleep) wake_.notify_one();  // a system call: only the first of many jobs pays for it
}

void Lane::stop() noexcept {
  if (!started_) return;
  // Not there: the end of the process has joined the thread, maybe while remove() waited.
  if (ExitGuard::instance().remove(this)) halt_and_join();
  started_ = false;
  while (taken_.pop() != nullptr || queue_.pop() != nullptr) {
  }
}

void Lane::halt_and_join() noexcept {
  {
    const std::lock_guard lock(mutex_);
    halt_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

/// A while for the next job, which often follows: someone who sends many small ones, each when the
/// one before is done, would otherwise pay for waking this thread each time, which takes longer
/// than a small training step. Others who want the processor get it. Behind a job on a device, for
/// which processors have nothing to do, for as long as the way over JavaScript may take.
void Lane::linger() const noexcept {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::microseconds(60);
  constexpr auto kDevicePatience = std::chrono::microseconds(300);
  const auto end = Clock::now() + (waited_for_device_ ? kDevicePatience : kPatience);
  while (!pushed_.load(std::memory_order_relaxed) && !halt_ && Clock::now() < end) {
    std::this_thread::yield();
  }
}

std::unique_ptr<Job> Lane::next() noexcept {
  if (taken_.empty()) {
    linger();
    std::unique_lock lock(mutex_);
    while (!halt_ && queue_.empty()) {
      asleep_ = true;
      wake_.wait(lock);
    }
    asleep_ = false;
    taken_.swap(queue_);
    pushed_.store(false, std::memory_order_relaxed);
  }
  return halt_ ? nullptr : taken_.pop();
}

void Lane::work() noexcept {
  lower_thread_priority();
  if (prepare_ != nullptr) prepare_();
  while (std::unique_ptr<Job> job = next()) {
    if (Job* const waiting = taken_.front()) job->meet(*waiting);
    try {
      job->run(halt_);
    } catch (...) {
      job->failure_ = current_failure();
    }
    waited_for_device_ = job->waits_for_device();
    completions_.post(std::move(job));
    // An event loop that has been woken on this processor runs now, and not at the end of a time
    // slice of some milliseconds; elsewhere this costs next to nothing.
    std::this_thread::yield();
  }
}

}  // namespace tandem::binding
