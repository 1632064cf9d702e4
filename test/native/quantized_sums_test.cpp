// addBytes and averagePoolBytes against integers: scales are powers of two, so that every number
// has one right value and results must be equal, on every instruction set.
#include "quantized_support.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

ops::ByteSteps random_steps(Random& random) {
  return {std::ldexp(1.0F, random.in(-4, 2)), random.in(0, 255)};
}

/// An operand as bytes in steps, or as floats that are multiples of 1/16, with what it stands for.
struct Values {
  std::vector<uint8_t> bytes;
  std::vector<float> floats;
  std::vector<double> numbers;
  ops::ByteSteps steps;

  Values(Random& random, int64_t n, bool as_bytes) : steps(random_steps(random)) {
    if (as_bytes) {
      bytes = random.list<uint8_t>(n, 0, 255);
      for (const uint8_t byte : bytes)
        numbers.push_back((byte - steps.zero) * static_cast<double>(steps.scale));
      return;
    }
    floats = random.list<float>(n, -2000, 2000);
    for (float& x : floats) x *= 0x1p-4F;
    numbers.assign(floats.begin(), floats.end());
  }
  void put(KernelHarness& kernel, const KernelHarness::Dims& dims) const {
    if (bytes.empty()) {
      kernel.input(dims, floats);
    } else {
      kernel.input(dims, bytes);
    }
  }
};

double byte_of(double value, const ops::ByteSteps& y) {
  const double steps = std::nearbyint(value / static_cast<double>(y.scale)) + y.zero;
  return std::clamp(steps, 0.0, 255.0);
}

void sum_case(const Isa& isa, Random& random, int64_t n, int form) {
  const Values a(random, n, (form & 1) != 0), b(random, n, (form & 2) != 0);
  ops::AddBytes::Attributes attributes;
  attributes.a = a.steps;
  attributes.b = b.steps;
  attributes.y = random_steps(random);
  attributes.to_bytes = (form & 4) != 0;
  attributes.relu = (form & 8) != 0;
  KernelHarness kernel(isa.launchers, Op::addBytes);
  kernel.attributes(attributes);
  a.put(kernel, {n});
  b.put(kernel, {n});
  kernel.output({n}, attributes.to_bytes ? DType::kUInt8 : DType::kFloat32);
  kernel.order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, attributes.to_bytes);
  for (size_t i = 0; i < found.size(); ++i) {
    double wanted = a.numbers[i] + b.numbers[i];
    if (attributes.relu) wanted = std::max(wanted, 0.0);
    CHECK(found[i] == (attributes.to_bytes ? byte_of(wanted, attributes.y) : wanted));
  }
}

TEST(sums_of_bytes_and_floats_are_exact) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(31)};
    for (const int64_t n : {1, 15, 64, 1003, 40000}) {
      for (int form = 0; form < 16; ++form) sum_case(isa, random, n, form);
    }
  }
}

struct AverageCase {
  int64_t images, rows, columns, channels;
  IntPair kernel, stride, padding;
};

void average_case(const Isa& isa, Random& random, const AverageCase& c, int form) {
  const Values x(random, c.images * c.rows * c.columns * c.channels, (form & 1) != 0);
  ops::AveragePoolBytes::Attributes attributes;
  attributes.kernel = c.kernel;
  attributes.stride = c.stride;
  attributes.padding = c.padding;
  attributes.x = x.steps;
  attributes.y = random_steps(random);
  attributes.to_bytes = (form & 2) != 0;
  const int64_t rows = (c.rows + 2 * c.padding.height - c.kernel.height) / c.stride.height + 1;
  const int64_t columns = (c.columns + 2 * c.padding.width - c.kernel.width) / c.stride.width + 1;
  KernelHarness kernel(isa.launchers, Op::averagePoolBytes);
  kernel.attributes(attributes);
  x.put(kernel, {c.images, c.rows, c.columns, c.channels});
  kernel.output({c.images, rows, columns, c.channels},
                attributes.to_bytes ? DType::kUInt8 : DType::kFloat32);
  kernel.order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, attributes.to_bytes);
  for (size_t i = 0; i < found.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t channel = at % c.channels, column = at / c.channels % columns;
    const int64_t row = at / c.channels / columns % rows, image = at / c.channels / columns / rows;
    double sum = 0;
    for (int64_t t = 0; t < c.kernel.height * c.kernel.width; ++t) {
      const int64_t r = row * c.stride.height - c.padding.height + t / c.kernel.width;
      const int64_t q = column * c.stride.width - c.padding.width + t % c.kernel.width;
      if (r < 0 || r >= c.rows || q < 0 || q >= c.columns) continue;
      const int64_t from = ((image * c.rows + r) * c.columns + q) * c.channels + channel;
      sum += x.numbers[static_cast<size_t>(from)];
    }
    const double wanted = sum / static_cast<double>(c.kernel.height * c.kernel.width);
    if (attributes.to_bytes) {
      CHECK(found[i] == byte_of(wanted, attributes.y));
    } else {
      CHECK_NEAR(found[i], wanted, 1e-6 * std::max(1.0, std::abs(wanted)));
    }
  }
}

// Means of 9 are rounded, and might be half way between two bytes before that: floats of them are
// compared alone.
TEST(averages_of_bytes_and_floats_are_exact) {
  const AverageCase cases[] = {{1, 2, 2, 1, {2, 2}, {2, 2}, {0, 0}},
                               {2, 9, 11, 35, {2, 2}, {2, 1}, {1, 0}},
                               {1, 12, 10, 16, {4, 8}, {3, 1}, {2, 4}},
                               {2, 8, 4, 70, {8, 4}, {8, 4}, {0, 0}},
                               {1, 7, 9, 5, {3, 3}, {2, 2}, {1, 1}}};
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(32)};
    for (const AverageCase& one : cases) {
      const int forms = one.kernel.height == 3 ? 2 : 4;
      for (int form = 0; form < forms; ++form) average_case(isa, random, one, form);
    }
  }
}

}  // namespace
