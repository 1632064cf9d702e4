#include "cpu/pool.h"

#include <algorithm>
#include <system_error>

#include "cpu/spin.h"

#ifdef __linux__
#include <sched.h>

#include <cstdio>
#endif
#ifndef _WIN32
#include <pthread.h>
#endif

namespace tandem::cpu {
namespace {

#ifdef __linux__

/// "max 100000" or "200000 100000": the cgroup's quota in processors, 0 for none.
double read_quota(const char* path, const char* period_path) {
  double quota = 0;
  double period = 0;
  if (FILE* file = std::fopen(path, "re")) {
    const int fields = std::fscanf(file, "%lf %lf", &quota, &period);
    std::fclose(file);
    if (fields < 1) return 0;
    if (fields == 1 && period_path != nullptr) {
      if (FILE* other = std::fopen(period_path, "re")) {
        if (std::fscanf(other, "%lf", &period) != 1) period = 0;
        std::fclose(other);
      }
    }
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

int quota_processors() {
  double quota = read_quota("/sys/fs/cgroup/cpu.max", nullptr);
  if (quota == 0) {
    quota =
        read_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  return quota > 0 ? std::max(1, static_cast<int>(quota)) : 0;
}

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

int quota_processors() { return 0; }
int affinity_processors() { return 0; }
int current_processor() { return -1; }
void leave_processor(int /*processor*/) {}

#endif

}  // namespace

int available_processors() {
  int count = affinity_processors();
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  const int quota = quota_processors();
  if (quota > 0) count = std::min(count, quota);
  return std::max(count, 1);
}

/// One thread. Its ticket counts the dispatches it was called to; parking waits on it.
struct Pool::Worker {
  int index = 0;
  std::atomic<uint32_t> ticket{0};
  std::atomic<bool> parked{false};
  std::thread thread;
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
  pool.pending_.store(0);
  pool.busy_.clear();
}

void Pool::grow(int workers) {
  while (static_cast<int>(workers_.size()) < workers - 1) {
    auto worker = std::make_unique<Worker>();
    worker->index = static_cast<int>(workers_.size()) + 1;
    Worker& self = *worker;
    try {
      worker->thread = std::thread([this, &self] { loop(self); });
    } catch (const std::system_error&) {
      return;  // no more threads to be had: fewer do the same work
    }
    worker->thread.detach();
    workers_.push_back(std::move(worker));
  }
}

void Pool::run(int workers, Body body, void* context) {
  if (workers <= 1 || busy_.test_and_set(std::memory_order_acquire)) {
    body(context, 0, 1);
    return;
  }
  grow(workers);
  active_ = std::min(workers, static_cast<int>(workers_.size()) + 1);
  body_ = body;
  context_ = context;
  processor_ = current_processor();
  pending_.store(active_ - 1, std::memory_order_relaxed);
  for (int i = 0; i < active_ - 1; ++i) {
    Worker& worker = *workers_[static_cast<size_t>(i)];
    worker.ticket.fetch_add(1);
    if (worker.parked.load()) worker.ticket.notify_one();
  }
  body(context, 0, active_);
  Spinner spinner;
  while (pending_.load(std::memory_order_acquire) != 0) spinner.pause();
  busy_.clear(std::memory_order_release);
}

void Pool::loop(Worker& self) {
  uint32_t seen = 0;
  while (true) {
    Spinner spinner;
    while (self.ticket.load(std::memory_order_acquire) == seen) {
      if (!spinner.exhausted()) {
        spinner.pause();
        continue;
      }
      self.parked.store(true);
      self.ticket.wait(seen);
      self.parked.store(false);
    }
    ++seen;
    // A scheduler that sees every processor busy, if only with work of low priority, may have woken
    // this thread on the caller's own; there the two would wait for each other's time slices.
    if (processor_ >= 0 && current_processor() == processor_) leave_processor(processor_);
    body_(context_, self.index, active_);
    pending_.fetch_sub(1, std::memory_order_release);
  }
}

void Barrier::wait(int count) noexcept {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    return;
  }
  Spinner spinner;
  while (generation_.load(std::memory_order_acquire) == generation) spinner.pause();
}

}  // namespace tandem::cpu
