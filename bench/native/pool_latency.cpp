// What it costs to call the threads together: a dispatch of the pool that does nothing, while its
// threads are awake and after they went to sleep, and a barrier within a dispatch.
#include <chrono>
#include <thread>

#include "cpu/pool.h"
#include "suite.h"

namespace tandem::bench {
namespace {

constexpr int kDispatches = 1000;
constexpr int kBarriers = 1000;

void nothing(void* /*context*/, int /*worker*/, int /*workers*/) {}

void many_barriers(void* context, int /*worker*/, int workers) {
  auto& barrier = *static_cast<cpu::Barrier*>(context);
  for (int i = 0; i < kBarriers; ++i) barrier.wait(workers);
}

double dispatch_awake(int threads) {
  const double start = now();
  for (int i = 0; i < kDispatches; ++i) cpu::Pool::instance().run(threads, nothing, nullptr);
  return (now() - start) / kDispatches;
}

double dispatch_asleep(int threads) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const double start = now();
  cpu::Pool::instance().run(threads, nothing, nullptr);
  return now() - start;
}

double barrier(int threads) {
  cpu::Barrier meeting;
  const double start = now();
  cpu::Pool::instance().run(threads, many_barriers, &meeting);
  return (now() - start) / kBarriers;
}

}  // namespace

void run_pool(const Suite& suite) {
  const struct {
    const char* name;
    double (*measure)(int threads);
  } figures[] = {{"dispatch, threads awake", dispatch_awake},
                 {"dispatch, threads asleep", dispatch_asleep},
                 {"barrier", barrier}};
  for (const int threads : suite.options().threads) {
    if (threads == 1) continue;
    for (const auto& figure : figures) {
      const Case c{"pool", figure.name, "f32", threads, "ns"};
      if (!suite.wants(c)) continue;
      std::vector<double> seconds;
      figure.measure(threads);
      for (int i = 0; i < 5 * suite.effort().rounds; ++i)
        seconds.push_back(figure.measure(threads));
      suite.print_times(c, seconds);
    }
  }
}

}  // namespace tandem::bench
