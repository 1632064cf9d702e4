// What a Trainer or a Predictor costs, as measured and as allocated.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
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
  std::vector<std::string> kernels;
};

/// Floating-point operations of one run of the graph: 2 m n k for a product, one an element and
/// reader otherwise.
double count_flops(const Graph& graph);

/// The most recent latencies of one thread's runs; any thread may read them meanwhile.
class LatencyWindow {
 public:
  void add(double milliseconds) noexcept;
  /// Appends what is in the window.
  void collect(std::vector<float>& samples) const;

 private:
  static constexpr size_t kSize = 1024;
  std::array<std::atomic<float>, kSize> samples_{};
  std::atomic<size_t> count_{0};
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

}  // namespace tandem
