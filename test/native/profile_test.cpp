// What a Predictor remembers of its latencies, and that whoever asks does not wait for a plan.
#include "core/profile.h"

#include <chrono>
#include <future>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "core/predictor.h"
#include "cpu_device.h"
#include "training_support.h"

using namespace tandem;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int due_of(LatencyWindow& window, int runs, double milliseconds) {
  int due = 0;
  for (int i = 0; i < runs; ++i) {
    if (!window.due()) continue;
    ++due;
    window.note(milliseconds);
  }
  return due;
}

/// Once `slow`, compiles a plan of three rows for as long as the test wants.
struct SlowCompiler final : CpuDevice {
  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    auto executable = CpuDevice::compile(request);
    const Graph& graph = request.plan.graph;
    if (slow && graph.tensor(graph.inputs.front()).dims[0] == 3) {
      compiling.set_value();
      go_on.get_future().wait();
    }
    return executable;
  }
  bool slow = false;
  mutable std::promise<void> compiling, go_on;
};

}  // namespace

TEST(latencies_of_brief_runs_are_noted_now_and_then) {
  LatencyWindow window;
  CHECK(due_of(window, 161, 0.001) == 11);
  CHECK(due_of(window, 16, 1.0) == 1);  // the first of them still counts as brief
  CHECK(due_of(window, 10, 1.0) == 10);
  std::vector<float> samples;
  window.collect(samples);
  CHECK(samples.size() == 22);
}

TEST(latencies_run_what_they_time) {
  LatencyWindow window;
  int runs = 0;
  for (int i = 0; i < 100; ++i) window.time([&] { ++runs; });
  CHECK(runs == 100);
  CHECK(window.expected_ms() < kInfinity);
}

TEST(latencies_expect_the_least_and_forget_it) {
  LatencyWindow window;
  CHECK(window.expected_ms() == kInfinity);
  window.note(30);  // with compiling
  window.note(0.02);
  CHECK_NEAR(window.expected_ms(), 0.02, 1e-9);
  window.note(3);  // an interruption
  CHECK(window.expected_ms() < 0.03);
  for (int i = 0; i < 100; ++i) window.note(3);
  CHECK_NEAR(window.expected_ms(), 3, 1e-9);
  window.expect_anew();
  CHECK(window.expected_ms() == kInfinity);
  CHECK(window.due());
}

TEST(profile_of_a_predictor_waits_for_no_plan_that_is_compiled) {
  const GraphDescription d = classifier("relu", 24, 32, 10, false);
  const ParameterStore store(d.parameters, 4);
  SlowCompiler device;
  Predictor predictor(store, d, 1, 8, device);
  device.slow = true;
  Predictor::Session session(predictor);
  const std::vector<float> x(8 * 24);
  std::vector<float> out(8 * 10);
  session.run(2, {x.data()}, {out.data()});
  const MemoryUse before = predictor.profile().memory;
  std::thread lane([&] {
    std::vector<float> three(3 * 10);
    session.run(3, {x.data()}, {three.data()});
  });
  device.compiling.get_future().wait();
  auto asked = std::async(std::launch::async, [&] {
    const Predictor::Session another(predictor);
    return predictor.profile();
  });
  const bool answered = asked.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
  device.go_on.set_value();
  lane.join();
  CHECK(answered);
  CHECK(asked.get().memory.total() == before.total());
  CHECK(predictor.profile().batch == 3);
}
