// Turns between a lane that takes steps and the JavaScript thread that wants to look.
#pragma once

#include <condition_variable>
#include <mutex>

namespace tandem::binding {

/// Lets the JavaScript thread in between two steps of a running job. A mutex alone would not: the
/// lane takes it again before anyone who waits wakes up.
class StepGate {
 public:
  void begin_step() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return visitors_ == 0; });
    stepping_ = true;
  }
  void end_step() noexcept {
    {
      const std::lock_guard lock(mutex_);
      stepping_ = false;
    }
    changed_.notify_all();
  }
  template <typename Visit>
  auto visit(const Visit& visit) {
    std::unique_lock lock(mutex_);
    ++visitors_;
    changed_.wait(lock, [this] { return !stepping_; });
    struct Leave {
      StepGate& gate;
      ~Leave() {
        --gate.visitors_;
        gate.changed_.notify_all();
      }
    } const leave{*this};
    return visit();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stepping_ = false;
  int visitors_ = 0;
};

}  // namespace tandem::binding
