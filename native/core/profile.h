// What a Trainer or a Predictor costs, as measured and as allocated.
#pragma once

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

/// The most recent latencies, for percentiles.
class LatencyWindow {
 public:
  void add(double milliseconds);
  [[nodiscard]] double percentile(double p) const;

 private:
  std::vector<float> samples_;
  size_t next_ = 0;
};

}  // namespace tandem
