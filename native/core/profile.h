// What a Trainer or a Predictor costs, as measured and as allocated.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/graph.h"

namespace tandem {

/// Bytes as allocated.
struct MemoryUse {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;
  int64_t workspace = 0;
  [[nodiscard]] int64_t total() const {
    return parameters + gradients + optimizer + activations + workspace;
  }
};

struct Profile {
  double flops = 0;
  int64_t batch = 0;
  MemoryUse memory;
  double p50_ms = 0;
  double p99_ms = 0;
  std::string device;
  std::string device_reason;  ///< why it is not the GPU that was preferred; empty where it is
  std::vector<std::string> kernels;
};

/// Floating-point operations of one run of the graph: 2 m n k for a product, one an element and
/// reader otherwise.
double count_flops(const Graph& graph);

/// The most recent latencies of one thread's runs; any thread may read them meanwhile.
class LatencyWindow {
 public:
  void add(double milliseconds) noexcept;
  /// Whether the next run is to be timed and noted. Reading the clock twice takes a fifth of the
  /// smallest runs: of brief ones only a few are.
  [[nodiscard]] bool due() noexcept { return untimed_ == 0 || --untimed_ == 0; }
  /// Adds what such a run took, and expects the like of the next.
  void note(double milliseconds) noexcept;
  /// Runs `run`, and notes what it takes when that is due.
  template <typename Run>
  void time(const Run& run);
  /// What a run is expected to take: the least of the recent ones, by and by forgotten. Infinity
  /// before the first. For the thread that runs.
  [[nodiscard]] double expected_ms() const noexcept { return expected_ms_; }
  /// The next run is of another kind.
  void expect_anew() noexcept {
    untimed_ = 0;
    expected_ms_ = std::numeric_limits<double>::infinity();
  }
  /// Appends what is in the window.
  void collect(std::vector<float>& samples) const;

 private:
  static constexpr size_t kSize = 1024;
  std::array<std::atomic<float>, kSize> samples_{};
  std::atomic<size_t> count_{0};
  int untimed_ = 0;  ///< runs until the next that is timed; 0: every one is
  double expected_ms_ = std::numeric_limits<double>::infinity();
};

/// The smallest sample that a share `p` of them does not exceed; 0 without samples.
double percentile(std::vector<float> samples, double p);

/// A clock reading at the start of a run and the difference at its end.
class Stopwatch {
 public:
  [[nodiscard]] double milliseconds() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

template <typename Run>
void LatencyWindow::time(const Run& run) {
  if (!due()) return run();
  const Stopwatch stopwatch;
  run();
  note(stopwatch.milliseconds());
}

}  // namespace tandem
