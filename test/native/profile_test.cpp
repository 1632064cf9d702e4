// What a Predictor remembers of its latencies.
#include "core/profile.h"

#include <limits>
#include <vector>

#include "check.h"

using tandem::LatencyWindow;

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
