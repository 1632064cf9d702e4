// maxPool2d with windows of 2 x 2 side by side, which has a kernel of its own, against plain loops.
#include "core/ops/pooling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "node_runner.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

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

}  // namespace
