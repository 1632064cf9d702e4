// Pooling and its gradients against plain loops; maxPool2d of windows of 2 x 2 side by side has a
// kernel of its own.
#include "core/ops/pooling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

struct Pool {
  Dims x;
  IntPair kernel, stride, padding;
};

void check_pool(const Pool& c, const std::vector<float>& x) {
  const auto positions = [](int64_t size, int64_t k, int64_t s, int64_t p) {
    return (size + 2 * p - k) / s + 1;
  };
  const int64_t rows = positions(c.x[2], c.kernel.height, c.stride.height, c.padding.height);
  const int64_t columns = positions(c.x[3], c.kernel.width, c.stride.width, c.padding.width);
  const Dims y{c.x[0], c.x[1], rows, columns};
  const int64_t plane = c.x[2] * c.x[3];
  const auto dy = random_floats(count_of(y), 7);
  std::vector<double> largest, mean, largest_dx(x.size()), mean_dx(x.size());
  std::vector<int32_t> places;
  largest.reserve(dy.size());
  mean.reserve(dy.size());
  places.reserve(dy.size());
  const double area = static_cast<double>(c.kernel.height * c.kernel.width);
  for (int64_t o = 0; o < count_of(y); ++o) {
    const int64_t base = o / (rows * columns) * plane;
    const int64_t top = o / columns % rows * c.stride.height - c.padding.height;
    const int64_t left = o % columns * c.stride.width - c.padding.width;
    const double gradient = static_cast<double>(dy[static_cast<size_t>(o)]);
    int64_t best = -1;
    double sum = 0;
    for (int64_t r = std::max<int64_t>(top, 0); r < std::min(top + c.kernel.height, c.x[2]); ++r) {
      for (int64_t q = std::max<int64_t>(left, 0); q < std::min(left + c.kernel.width, c.x[3]);
           ++q) {
        const auto at = static_cast<size_t>(base + r * c.x[3] + q);
        if (best < 0 || x[at] > x[static_cast<size_t>(best)] || std::isnan(x[at]))
          best = static_cast<int64_t>(at);
        sum += static_cast<double>(x[at]);
        mean_dx[at] += gradient / area;
      }
    }
    largest.push_back(static_cast<double>(x[static_cast<size_t>(best)]));
    largest_dx[static_cast<size_t>(best)] += gradient;
    places.push_back(static_cast<int32_t>(best - base));
    mean.push_back(sum / area);
  }
  const ops::PoolAttributes attributes{c.kernel, c.stride, c.padding, {c.x[2], c.x[3]}, true};
  ops::PoolAttributes values = attributes;
  values.save_indices = false;
  for (const Isa& isa : isas()) {
    NodeRunner both(Op::maxPool2d, attributes);
    both.input(c.x, x).output(y).output(y).run(isa);
    CHECK_NEAR(distance(both.result(), largest), 0.0, 0.0);
    CHECK(both.result_bits(1) == places);
    NodeRunner alone(Op::maxPool2d, values);
    alone.input(c.x, x).output(y).run(isa);
    CHECK(alone.result_bits() == both.result_bits());
    NodeRunner back(Op::maxPool2dGrad, attributes);
    back.input(y, dy).input(y, places).output(c.x).run(isa);
    CHECK_NEAR(distance(back.result(), largest_dx), 0.0, 1e-6);
    NodeRunner average(Op::avgPool2d, values);
    average.input(c.x, x).output(y).run(isa);
    CHECK_NEAR(distance(average.result(), mean), 0.0, 1e-6);
    NodeRunner average_back(Op::avgPool2dGrad, values);
    average_back.input(y, dy).output(c.x).run(isa);
    CHECK_NEAR(distance(average_back.result(), mean_dx), 0.0, 1e-6);
  }
}

const std::vector<Pool>& pools() {
  static const std::vector<Pool> all = {
      {{2, 3, 8, 12}, {2, 2}, {2, 2}, {0, 0}},  {{1, 2, 28, 28}, {2, 2}, {2, 2}, {0, 0}},
      {{2, 3, 11, 10}, {3, 3}, {2, 2}, {1, 1}}, {{3, 5, 7, 33}, {3, 5}, {1, 1}, {1, 2}},
      {{1, 1, 9, 70}, {2, 4}, {3, 5}, {1, 0}},  {{2, 1, 5, 5}, {5, 5}, {5, 5}, {0, 0}},
      {{1, 3, 1, 19}, {1, 2}, {1, 2}, {0, 1}},  {{1, 2, 67, 65}, {2, 2}, {2, 2}, {0, 0}},
  };
  return all;
}

}  // namespace

TEST(pooling) {
  for (const Pool& pool : pools()) check_pool(pool, random_floats(count_of(pool.x), 8));
}

TEST(pooling_of_ties_infinities_and_nan) {
  for (const Pool& pool : pools()) {
    auto x = random_floats(count_of(pool.x), 9);
    for (float& v : x) v = v > 0.5F ? 1.0F : v < -0.9F ? NAN : v < -0.5F ? -INFINITY : 0.0F;
    check_pool(pool, x);
  }
}

TEST(max_pool_of_pairs_takes_the_largest_and_keeps_nan) {
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {2, 2}, {3, 5}, {28, 28}, {6, 33}, {4, 64}, {5, 67}, {2, 31}}) {
    const int64_t planes = 5, out_rows = rows / 2, out_columns = columns / 2;
    std::vector<float> x = random_floats(planes * rows * columns, 7);
    x[0] = std::numeric_limits<float>::quiet_NaN();
    x[1] = -std::numeric_limits<float>::infinity();
    x[static_cast<size_t>(rows * columns)] = std::numeric_limits<float>::infinity();
    for (const Isa& isa : isas()) {
      NodeRunner runner(Op::maxPool2d, ops::PoolAttributes{{2, 2}, {2, 2}, {0, 0}, {}, false});
      runner.input({1, planes, rows, columns}, x).output({1, planes, out_rows, out_columns});
      runner.run(isa);
      const std::vector<float> y = runner.result();
      CHECK(std::isnan(y[0]));
      for (int64_t i = 1; i < planes * out_rows * out_columns; ++i) {
        const int64_t plane = i / (out_rows * out_columns);
        const int64_t row = i / out_columns % out_rows, column = i % out_columns;
        const auto at = static_cast<size_t>((plane * rows + 2 * row) * columns + 2 * column);
        const auto next = at + static_cast<size_t>(columns);
        const float wanted = std::max({x[at], x[at + 1], x[next], x[next + 1]});
        CHECK(y[static_cast<size_t>(i)] == wanted);
      }
    }
  }
}
