#include "cpu/pool.h"

#include <algorithm>
#include <exception>
#include <thread>

#include "core/priority.h"
#include "cpu/quota.h"
#include "cpu/spin.h"

#ifdef __linux__
#include <sched.h>
#endif
#ifndef _WIN32
#include <pthread.h>

#include <ctime>
#endif

namespace tandem::cpu {
namespace {

#ifdef __linux__

int affinity_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

int current_processor() { return sched_getcpu(); }

/// Moves the calling thread to some other processor that it may use, once: where it runs later is
/// the scheduler's business again.
void leave_processor(int processor) {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (processor < 0 || processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  cpu_set_t others = all;
  CPU_CLR(static_cast<size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0) return;
  if (sched_setaffinity(0, sizeof others, &others) == 0) {
    (void)sched_setaffinity(0, sizeof all, &all);
  }
}

#else

int affinity_processors() { return 0; }
int current_processor() { return -1; }
void leave_processor(int /*processor*/) {}

#endif

using std::chrono::nanoseconds;

/// For how long the calling thread has had a processor; where that is not known, as long as it was
/// there.
nanoseconds time_on_processor() {
#ifndef _WIN32
  timespec ran{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran) == 0)
    return std::chrono::seconds(ran.tv_sec) + nanoseconds(ran.tv_nsec);
#endif
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// Finds out whether other threads had the processor for most of the time.
class Presence {
 public:
  [[nodiscard]] bool was_away() const {
    // Time slices of others are some milliseconds long, and everybody waits for the tile that a
    // thread is in the midst of.
    constexpr auto kLong = std::chrono::milliseconds(1);
    const nanoseconds passed = std::chrono::steady_clock::now() - begin_;
    const nanoseconds away = passed - (time_on_processor() - ran_);
    return away > kLong && 2 * away > passed;
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  nanoseconds ran_ = time_on_processor();
};

constexpr int kLongestRest = 64;  // dispatches

}  // namespace

int available_processors() {
  int count = affinity_processors();
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  static const double quota = cgroup_quota();  // some files to read, for each plan that is made
  if (quota > 0) count = std::min(count, static_cast<int>(quota));
  return std::max(count, 1);
}

/// One thread. The caller asks it to come (kIdle to kCalled); the thread begins (kCalled to
/// kWorking) and is idle again when done; the caller takes back what it asked where the thread has
/// not begun.
struct Pool::Worker {
  enum State : uint32_t { kIdle, kCalled, kWorking };

  int index = 0;
  std::atomic<uint32_t> state{kIdle};
  std::atomic<bool> parked{false};
  std::atomic<uint32_t> wakes{0};  ///< how often it was woken: what it sleeps on
  bool called = false;             ///< in this dispatch; of the caller
  bool was_away = false;           ///< in the last long dispatch; read when it is idle again
  int rest = 0;                    ///< long dispatches that it is still left out of; of the caller
  int next_rest = 1;               ///< how many that will be the next time
};

Pool& Pool::instance() {
  static Pool* const pool = [] {
    auto* made = new Pool;
#ifndef _WIN32
    pthread_atfork(nullptr, nullptr, &Pool::after_fork_in_child);
#endif
    return made;
  }();
  return *pool;
}

/// fork() copies no threads: the child starts with an empty pool. What described the parent's
/// threads is given up, because joining or destroying them is impossible here.
void Pool::after_fork_in_child() {
  Pool& pool = instance();
  for (auto& worker : pool.workers_) (void)worker.release();
  pool.workers_.clear();
  pool.busy_.clear();
}

namespace {
thread_local bool works_behind = false;
}

void Pool::work_behind() noexcept { works_behind = true; }

void Pool::grow(int workers) {
  while (static_cast<int>(workers_.size()) < workers - 1) {
    try {
      workers_.reserve(workers_.size() + 1);  // so that nothing fails once the thread runs
      auto worker = std::make_unique<Worker>();
      worker->index = static_cast<int>(workers_.size()) + 1;
      Worker& self = *worker;
      std::thread([this, &self] { loop(self); }).detach();
      workers_.push_back(std::move(worker));
    } catch (const std::exception&) {
      return;  // no more threads or memory to be had: fewer threads do the same work
    }
  }
}

/// For a brief dispatch: whether the last one was a moment ago, less than threads spin before they
/// park, and waking them has not been in vain lately.
bool Pool::worth_waking() {
  constexpr auto kClosely = std::chrono::microseconds(50);
  constexpr int kLongestPause = 4096;
  const auto now = std::chrono::steady_clock::now();
  const bool closely = now - last_brief_ < kClosely;
  last_brief_ = now;
  if (!closely || idle_brief_-- > 0) return false;
  idle_brief_ = brief_pause_;
  brief_pause_ = std::min(2 * brief_pause_, kLongestPause);
  return true;
}

void Pool::call(Worker& worker, bool wake) {
  worker.called = wake || !worker.parked.load();
  if (!worker.called) return;
  worker.state.store(Worker::kCalled);
  // The thread says that it parks before it looks at its state for the last time.
  if (!worker.parked.load()) return;
  worker.wakes.fetch_add(1);
  worker.wakes.notify_one();
}

/// Whether a long dispatch should do without a thread: others have had its processor lately. It is
/// tried again, ever more rarely while that goes on.
bool Pool::rests(Worker& worker) {
  if (worker.rest == 0) return false;
  --worker.rest;
  return true;
}

void Pool::judge(Worker& worker) {
  if (!worker.was_away) {
    worker.next_rest = 1;
    return;
  }
  worker.was_away = false;
  worker.rest = worker.next_rest;
  worker.next_rest = std::min(2 * worker.next_rest, kLongestRest);
}

/// Whether the thread came. When it returns the thread is not at work, and does not begin.
bool Pool::dismiss(Worker& worker) {
  uint32_t called = Worker::kCalled;
  if (!worker.called || worker.state.compare_exchange_strong(called, Worker::kIdle)) return false;
  Spinner spinner;
  while (worker.state.load(std::memory_order_acquire) != Worker::kIdle) spinner.pause();
  return true;
}

void Pool::run(int workers, Length length, Body body, void* context) {
  const bool alone = workers <= 1 || (length == Length::kBrief && works_behind);
  if (alone || busy_.test_and_set(std::memory_order_acquire)) {
    body(context, 0);
    return;
  }
  dispatches_.store(dispatches() + 1, std::memory_order_relaxed);
  grow(workers);
  body_ = body;
  context_ = context;
  processor_ = current_processor();
  const size_t called = std::min(static_cast<size_t>(workers) - 1, workers_.size());
  const bool wake = length == Length::kLong || worth_waking();
  length_ = length;
  for (size_t i = 0; i < called; ++i) {
    Worker& worker = *workers_[i];
    worker.called = false;
    if (length == Length::kBrief || !rests(worker)) call(worker, wake);
  }
  body(context, 0);
  bool came = false;
  for (size_t i = 0; i < called; ++i) {
    if (!dismiss(*workers_[i])) continue;
    came = true;
    if (length == Length::kLong) judge(*workers_[i]);
  }
  if (came) {
    idle_brief_ = 0;
    brief_pause_ = 1;
  }
  busy_.clear(std::memory_order_release);
}

/// Until it is called or was woken. A thread that was woken too late for what it was called to
/// (where waking takes longer than brief work) comes back to spin, so that it is there for the
/// next.
void Pool::park(Worker& self) {
  const uint32_t wakes = self.wakes.load();
  self.parked.store(true);
  if (self.state.load() != Worker::kCalled) self.wakes.wait(wakes);
  self.parked.store(false);
}

void Pool::loop(Worker& self) {
  lower_thread_priority();
  while (true) {
    Spinner spinner;
    while (self.state.load(std::memory_order_relaxed) != Worker::kCalled) {
      if (!spinner.exhausted()) {
        spinner.pause();
        continue;
      }
      park(self);
      spinner = Spinner();
    }
    uint32_t called = Worker::kCalled;
    if (!self.state.compare_exchange_strong(called, Worker::kWorking)) continue;
    // A scheduler that sees every processor busy, if only with work of low priority, may have woken
    // this thread on the caller's own; there the two would wait for each other's time slices.
    if (processor_ >= 0 && current_processor() == processor_) leave_processor(processor_);
    if (length_ == Length::kLong) {
      const Presence presence;
      body_(context_, self.index);
      self.was_away = presence.was_away();
    } else {
      body_(context_, self.index);
    }
    self.state.store(Worker::kIdle, std::memory_order_release);
  }
}

}  // namespace tandem::cpu
