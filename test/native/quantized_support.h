// What the tests of quantized ops have in common: whole numbers that bytes hold, with scales that
// are powers of two, so that every number has one right value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "core/ops/quantized.h"
#include "kernel_harness.h"

namespace tandem::cpu {

inline constexpr float kXScale = 0x1p-3F;

struct Random {
  std::mt19937 engine;
  int in(int low, int high) {
    return low + static_cast<int>(engine() % static_cast<uint32_t>(high - low + 1));
  }
  template <typename T>
  std::vector<T> list(int64_t n, int low, int high) {
    std::vector<T> v(static_cast<size_t>(n));
    for (T& x : v) x = static_cast<T>(in(low, high));
    return v;
  }
};

/// Whole numbers that bytes hold, and the scales that make weights of them.
struct Weights {
  std::vector<int32_t> numbers;
  std::vector<float> scales, floats;
  Weights(Random& random, int64_t rows, int64_t columns)
      : numbers(random.list<int32_t>(rows * columns, -127, 127)) {
    for (int64_t i = 0; i < rows; ++i) scales.push_back(std::ldexp(1.0F, -random.in(3, 6)));
    for (size_t i = 0; i < numbers.size(); ++i)
      floats.push_back(static_cast<float>(numbers[i]) * scales[i / static_cast<size_t>(columns)]);
  }
  /// All the same.
  Weights(int32_t number, int64_t rows, int64_t columns)
      : numbers(static_cast<size_t>(rows * columns), number),
        scales(static_cast<size_t>(rows), 0.125F),
        floats(numbers.size(), static_cast<float>(number) * 0.125F) {}
  /// As floats, or as the bytes that a quantized file holds.
  void freeze(KernelHarness& kernel, const KernelHarness::Dims& dims, bool as_bytes) const {
    if (as_bytes) {
      kernel.frozen_input(dims, std::vector<uint8_t>(numbers.begin(), numbers.end()));
    } else {
      kernel.frozen_input(dims, floats);
    }
  }
};

/// act(value), in floats or as a byte.
inline double result_of(const ops::QuantizedProduct& p, double value) {
  if (p.activation == static_cast<int32_t>(Op::relu)) value = std::max(value, 0.0);
  if (p.activation == static_cast<int32_t>(Op::leakyRelu) && value < 0)
    value *= static_cast<double>(p.activation_attributes.a);
  if (!p.to_bytes) return value;
  const double steps = std::nearbyint(value / static_cast<double>(p.y_scale)) + p.y_zero;
  return std::clamp(steps, 0.0, 255.0);
}

inline std::vector<double> results(const KernelHarness& kernel, bool bytes) {
  if (bytes) {
    const std::vector<uint8_t> all = kernel.bytes(0);
    return {all.begin(), all.end()};
  }
  const std::vector<float> all = kernel.floats(0);
  return {all.begin(), all.end()};
}

inline ops::QuantizedProduct random_product(Random& random) {
  ops::QuantizedProduct p;
  const Op activations[] = {Op::relu, Op::leakyRelu};
  if (random.in(0, 2) > 0) p.activation = static_cast<int32_t>(activations[random.in(0, 1)]);
  p.activation_attributes = {0.25F, 0.0F};
  p.x_scale = kXScale;
  p.x_zero = random.in(0, 255);
  p.to_bytes = random.in(0, 1) == 1;
  p.y_scale = std::ldexp(1.0F, random.in(-2, 4));
  p.y_zero = random.in(0, 255);
  return p;
}

inline std::vector<float> biases(Random& random, int64_t n) {
  std::vector<float> bias = random.list<float>(n, -500, 500);
  for (float& b : bias) b *= 0x1p-4F;
  return bias;
}

inline DType type_of(const ops::QuantizedProduct& p) {
  return p.to_bytes ? DType::kUInt8 : DType::kFloat32;
}

}  // namespace tandem::cpu
