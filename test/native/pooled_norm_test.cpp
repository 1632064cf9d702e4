// pooledNorm gives the same bits as batchNorm and maxPool2d one after the other, and its gradient,
// which adds up fewer numbers, what theirs do.
#include "core/ops/pooled_norm.h"

#include <vector>

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

namespace {

struct Case {
  Dims x;
  IntPair kernel, stride, padding;
  bool affine;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {{5, 3, 8, 12}, {2, 2}, {2, 2}, {0, 0}, true},
      {{2, 7, 28, 28}, {2, 2}, {2, 2}, {0, 0}, true},
      {{3, 2, 7, 35}, {2, 2}, {2, 2}, {0, 0}, false},
      {{4, 3, 11, 10}, {3, 3}, {2, 2}, {1, 1}, true},
      {{2, 5, 7, 33}, {3, 5}, {1, 1}, {1, 2}, true},
      {{3, 4, 1, 1}, {1, 1}, {1, 1}, {0, 0}, true},
      {{1, 130, 5, 2}, {2, 2}, {2, 2}, {0, 0}, false},
      {{1, 1, 150, 130}, {2, 2}, {2, 2}, {0, 0}, true},
  };
  return all;
}

struct Data {
  Floats x, w, b, mean, variance, dy;
  Dims channels, pooled;
  ops::PoolAttributes pool;
};

Data data_for(const Case& c) {
  Data d;
  const int64_t channels = c.x[1];
  d.channels = {channels};
  d.x = random_floats(count_of(c.x), 1, -2.0F, 3.0F);
  if (c.affine) {
    d.w = random_floats(channels, 2, -2.0F, 2.0F);
    d.b = random_floats(channels, 3);
  }
  d.mean = random_floats(channels, 4);
  d.variance = random_floats(channels, 5, 0.5F, 2.0F);
  d.pool = {c.kernel, c.stride, c.padding, {c.x[2], c.x[3]}, true};
  d.pooled = ops::pooled_shape(c.x, d.pool);
  d.dy = random_floats(count_of(d.pooled), 6);
  return d;
}

void put_operands(NodeRunner& node, const Case& c, const Data& d, bool by_batch) {
  node.input(c.x, d.x);
  if (c.affine) {
    node.input(d.channels, d.w).input(d.channels, d.b);
  } else {
    node.no_input().no_input();
  }
  if (!by_batch) node.input(d.channels, d.mean).input(d.channels, d.variance);
}

void put_statistics(NodeRunner& node, const Case& c, const Data& d) {
  if (c.affine) {
    node.input(d.channels, d.w);
  } else {
    node.no_input();
  }
  node.input(d.channels, d.mean).input(d.channels, d.variance);
}

void check_forward(const Isa& isa, const Case& c, const Data& d, bool by_batch, int32_t activation,
                   bool places) {
  ops::BatchNormAttributes norm{1e-3F, 0.1F, false, by_batch, activation, {0.25F, 0.0F}};
  ops::PoolAttributes pool = d.pool;
  pool.save_indices = places;
  NodeRunner normal(Op::batchNorm, norm);
  put_operands(normal, c, d, by_batch);
  normal.output(c.x);
  if (by_batch) normal.output(d.channels).output(d.channels);
  normal.run(isa);
  NodeRunner largest(Op::maxPool2d, pool);
  largest.input(c.x, normal.result()).output(d.pooled);
  if (places) largest.output(d.pooled);
  largest.run(isa);

  NodeRunner both(Op::pooledNorm, ops::PooledNorm::Attributes{norm, pool});
  put_operands(both, c, d, by_batch);
  both.output(d.pooled);
  if (by_batch) both.output(d.channels).output(d.channels);
  if (places) both.output(d.pooled);
  both.run(isa);
  CHECK(both.result_bits() == largest.result_bits());
  if (places) CHECK(both.result_bits(by_batch ? 3 : 1) == largest.result_bits(1));
  if (!by_batch) return;
  CHECK(both.result_bits(1) == normal.result_bits(1));
  CHECK(both.result_bits(2) == normal.result_bits(2));
}

void check_gradient(const Isa& isa, const Case& c, const Data& d, bool by_batch, bool affine,
                    int over) {
  NodeRunner largest(Op::maxPool2d, d.pool);
  largest.input(c.x, d.x).output(d.pooled).output(d.pooled).run(isa);
  const std::vector<int32_t> places = largest.result_bits(1);
  NodeRunner spread(Op::maxPool2dGrad, d.pool);
  spread.input(d.pooled, d.dy).input(d.pooled, places).output(c.x).run(isa);
  const ops::BatchNormGrad::Attributes norm{1e-3F, by_batch, affine};
  NodeRunner apart(Op::batchNormGrad, norm);
  apart.input(c.x, spread.result()).input(c.x, d.x);
  put_statistics(apart, c, d);
  NodeRunner both(Op::pooledNormGrad, ops::PooledNormGrad::Attributes{norm, d.pool});
  both.input(d.pooled, d.dy).input(d.pooled, places).input(c.x, d.x);
  put_statistics(both, c, d);
  apart.output(c.x);
  both.output(c.x, over);
  for (NodeRunner* node : {&apart, &both}) {
    if (affine) node->output(d.channels).output(d.channels);
    node->run(isa);
  }
  for (size_t i = 0; i < (affine ? size_t{3} : size_t{1}); ++i) {
    const Floats found = apart.result(i);
    CHECK_NEAR(distance(both.result(i), Doubles(found.begin(), found.end())), 0.0, 2e-6);
  }
}

}  // namespace

TEST(pooled_norm) {
  for (const Case& c : cases()) {
    const Data d = data_for(c);
    for (const Isa& isa : isas()) {
      for (const bool by_batch : {true, false}) {
        for (const int32_t activation :
             {-1, static_cast<int32_t>(Op::relu), static_cast<int32_t>(Op::leakyRelu)}) {
          for (const bool places : {true, false})
            check_forward(isa, c, d, by_batch, activation, places);
        }
      }
    }
  }
}

TEST(pooled_norm_gradient) {
  for (const Case& c : cases()) {
    const Data d = data_for(c);
    for (const Isa& isa : isas()) {
      for (const bool by_batch : {true, false}) {
        for (const bool affine : {true, false}) {
          for (const int over : {-1, 2}) check_gradient(isa, c, d, by_batch, affine, over);
        }
      }
    }
  }
}
