// The pool of threads: everything runs once, barriers order stages, a busy pool and a forked child
// still get their work done.
#include "cpu/pool.h"

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"

#ifdef __linux__
#include <sys/wait.h>
#include <unistd.h>
#endif

using tandem::cpu::Barrier;
using tandem::cpu::Pool;

namespace {

struct Work {
  std::atomic<int> ran{0};
  std::atomic<int> errors{0};
  std::atomic<int> stage_count[50] = {};
  Barrier barrier;
};

void staged(void* context, int /*worker*/, int workers) {
  auto& work = *static_cast<Work*>(context);
  ++work.ran;
  for (auto& count : work.stage_count) {
    ++count;
    work.barrier.wait(workers);
    if (count.load() != workers) ++work.errors;  // everybody counted before anybody passed
    work.barrier.wait(workers);
  }
}

}  // namespace

TEST(pool_runs_every_worker_and_barriers_hold) {
  for (const int workers : {1, 2, 3, 7}) {
    for (int round = 0; round < 20; ++round) {
      Work work;
      Pool::instance().run(workers, staged, &work);
      CHECK(work.ran == workers);
      CHECK(work.errors == 0);
    }
  }
}

TEST(pool_serves_many_callers_at_once) {
  std::atomic<int> errors{0};
  std::vector<std::thread> callers;
  callers.reserve(8);
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&errors] {
      for (int round = 0; round < 100; ++round) {
        Work work;
        Pool::instance().run(2, staged, &work);
        if (work.errors != 0 || work.ran < 1) ++errors;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(errors == 0);
}

TEST(pool_wakes_parked_threads) {
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    Work work;
    Pool::instance().run(2, staged, &work);
    CHECK(work.ran == 2);
  }
}

#ifdef __linux__
TEST(pool_works_in_a_forked_child) {
  Work warm;
  Pool::instance().run(3, staged, &warm);
  const pid_t child = fork();
  if (child == 0) {
    Work work;
    Pool::instance().run(3, staged, &work);
    _exit(work.ran == 3 && work.errors == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

TEST(pool_counts_at_least_one_processor) { CHECK(tandem::cpu::available_processors() >= 1); }
