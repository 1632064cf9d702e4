// embedding and its gradient against plain loops in double precision.
#include "core/ops/embedding.h"

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

/// Numbers from `low` to `high` inclusive.
std::vector<int32_t> random_indices(int64_t n, int32_t low, int32_t high, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<int32_t> v(static_cast<size_t>(n));
  const auto span = static_cast<uint32_t>(high - low + 1);
  for (int32_t& x : v) x = low + static_cast<int32_t>(engine() % span);
  return v;
}

struct Case {
  int64_t rows, count, dim;
  int32_t low, high;  ///< of the indices
};

// Few and many rows an index, none, all the same; widths around vectors and blocks of columns.
const Case kCases[] = {
    {1, 1, 1, 0, 0},       {18, 11, 8, 0, 10},      {33, 65, 17, 0, 64},
    {700, 65, 130, 0, 64}, {50, 5000, 64, 0, 4999}, {40, 50000, 3, 7, 49990},
    {300, 3, 63, 1, 1},    {2000, 7, 257, 0, 6},    {0, 5, 9, 0, 0},
    {31, 9, 15, -3, 12},   {25, 4, 33, 4, 2000000}, {12, 4, 20, -2147483647, -1},
};

}  // namespace

TEST(embedding_copies_rows) {
  for (const Case& c : kCases) {
    const auto index = random_indices(c.rows, c.low, c.high, 5);
    const auto table = random_floats(c.count * c.dim, 6);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::embedding, ops::Embedding::Attributes{});
      node.input({c.rows}, index).input({c.count, c.dim}, table).output({c.rows, c.dim}).run(isa);
      const auto y = node.result();
      int64_t wrong = 0;
      for (int64_t i = 0; i < c.rows * c.dim; ++i) {
        const int64_t row = index[static_cast<size_t>(i / c.dim)];
        const float value = y[static_cast<size_t>(i)];
        if (row < 0 || row >= c.count) {
          wrong += std::isnan(value) ? 0 : 1;
        } else {
          wrong += value == table[static_cast<size_t>(row * c.dim + i % c.dim)] ? 0 : 1;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST(embedding_gradient_adds_rows_by_index) {
  for (const Case& c : kCases) {
    const auto index = random_indices(c.rows, c.low, c.high, 8);
    const auto dy = random_floats(c.rows * c.dim, 9);
    std::vector<double> expected(static_cast<size_t>(c.count * c.dim), 0.0);
    for (int64_t i = 0; i < c.rows; ++i) {
      const int64_t row = index[static_cast<size_t>(i)];
      if (row < 0 || row >= c.count) continue;
      for (int64_t j = 0; j < c.dim; ++j) {
        expected[static_cast<size_t>(row * c.dim + j)] +=
            static_cast<double>(dy[static_cast<size_t>(i * c.dim + j)]);
      }
    }
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::embeddingGrad, ops::EmbeddingGrad::Attributes{c.count});
      node.input({c.rows}, index).input({c.rows, c.dim}, dy).output({c.count, c.dim}).run(isa);
      CHECK(distance(node.result(), expected) < 2e-7);
    }
  }
}
