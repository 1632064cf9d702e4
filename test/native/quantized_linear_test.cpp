// quantizedLinear against sums of integers: scales are powers of two, so that every number has one
// right value and results must be equal, on every instruction set.
#include "quantized_support.h"

#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

void linear_case(const Isa& isa, Random& random, const Weights& w, int64_t m, int64_t n,
                 int64_t k) {
  ops::QuantizedProduct p = random_product(random);
  p.weight_scales = w.scales.data();
  const auto x = random.list<uint8_t>(m * k, 0, 255);
  const bool biased = random.in(0, 1) == 1;
  const std::vector<float> bias = biases(random, n);
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(p).input({m, k}, x);
  // -128 occurs in files alone: what floats become ends at -127
  const bool lowest = std::ranges::find(w.numbers, -128) != w.numbers.end();
  w.freeze(kernel, {n, k}, random.in(0, 1) == 1 || lowest);
  if (biased) kernel.input({n}, bias);
  kernel.output({m, n}, type_of(p)).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      int64_t sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += (x[static_cast<size_t>(i * k + l)] - p.x_zero) *
               w.numbers[static_cast<size_t>(j * k + l)];
      double value = static_cast<double>(sum) * static_cast<double>(kXScale) *
                     static_cast<double>(w.scales[static_cast<size_t>(j)]);
      if (biased) value += static_cast<double>(bias[static_cast<size_t>(j)]);
      CHECK(found[static_cast<size_t>(i * n + j)] == result_of(p, value));
    }
  }
}

TEST(quantized_linear_is_exact) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(11)};
    const int64_t sizes[][3] = {{1, 1, 1},     {1, 10, 64},   {3, 33, 65},  {17, 40, 30},
                                {64, 7, 127},  {2, 130, 258}, {40, 64, 96}, {16, 31, 65},
                                {33, 16, 131}, {47, 49, 200}};
    for (const auto& [m, n, k] : sizes) {
      for (int i = 0; i < 4; ++i) linear_case(isa, random, Weights(random, n, k), m, n, k);
    }
  }
}

/// Sums of columns that 16 bits just hold, or no longer.
TEST(quantized_linear_is_exact_with_the_largest_weights) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(15)};
    for (const int64_t k : {255, 256, 257, 258, 300}) {
      for (int i = 0; i < 4; ++i) {
        for (const int32_t number : {127, -127, -128})
          linear_case(isa, random, Weights(number, 37, k), 3, 37, k);
      }
    }
  }
}

/// Rows of whole numbers from -100 to 155, both of which occur: their scale is 1.
std::vector<float> whole_rows(Random& random, int64_t m, int64_t k) {
  std::vector<float> x = random.list<float>(m * k, -100, 155);
  for (int64_t i = 0; i < m; ++i) {
    x[static_cast<size_t>(i * k)] = 155;
    x[static_cast<size_t>(i * k + k - 1)] = -100;
  }
  return x;
}

void float_input_case(const Isa& isa, Random& random, QuantizationMode mode, int64_t m, int64_t n,
                      int64_t k, bool adds = false) {
  ops::QuantizedProduct p = random_product(random);
  p.mode = mode;
  if (mode == QuantizationMode::kWeights || adds) p.to_bytes = false;
  const Weights w(random, n, k);
  p.weight_scales = w.scales.data();
  const std::vector<float> x = whole_rows(random, m, k);
  const std::vector<float> bias = biases(random, n);
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(p).input({m, k}, x);
  w.freeze(kernel, {n, k}, random.in(0, 1) == 1);
  kernel.input({n}, bias);
  const std::vector<float> residual = random.list<float>(adds ? m * n : 0, -20, 20);
  if (adds) kernel.input({m, n}, residual);
  kernel.output({m, n}, type_of(p)).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double value = static_cast<double>(bias[static_cast<size_t>(j)]);
      for (int64_t l = 0; l < k; ++l)
        value += static_cast<double>(x[static_cast<size_t>(i * k + l)]) *
                 static_cast<double>(w.floats[static_cast<size_t>(j * k + l)]);
      if (adds) value += static_cast<double>(residual[static_cast<size_t>(i * n + j)]);
      CHECK(found[static_cast<size_t>(i * n + j)] == result_of(p, value));
    }
  }
}

TEST(quantized_linear_of_rows_with_their_own_ranges_is_exact) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(12)};
    const int64_t sizes[][3] = {{1, 10, 64},   {5, 33, 67},   {19, 70, 30},
                                {1, 200, 129}, {300, 40, 33}, {33, 17, 131}};
    for (const auto& [m, n, k] : sizes) {
      for (int i = 0; i < 2; ++i) {
        float_input_case(isa, random, QuantizationMode::kDynamic, m, n, k);
        float_input_case(isa, random, QuantizationMode::kWeights, m, n, k);
        float_input_case(isa, random, QuantizationMode::kDynamic, m, n, k, true);
        float_input_case(isa, random, QuantizationMode::kWeights, m, n, k, true);
      }
    }
  }
}

}  // namespace
