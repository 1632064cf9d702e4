// quantizedLstm and quantizedGru against sums of integers, step by step.
#include "quantized_support.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"
#include "node_runner.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

struct RecurrentCase {
  int64_t batch, time, units, gates;  // gates: 4 of lstm, 3 of gru
};

KernelHarness recurrence(const Isa& isa, const RecurrentCase& c, const Weights& w,
                         const std::vector<float>& x, const std::vector<float>& bias) {
  KernelHarness kernel(isa.launchers, c.gates == 4 ? Op::quantizedLstm : Op::quantizedGru);
  kernel.attributes(ops::ByteWeight{0, w.scales.data()});
  kernel.input({c.batch, c.time, c.gates * c.units}, x);
  w.freeze(kernel, {c.gates * c.units, c.units}, c.batch % 2 == 1);
  if (c.gates == 3) kernel.input({c.gates * c.units}, bias);
  kernel.output({c.batch, c.time, c.units}).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  return kernel;
}

/// The states' part of all gates' sums: the product of quantizedLinear, which is exact.
std::vector<float> recurrent_sums(const Isa& isa, const RecurrentCase& c, const Weights& w,
                                  const std::vector<float>& states) {
  ops::QuantizedProduct product;
  product.mode = QuantizationMode::kDynamic;
  product.weight_scales = w.scales.data();
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(product).input({c.batch, c.units}, states);
  kernel.frozen_input({c.gates * c.units, c.units}, w.floats);
  kernel.output({c.batch, c.gates * c.units}).run();
  return kernel.floats(0);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Compares step by step: the sums that the states found before give, in integers, and the gates of
/// them in double precision.
void recurrent_case(const Isa& isa, Random& random, const RecurrentCase& c) {
  Weights w(random, c.gates * c.units, c.units);
  for (float& scale : w.scales) scale *= 0x1p-6F;
  for (float& value : w.floats) value *= 0x1p-6F;
  const auto x = random_floats(c.batch * c.time * c.gates * c.units, 7, -2.0F, 2.0F);
  const auto bias = random_floats(c.gates * c.units, 8);
  const std::vector<float> y = recurrence(isa, c, w, x, bias).floats(0);
  std::vector<float> states(static_cast<size_t>(c.batch * c.units), 0.0F);
  std::vector<double> cells(states.size(), 0.0);
  for (int64_t t = 0; t < c.time; ++t) {
    const std::vector<float> sums = recurrent_sums(isa, c, w, states);
    for (int64_t i = 0; i < c.batch * c.units; ++i) {
      const int64_t row = i / c.units, unit = i % c.units;
      const auto at = static_cast<size_t>(i);
      const auto of_x = [&](int64_t gate) {
        const int64_t from = ((row * c.time + t) * c.gates + gate) * c.units + unit;
        return static_cast<double>(x[static_cast<size_t>(from)]);
      };
      const auto of_state = [&](int64_t gate) {
        const int64_t from = gate * c.units + unit;
        const auto sum =
            static_cast<double>(sums[static_cast<size_t>(row * c.gates * c.units + from)]);
        return c.gates == 4 ? sum : sum + static_cast<double>(bias[static_cast<size_t>(from)]);
      };
      double wanted = 0;
      if (c.gates == 4) {
        cells[at] = sigmoid(of_x(1) + of_state(1)) * cells[at] +
                    sigmoid(of_x(0) + of_state(0)) * std::tanh(of_x(2) + of_state(2));
        wanted = sigmoid(of_x(3) + of_state(3)) * std::tanh(cells[at]);
      } else {
        const double update = sigmoid(of_x(1) + of_state(1));
        const double reset = sigmoid(of_x(0) + of_state(0));
        wanted = (1 - update) * std::tanh(of_x(2) + reset * of_state(2)) +
                 update * static_cast<double>(states[at]);
      }
      const float found = y[static_cast<size_t>((row * c.time + t) * c.units + unit)];
      CHECK_NEAR(found, wanted, 2e-6);
    }
    for (int64_t i = 0; i < c.batch * c.units; ++i) {
      const int64_t from = (i / c.units * c.time + t) * c.units + i % c.units;
      states[static_cast<size_t>(i)] = y[static_cast<size_t>(from)];
    }
  }
}

TEST(recurrences_of_bytes_sum_up_in_integers) {
  const RecurrentCase cases[] = {{1, 5, 3, 4},   {1, 4, 5, 3},  {11, 3, 17, 4}, {9, 4, 33, 3},
                                 {20, 2, 64, 4}, {3, 3, 70, 3}, {11, 3, 66, 4}, {5, 2, 130, 3}};
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(20)};
    for (const RecurrentCase& c : cases) recurrent_case(isa, random, c);
  }
}

}  // namespace
