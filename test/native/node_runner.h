// One node on one instruction set after another: a KernelHarness that is made anew for each, runs
// its tiles in two orders, on scratch of NaN and of zeros, and must give the same bits and leave
// everything else alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"
#include "kernel_harness.h"

namespace tandem::cpu {

class NodeRunner {
 public:
  template <typename Attributes>
  NodeRunner(Op op, const Attributes& attributes) : op_(op) {
    setup_.emplace_back([attributes](KernelHarness& h) { h.attributes(attributes); });
  }

  template <typename T>
  NodeRunner& input(const std::vector<int64_t>& dims, const std::vector<T>& values,
                    bool changes = false) {
    setup_.emplace_back([=](KernelHarness& h) {
      if (changes) {
        h.changing_input(dims, values);
      } else {
        h.input(dims, values);
      }
    });
    return *this;
  }
  NodeRunner& no_input() {
    setup_.emplace_back([](KernelHarness& h) { h.missing_input(); });
    return *this;
  }
  /// An output; over the memory of input `over` unless that is -1.
  NodeRunner& output(const std::vector<int64_t>& dims, int over = -1) {
    ++outputs_;
    setup_.emplace_back([=](KernelHarness& h) {
      if (over < 0) {
        h.output(dims);
      } else {
        h.output_over(static_cast<size_t>(over));
      }
    });
    return *this;
  }

  /// With `state`, what the kernel makes of it is written back.
  void run(const Isa& isa, StepState* state = nullptr) {
    run_once(isa, state, TileOrder::kShuffled);
    std::vector<std::vector<int32_t>> first(outputs_);
    for (size_t i = 0; i < outputs_; ++i) first[i] = result_bits(i);
    const StepState after = run_once(isa, state, TileOrder::kReverse);
    for (size_t i = 0; i < outputs_; ++i) CHECK(result_bits(i) == first[i]);
    if (state != nullptr) *state = after;
  }

  [[nodiscard]] std::vector<float> result(size_t index = 0) const {
    return harness_->floats(index);
  }
  [[nodiscard]] std::vector<int32_t> result_bits(size_t index = 0) const {
    return harness_->ints(index);
  }
  [[nodiscard]] std::vector<float> input_now(size_t index) const {
    return harness_->input_floats(index);
  }

 private:
  StepState run_once(const Isa& isa, const StepState* state, TileOrder order) {
    harness_ = std::make_unique<KernelHarness>(isa.launchers, op_);
    for (const auto& step : setup_) step(*harness_);
    if (state != nullptr) harness_->state() = *state;
    harness_->order(order).scratch_of(order == TileOrder::kReverse ? 0 : 0xff);
    harness_->run();
    CHECK(harness_->clean());
    return harness_->state();
  }

  Op op_;
  size_t outputs_ = 0;
  std::vector<std::function<void(KernelHarness&)>> setup_;
  std::unique_ptr<KernelHarness> harness_;
};

inline int64_t count_of(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  return n;
}

inline std::vector<float> random_floats(int64_t n, uint32_t seed, float low = -1.0F,
                                        float high = 1.0F) {
  std::mt19937 engine(seed);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
  return v;
}

/// As bfloat16: to nearest with eight significant bits, halves to even.
inline double rounded(float value) {
  int exponent = 0;
  const double fraction = std::frexp(static_cast<double>(value), &exponent);
  return std::ldexp(std::nearbyint(fraction * 256), exponent - 8);
}

/// |a - b| / |b| by Euclidean norm; not finite where one has a NaN or an infinity and the other
/// not.
inline double distance(const std::vector<float>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    if (x == b[i] || (std::isnan(x) && std::isnan(b[i]))) {
      norm += std::isfinite(x) ? x * x : 0;
      continue;
    }
    difference += (x - b[i]) * (x - b[i]);
    norm += b[i] * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / (norm > 0 ? norm : 1));
}

}  // namespace tandem::cpu
