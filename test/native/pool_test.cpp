// The pool of threads: the caller always runs, others come where there is time, nobody is left
// behind, and a busy pool and a forked child still get their work done.
#include "cpu/pool.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"

#ifdef __linux__
#include <sys/wait.h>
#include <unistd.h>
#endif

using tandem::cpu::Pool;

namespace {

constexpr int kMost = 8;

struct Work {
  explicit Work(int helpers = 0) : wanted(helpers) {}
  int wanted;  ///< others that the caller waits for
  std::atomic<int> calls[kMost] = {};
  std::atomic<int> others{0};
  std::atomic<int> inside{0};
  std::chrono::microseconds patience{10'000'000};

  [[nodiscard]] bool once_each() const {
    bool good = calls[0] == 1 && inside == 0;
    for (const auto& count : calls) good = good && count <= 1;
    return good;
  }
};

/// The caller stays until the others that it wants have come, or its patience ends.
void body(void* context, int worker) {
  auto& work = *static_cast<Work*>(context);
  ++work.inside;
  ++work.calls[worker];
  if (worker > 0) {
    ++work.others;
  } else {
    const auto give_up = std::chrono::steady_clock::now() + work.patience;
    while (work.others < work.wanted && std::chrono::steady_clock::now() < give_up) {
    }
  }
  --work.inside;
}

void dispatch(Work& work, int workers, Pool::Length length = Pool::Length::kLong) {
  Pool::instance().run(workers, length, body, &work);
}

/// Whether all others come to a dispatch, sooner or later: those that other processes have held up
/// are left out of some.
bool come(int workers) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  do {
    Work work(workers - 1);
    work.patience = std::chrono::milliseconds(100);
    dispatch(work, workers);
    if (!work.once_each()) return false;
    if (work.others == workers - 1) return true;
  } while (std::chrono::steady_clock::now() < give_up);
  return false;
}

/// Long enough that threads which spin have parked.
void rest() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

}  // namespace

TEST(pool_threads_come_when_there_is_time) {
  for (const int workers : {1, 2, 3, 7}) {
    for (int round = 0; round < 20; ++round) CHECK(come(workers));
  }
}

TEST(pool_returns_without_those_who_are_late) {
  for (int round = 0; round < 2000; ++round) {
    Work work;
    dispatch(work, 3);
    CHECK(work.once_each());  // whoever began is done, and nobody begins later
  }
  rest();
}

TEST(pool_serves_many_callers_at_once) {
  std::atomic<int> errors{0};
  std::vector<std::thread> callers;
  callers.reserve(8);
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&errors] {
      for (int round = 0; round < 200; ++round) {
        Work work;
        dispatch(work, 2);
        if (!work.once_each()) ++errors;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(errors == 0);
}

TEST(pool_wakes_parked_threads_for_long_work) {
  for (int i = 0; i < 3; ++i) {
    rest();
    CHECK(come(2));
  }
}

/// A thread that is off its processor in the midst of a dispatch, as if another process had it.
struct HeldUp {
  std::atomic<bool> came{false};
  bool sleeps = false;
};

bool comes(bool sleeps) {
  HeldUp held;
  held.sleeps = sleeps;
  Pool::instance().run(
      2, Pool::Length::kLong,
      [](void* context, int worker) {
        auto& work = *static_cast<HeldUp*>(context);
        if (worker > 0) {
          work.came = true;
          if (work.sleeps) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          return;
        }
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
        while (!work.came && std::chrono::steady_clock::now() < end) {
        }
      },
      &held);
  return held.came;
}

/// Dispatches that nobody comes to, until somebody does again.
int dispatches_alone(bool sleeps) {
  int alone = 0;
  while (!comes(sleeps) && alone < 1000) ++alone;
  return alone;
}

/// Once nobody is left out: whether those who are held up again and again are, ever longer.
bool leaves_out_the_late() {
  if (!come(2) || !comes(true)) return false;
  for (const int least : {1, 2, 4})
    if (dispatches_alone(true) < least) return false;
  return dispatches_alone(false) >= 8;
}

// Windows does not say for how long a thread ran, closely enough.
#ifndef _WIN32
TEST(pool_does_without_threads_that_others_hold_up) {
  // On a loaded machine a thread may be held up, or late, without sleeping.
  bool good = false;
  for (int i = 0; i < 20 && !good; ++i) good = leaves_out_the_late();
  CHECK(good);
  CHECK(come(2));
}
#endif

TEST(pool_lets_threads_sleep_for_brief_work_unless_there_is_much_of_it) {
  // On a loaded machine a thread may take a while to park, or to come.
  bool alone = false;
  for (int i = 0; i < 100 && !alone; ++i) {
    CHECK(come(2));
    rest();
    Work work;
    dispatch(work, 2, Pool::Length::kBrief);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(work.once_each());
    alone = work.others == 0;
  }
  CHECK(alone);

  bool helped = false;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!helped && std::chrono::steady_clock::now() < give_up) {
    Work work(1);
    work.patience = std::chrono::microseconds(10);
    dispatch(work, 2, Pool::Length::kBrief);
    CHECK(work.once_each());
    helped = work.others > 0;
  }
  CHECK(helped);
}

#ifdef __linux__
TEST(pool_works_in_a_forked_child) {
  CHECK(come(3));
  const pid_t child = fork();
  if (child == 0) {
    Work work(2);
    dispatch(work, 3);
    _exit(work.once_each() && work.others == 2 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

TEST(pool_counts_at_least_one_processor) { CHECK(tandem::cpu::available_processors() >= 1); }
