// attention and its gradient where scores are huge: every score is a whole number times a power of
// two, so that products and sums are exact and ties are ties, against softmax in double precision.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "core/ops/attention.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

namespace {

constexpr int64_t kTime = 21;
constexpr int64_t kDepth = 16;  // of queries, keys and values: the scale is a quarter
constexpr int64_t kMaskedRow = 3;

struct Extreme {
  float size;  ///< of queries
  float mask;  ///< what hides a key; 0: no mask
  int64_t keys;
  bool causal, bf16;
};

struct Data {
  Floats q, k, v, mask, dy;
  Doubles y, dq, dk, dv, dmask;
};

size_t index(int64_t i) { return static_cast<size_t>(i); }

Floats whole_numbers(int64_t n, uint32_t seed, float most, float size = 1.0F) {
  Floats x = random_floats(n, seed, -most - 0.49F, most + 0.49F);
  for (float& v : x) v = std::nearbyint(v) * size;
  return x;
}

double dot(const Floats& a, int64_t row_of_a, const Floats& b, int64_t row_of_b) {
  double sum = 0;
  for (int64_t i = 0; i < kDepth; ++i) {
    sum += static_cast<double>(a[index(row_of_a * kDepth + i)]) *
           static_cast<double>(b[index(row_of_b * kDepth + i)]);
  }
  return sum;
}

/// sum += factor * row of x
void add_row(Doubles& sum, int64_t row_of_sum, double factor, const Floats& x, int64_t row_of_x) {
  for (int64_t i = 0; i < kDepth; ++i) {
    sum[index(row_of_sum * kDepth + i)] +=
        factor * static_cast<double>(x[index(row_of_x * kDepth + i)]);
  }
}

double factor(const Extreme& c, double x) { return c.bf16 ? rounded(static_cast<float>(x)) : x; }

/// One query; what it sees of its scores, as floats.
void refer_query(const Extreme& c, Data& d, int64_t row) {
  const int64_t seen = c.causal ? std::min(c.keys, row + 1) : c.keys;
  Doubles p(index(seen));
  for (int64_t j = 0; j < seen; ++j) {
    const double mask = c.mask == 0 ? 0.0 : static_cast<double>(d.mask[index(row * c.keys + j)]);
    p[index(j)] = static_cast<float>(dot(d.q, row, d.k, j) / 4 + mask);
  }
  const double largest = *std::max_element(p.begin(), p.end());
  if (largest == -HUGE_VAL) return;
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - largest);
  double delta = 0;
  for (int64_t j = 0; j < seen; ++j) {
    add_row(d.y, row, factor(c, p[index(j)]) / sum, d.v, j);
    add_row(d.dv, j, factor(c, p[index(j)] / sum), d.dy, row);
  }
  for (int64_t i = 0; i < kDepth; ++i) {
    const size_t at = index(row * kDepth + i);
    delta += static_cast<double>(d.dy[at]) * d.y[at];
  }
  for (int64_t j = 0; j < seen; ++j) {
    const double ds = p[index(j)] / sum * (dot(d.dy, row, d.v, j) - delta);
    if (c.mask != 0) d.dmask[index(row * c.keys + j)] = ds;
    add_row(d.dq, row, factor(c, ds / 4), d.k, j);
    add_row(d.dk, j, factor(c, ds / 4), d.q, row);
  }
}

Data make_data(const Extreme& c) {
  Data d;
  d.q = whole_numbers(kTime * kDepth, 1, 1.0F, c.size);
  d.k = whole_numbers(c.keys * kDepth, 2, 1.0F);
  d.v = whole_numbers(c.keys * kDepth, 3, 3.0F);
  d.dy = whole_numbers(kTime * kDepth, 4, 3.0F);
  d.mask = random_floats(kTime * c.keys, 5);
  for (int64_t i = 0; i < kTime * c.keys; ++i) {
    float& mask = d.mask[index(i)];
    mask = mask < 0 || i / c.keys == kMaskedRow ? c.mask : 0.0F;
  }
  d.y.assign(d.q.size(), 0);
  d.dq.assign(d.q.size(), 0);
  d.dk.assign(d.k.size(), 0);
  d.dv.assign(d.k.size(), 0);
  d.dmask.assign(d.mask.size(), 0);
  for (int64_t i = 0; i < kTime; ++i) refer_query(c, d, i);
  return d;
}

void check_case(const Extreme& c) {
  const Data d = make_data(c);
  const double tolerance = c.bf16 ? 1e-3 : 5e-6;
  const std::vector<int64_t> queries{1, 1, kTime, kDepth}, keys{1, 1, c.keys, kDepth};
  const std::vector<int64_t> rows{1, 1, kTime, 2}, scores{kTime, c.keys};
  const bool masked = c.mask != 0;
  const ops::AttentionAttributes attributes{0, c.causal, masked, c.bf16};
  const auto add_operands = [&](NodeRunner& node) {
    node.input(queries, d.q).input(keys, d.k).input(keys, d.v);
    if (masked) {
      node.input(scores, d.mask);
    } else {
      node.no_input();
    }
  };
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::attention, attributes);
    add_operands(node);
    node.output(queries).output(rows).run(isa);
    CHECK_NEAR(distance(node.result(0), d.y), 0.0, tolerance);

    NodeRunner back(Op::attentionGrad, attributes);
    add_operands(back);
    back.input(queries, node.result(0)).input(rows, node.result(1)).input(queries, d.dy);
    back.output(queries).output(keys).output(keys);
    if (masked) back.output(scores);
    back.run(isa);
    CHECK_NEAR(distance(back.result(0), d.dq), 0.0, tolerance);
    CHECK_NEAR(distance(back.result(1), d.dk), 0.0, tolerance);
    CHECK_NEAR(distance(back.result(2), d.dv), 0.0, tolerance);
    if (masked) CHECK_NEAR(distance(back.result(3), d.dmask), 0.0, tolerance);
  }
}

}  // namespace

TEST(attention_of_huge_scores) {
  // 1, 1e6, 1e9 and 1e30, about
  for (const float size : {1.0F, 0x1p20F, 0x1p30F, 0x1p100F}) {
    for (const float mask : {0.0F, -HUGE_VALF, -1e9F}) {
      for (const bool causal : {false, true}) {
        check_case({size, mask, 37, causal, false});
        check_case({size, mask, 37, causal, true});
        check_case({size, mask, 600, causal, false});
      }
    }
  }
}
