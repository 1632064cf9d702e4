#include "binding/lane.h"

#include <cstdlib>
#include <vector>

#include "binding/completions.h"

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
  void add(Lane* lane) {
    const std::lock_guard lock(mutex_);
    lanes_.push_back(lane);
  }
  void remove(Lane* lane) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase(lanes_, lane);
  }

 private:
  ExitGuard() {
    std::atexit([] { instance().halt_all(); });
  }
  void halt_all() noexcept {
    const std::lock_guard lock(mutex_);
    for (Lane* lane : lanes_) lane->halt_and_join();
    lanes_.clear();
  }

  std::mutex mutex_;
  std::vector<Lane*> lanes_;
};

void Lane::start() {
  if (thread_.joinable()) return;
  ExitGuard::instance().add(this);
  try {
    thread_ = std::thread([this] { work(); });
  } catch (...) {
    ExitGuard::instance().remove(this);
    throw;
  }
}

void Lane::push(std::unique_ptr<Job> job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    queue_.push(std::move(job));
  }
  wake_.notify_one();
}

void Lane::stop() noexcept {
  if (!thread_.joinable()) return;
  ExitGuard::instance().remove(this);
  halt_and_join();
  while (queue_.pop() != nullptr) {
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

std::unique_ptr<Job> Lane::next() noexcept {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return halt_ || !queue_.empty(); });
  return halt_ ? nullptr : queue_.pop();
}

void Lane::work() noexcept {
  while (std::unique_ptr<Job> job = next()) {
    try {
      job->run(halt_);
    } catch (...) {
      job->failure_ = current_failure();
    }
    completions_.post(std::move(job));
  }
}

}  // namespace tandem::binding
