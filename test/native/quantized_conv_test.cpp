// quantizedConv against sums of integers: scales are powers of two, so that every number has one
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

struct ConvCase {
  int64_t images, channels, rows, columns, out, tap_rows, tap_columns;
  ops::ConvAttributes conv;
};

void conv_case(const Isa& isa, Random& random, const ConvCase& c) {
  ops::QuantizedConv::Attributes attributes{random_product(random), c.conv};
  ops::QuantizedProduct& p = attributes.product;
  const int64_t taps = c.tap_rows * c.tap_columns;
  const int64_t each = c.channels / c.conv.groups;  // channels of a group
  const Weights w(random, c.out, each * taps);
  p.weight_scales = w.scales.data();
  const auto x = random.list<uint8_t>(c.images * c.rows * c.columns * c.channels, 0, 255);
  const std::vector<float> bias = biases(random, c.out);
  const IntPair stride = c.conv.stride, padding = c.conv.padding, dilation = c.conv.dilation;
  const auto positions = [](int64_t size, int64_t tap, int64_t step, int64_t pad, int64_t apart) {
    return (size + 2 * pad - apart * (tap - 1) - 1) / step + 1;
  };
  const int64_t y_rows =
      positions(c.rows, c.tap_rows, stride.height, padding.height, dilation.height);
  const int64_t y_columns =
      positions(c.columns, c.tap_columns, stride.width, padding.width, dilation.width);
  KernelHarness kernel(isa.launchers, Op::quantizedConv);
  kernel.attributes(attributes).input({c.images, c.rows, c.columns, c.channels}, x);
  w.freeze(kernel, {c.out, each, c.tap_rows, c.tap_columns}, random.in(0, 1) == 1);
  kernel.input({c.out}, bias)
      .output({c.images, y_rows, y_columns, c.out}, type_of(p))
      .order(TileOrder::kShuffled)
      .run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  const auto sum_at = [&](int64_t image, int64_t row, int64_t column, int64_t o) {
    int64_t sum = 0;
    const int64_t first = o / (c.out / c.conv.groups) * each;
    for (int64_t i = 0; i < each; ++i)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t r =
            row * stride.height - padding.height + t / c.tap_columns * dilation.height;
        const int64_t q =
            column * stride.width - padding.width + t % c.tap_columns * dilation.width;
        if (r < 0 || r >= c.rows || q < 0 || q >= c.columns) continue;
        const int64_t at = ((image * c.rows + r) * c.columns + q) * c.channels + first + i;
        sum += (x[static_cast<size_t>(at)] - p.x_zero) *
               w.numbers[static_cast<size_t>((o * each + i) * taps + t)];
      }
    return sum;
  };
  size_t next = 0;
  for (int64_t image = 0; image < c.images; ++image)
    for (int64_t row = 0; row < y_rows; ++row)
      for (int64_t column = 0; column < y_columns; ++column)
        for (int64_t o = 0; o < c.out; ++o) {
          const auto at = static_cast<size_t>(o);
          const double value = static_cast<double>(sum_at(image, row, column, o)) *
                                   static_cast<double>(kXScale) *
                                   static_cast<double>(w.scales[at]) +
                               static_cast<double>(bias[at]);
          CHECK(found[next++] == result_of(p, value));
        }
}

TEST(quantized_conv_is_exact) {
  const ConvCase cases[] = {
      {1, 1, 9, 7, 5, 3, 3, {{1, 1}, {1, 1}, {1, 1}}},
      {2, 3, 11, 13, 33, 3, 3, {{1, 1}, {1, 1}, {1, 1}}},
      {1, 5, 12, 10, 8, 5, 3, {{2, 3}, {2, 0}, {1, 1}}},
      {2, 4, 9, 9, 40, 1, 1, {{1, 1}, {0, 0}, {1, 1}}},
      {1, 16, 8, 9, 17, 3, 3, {{1, 1}, {2, 2}, {2, 2}}},
      {3, 6, 1, 21, 7, 1, 4, {{1, 2}, {0, 3}, {1, 1}}},
      {1, 2, 3, 3, 4, 3, 3, {{1, 1}, {3, 3}, {1, 1}}},
      {1, 23, 9, 8, 17, 3, 3, {{1, 1}, {1, 1}, {1, 1}}},
      {2, 68, 5, 7, 33, 1, 1, {{1, 1}, {0, 0}, {1, 1}}},
      {1, 67, 7, 5, 16, 1, 1, {{1, 1}, {0, 0}, {1, 1}}},
  };
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(13)};
    for (const ConvCase& one : cases) {
      for (int i = 0; i < 3; ++i) conv_case(isa, random, one);
    }
  }
}

TEST(quantized_conv_in_groups_is_exact) {
  const auto groups = [](int64_t count, IntPair stride = {1, 1}, IntPair padding = {1, 1},
                         IntPair dilation = {1, 1}) {
    return ops::ConvAttributes{stride, padding, dilation, {0, 0}, count};
  };
  const ConvCase cases[] = {
      {1, 6, 9, 7, 6, 3, 3, groups(6)},
      {2, 35, 8, 9, 35, 3, 3, groups(35, {2, 1})},
      {1, 3, 7, 8, 12, 5, 3, groups(3, {1, 1}, {2, 0})},
      {1, 16, 8, 9, 16, 3, 3, groups(16, {1, 2}, {2, 2}, {2, 3})},
      {1, 2, 3, 3, 2, 3, 3, groups(2, {1, 1}, {3, 3})},
      {3, 6, 1, 21, 6, 1, 4, groups(6, {1, 2}, {0, 3})},
      {2, 8, 9, 9, 12, 3, 3, groups(2)},
      {1, 12, 5, 5, 8, 1, 1, groups(4, {1, 1}, {0, 0})},
      {2, 16, 6, 7, 40, 1, 1, groups(4, {1, 1}, {0, 0})},
      {1, 136, 5, 7, 34, 1, 1, groups(2, {1, 1}, {0, 0})},
      {1, 12, 8, 9, 6, 3, 3, groups(3, {2, 2}, {2, 2}, {2, 2})},
  };
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(18)};
    for (const ConvCase& one : cases) {
      for (int i = 0; i < 3; ++i) conv_case(isa, random, one);
    }
  }
}

}  // namespace
