// rotary against sines and cosines in double precision: heads side by side, in place, both ways.
#include "core/ops/rotary.h"

#include <cmath>

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

std::vector<int32_t> along(int64_t outer, int64_t time) {
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < outer * time; ++i) positions.push_back(static_cast<int32_t>(i % time));
  return positions;
}

std::vector<double> refer(const std::vector<float>& x, const std::vector<int32_t>& positions,
                          int64_t width, const ops::Rotary::Attributes& a) {
  std::vector<double> y(x.begin(), x.end());
  const int64_t half = a.depth / 2;
  for (int64_t row = 0; row < static_cast<int64_t>(x.size()) / width; ++row) {
    for (int64_t head = 0; head < a.columns; head += a.depth) {
      for (int64_t i = 0; i < half; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(a.depth);
        double angle =
            static_cast<double>(positions[static_cast<size_t>(row)]) * std::pow(a.base, exponent);
        if (a.inverse) angle = -angle;
        const auto at = static_cast<size_t>(row * width + head + i);
        const auto first = static_cast<double>(x[at]);
        const auto second = static_cast<double>(x[at + static_cast<size_t>(half)]);
        y[at] = first * std::cos(angle) - second * std::sin(angle);
        y[at + static_cast<size_t>(half)] = first * std::sin(angle) + second * std::cos(angle);
      }
    }
  }
  return y;
}

void check_rotary(int64_t outer, int64_t time, int64_t width,
                  const ops::Rotary::Attributes& attributes) {
  const std::vector<int64_t> dims{outer, time, width};
  const auto x = random_floats(count_of(dims), 1);
  const auto expected = refer(x, along(outer, time), width, attributes);
  for (const Isa& isa : isas()) {
    for (const int over : {-1, 0}) {
      NodeRunner node(Op::rotary, attributes);
      node.input(dims, x).output(dims, over).run(isa);
      CHECK_NEAR(distance(node.result(), expected), 0.0, 2e-7);
    }
  }
}

}  // namespace

TEST(rotary_positions) {
  for (const bool inverse : {false, true}) {
    for (const int64_t depth : {2, 6, 16, 30, 34, 64, 100}) {
      check_rotary(2, 19, depth, {depth, depth, 10000, inverse});
      check_rotary(1, 9, 3 * depth, {depth, 2 * depth, 10000, inverse});
      check_rotary(3, 1, 3 * depth + 5, {depth, depth, 77, inverse});
    }
    check_rotary(1, 5000, 8, {8, 8, 10000, inverse});
    check_rotary(0, 7, 8, {8, 8, 10000, inverse});
    check_rotary(2, 0, 8, {8, 8, 10000, inverse});
  }
}

TEST(rotary_of_rows_with_positions_of_their_own) {
  for (const bool inverse : {false, true}) {
    const ops::Rotary::Attributes attributes{6, 12, 10000, inverse};
    const std::vector<int64_t> dims{11, 2, 14};
    std::vector<int32_t> positions(22);
    for (int32_t i = 0; i < 22; ++i) positions[i] = i * 37 % 23;
    const auto x = random_floats(count_of(dims), 1);
    const auto expected = refer(x, positions, 14, attributes);
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::rotary, attributes);
        node.input(dims, x).input({11, 2}, positions).output(dims, over).run(isa);
        CHECK_NEAR(distance(node.result(), expected), 0.0, 2e-7);
      }
    }
  }
}
