// What it costs to call the threads together: a dispatch that is over when all threads have come,
// while they are awake and after they went to sleep; one that nobody is waited for in; and the
// hand-over between steps of a plan that depend on each other.
#include <chrono>
#include <thread>
#include <vector>

#include "cpu/pool.h"
#include "cpu/schedule.h"
#include "suite.h"
#include "threads.h"

namespace tandem::bench {
namespace {

constexpr int kTimes = 1000;

double all_come_awake(int threads) {
  const double start = now();
  for (int i = 0; i < kTimes; ++i) on_threads(threads, [](int, int) {});
  return (now() - start) / kTimes;
}

double all_come_asleep(int threads) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const double start = now();
  on_threads(threads, [](int, int) {});
  return now() - start;
}

double nobody_waits(int threads) {
  const double start = now();
  for (int i = 0; i < kTimes; ++i)
    cpu::Pool::instance().run(threads, cpu::Pool::Length::kBrief, [](void*, int) {}, nullptr);
  return (now() - start) / kTimes;
}

double hand_over(int threads) {
  std::vector<cpu::Unit> units;
  for (uint32_t i = 0; i < kTimes; ++i) {
    units.push_back({i, i + 1, threads, {}});
    if (i > 0) units.back().after.push_back(i - 1);
  }
  cpu::UnitQueue queue(std::move(units), threads);
  queue.reset();
  const double start = now();
  on_threads(threads,
             [&](int worker, int) { queue.work(worker, [](const cpu::Unit&, int64_t) {}); });
  return (now() - start) / kTimes;
}

}  // namespace

void run_pool(const Suite& suite) {
  const struct {
    const char* name;
    double (*measure)(int threads);
  } figures[] = {{"dispatch, threads awake", all_come_awake},
                 {"dispatch, threads asleep", all_come_asleep},
                 {"dispatch, not waiting", nobody_waits},
                 {"step to step", hand_over}};
  for (const int threads : suite.options().threads) {
    if (threads == 1) continue;
    for (const auto& figure : figures) {
      const Case c{"pool", figure.name, "f32", threads, "ns"};
      if (!suite.wants(c)) continue;
      std::vector<double> seconds;
      figure.measure(threads);
      pin_new_threads();
      for (int i = 0; i < 5 * suite.effort().rounds; ++i)
        seconds.push_back(figure.measure(threads));
      suite.print_times(c, seconds);
    }
  }
}

}  // namespace tandem::bench
