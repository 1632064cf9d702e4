// batchNorm, its gradient and its running statistics against double precision.
#include "core/ops/batch_norm.h"
#include "check.h"
#include "norm_reference.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;
using Floats = std::vector<float>;

namespace {

constexpr float kEpsilon = 1e-3F;
constexpr double kClose = 2e-6;

struct Case {
  int64_t n, c, l;
  bool affine;
};

constexpr Case kCases[] = {{1, 1, 1, true},    {17, 5, 1, true},   {300, 130, 1, true},
                           {9000, 3, 1, true}, {4, 5, 18, true},   {2, 3, 20000, true},
                           {70, 4, 33, true},  {3, 300, 2, false}, {8, 16, 144, true},
                           {5, 7, 16, false},  {2000, 33, 2, true}};

ops::BatchNormAttributes attributes_for(bool by_batch) { return {kEpsilon, 0.1F, false, by_batch}; }

struct Data {
  Dims dims;
  Floats x, dy, w, b;
  NormReference expected;
};

Data data_for(const Case& c) {
  Data d;
  d.dims = {c.n, c.c, c.l};
  const int64_t count = c.n * c.c * c.l;
  d.x = random_floats(count, 1, -2.0F, 3.0F);
  d.dy = random_floats(count, 2);
  if (c.affine) {
    d.w = random_floats(c.c, 3, 0.5F, 2.0F);
    d.b = random_floats(c.c, 4);
  }
  d.expected = reference_norm(channel_groups(c.n, c.c, c.l, 1, true), d.x, d.w, d.b, d.dy,
                              static_cast<double>(kEpsilon), true);
  return d;
}

}  // namespace

TEST(batch_norm_by_the_batch) {
  for (const Case& c : kCases) {
    const Data d = data_for(c);
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::batchNorm, attributes_for(true));
        node.input(d.dims, d.x);
        if (c.affine) node.input({c.c}, d.w).input({c.c}, d.b);
        node.output(d.dims, over).output({c.c}).output({c.c}).run(isa);
        CHECK_NEAR(distance(node.result(0), d.expected.y), 0.0, kClose);
        CHECK_NEAR(distance(node.result(1), d.expected.mean), 0.0, kClose);
        CHECK_NEAR(distance(node.result(2), d.expected.variance), 0.0, kClose);
      }
    }
  }
}

TEST(batch_norm_by_given_statistics) {
  for (const Case& c : kCases) {
    const Data d = data_for(c);
    const Floats mean = random_floats(c.c, 5);
    const Floats variance = random_floats(c.c, 6, 0.5F, 2.0F);
    Doubles y(d.x.size());
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t k = i / static_cast<size_t>(c.l) % static_cast<size_t>(c.c);
      const double r = 1 / std::sqrt(static_cast<double>(variance[k]) + 1e-3);
      y[i] = (static_cast<double>(d.x[i]) - static_cast<double>(mean[k])) * r;
      if (c.affine) y[i] = y[i] * static_cast<double>(d.w[k]) + static_cast<double>(d.b[k]);
    }
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::batchNorm, attributes_for(false));
        node.input(d.dims, d.x);
        if (c.affine) {
          node.input({c.c}, d.w).input({c.c}, d.b);
        } else {
          node.no_input().no_input();
        }
        node.input({c.c}, mean).input({c.c}, variance).output(d.dims, over).run(isa);
        CHECK_NEAR(distance(node.result(0), y), 0.0, kClose);
      }
    }
  }
}

TEST(batch_norm_with_a_residual) {
  for (const Case& c : kCases) {
    const Data d = data_for(c);
    Doubles y = d.expected.y;
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] += static_cast<double>(d.dy[i]);
      y[i] = y[i] > 0 ? y[i] : 0;
    }
    ops::BatchNormAttributes attributes = attributes_for(true);
    attributes.activation = static_cast<int32_t>(Op::relu);
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0, 5}) {
        NodeRunner node(Op::batchNorm, attributes);
        node.input(d.dims, d.x);
        if (c.affine) {
          node.input({c.c}, d.w).input({c.c}, d.b);
        } else {
          node.no_input().no_input();
        }
        node.no_input().no_input().input(d.dims, d.dy);
        node.output(d.dims, over).output({c.c}).output({c.c}).run(isa);
        CHECK_NEAR(distance(node.result(0), y), 0.0, kClose);
      }
    }
  }
}

TEST(batch_norm_with_an_activation) {
  for (const Case& c : kCases) {
    const Data d = data_for(c);
    Doubles y = d.expected.y;
    for (double& value : y) value = value > 0 ? value : 0.25 * value;
    ops::BatchNormAttributes attributes = attributes_for(true);
    attributes.activation = static_cast<int32_t>(Op::leakyRelu);
    attributes.activation_attributes.a = 0.25F;
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::batchNorm, attributes);
        node.input(d.dims, d.x);
        if (c.affine) node.input({c.c}, d.w).input({c.c}, d.b);
        node.output(d.dims, over).output({c.c}).output({c.c}).run(isa);
        CHECK_NEAR(distance(node.result(0), y), 0.0, kClose);
      }
    }
  }
}

TEST(batch_norm_gradient) {
  for (const Case& c : kCases) {
    if (c.n * c.l < 3) continue;  // nothing but rounding is left of dx
    const Data d = data_for(c);
    Doubles frozen(d.x.size());
    for (size_t i = 0; i < frozen.size(); ++i) {
      const size_t k = i / static_cast<size_t>(c.l) % static_cast<size_t>(c.c);
      frozen[i] = static_cast<double>(d.dy[i]) * d.expected.inverse[k] *
                  (c.affine ? static_cast<double>(d.w[k]) : 1.0);
    }
    for (const Isa& isa : isas()) {
      for (const bool by_batch : {true, false}) {
        for (const bool affine : {true, false}) {
          for (const int over : {-1, 0, 1}) {
            NodeRunner node(Op::batchNormGrad,
                            ops::BatchNormGrad::Attributes{kEpsilon, by_batch, affine});
            node.input(d.dims, d.dy).input(d.dims, d.x);
            if (c.affine) {
              node.input({c.c}, d.w);
            } else {
              node.no_input();
            }
            node.input({c.c}, rounded(d.expected.mean))
                .input({c.c}, rounded(d.expected.variance))
                .output(d.dims, over);
            if (affine) node.output({c.c}).output({c.c});
            node.run(isa);
            CHECK_NEAR(distance(node.result(0), by_batch ? d.expected.dx : frozen), 0.0, kClose);
            if (!affine) continue;
            CHECK_NEAR(distance(node.result(1), d.expected.dw), 0.0, kClose);
            CHECK_NEAR(distance(node.result(2), d.expected.db), 0.0, kClose);
          }
        }
      }
    }
  }
}

TEST(batch_norm_far_from_zero) {
  for (const Dims& dims : {Dims{1000, 2, 1}, Dims{10, 2, 100}}) {
    Floats x(2000);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 30000.0F + static_cast<float>(i / 2 % 2);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::batchNorm, attributes_for(true));
      node.input(dims, x).output(dims).output({2}).output({2}).run(isa);
      for (const float variance : node.result(2))
        CHECK_NEAR(static_cast<double>(variance), 0.25, 1e-3);
    }
  }
}

TEST(running_statistics_move_unless_the_step_is_skipped) {
  for (const int64_t c : {1, 16, 37}) {
    const Floats mean = random_floats(c, 7);
    const Floats variance = random_floats(c, 8, 0.5F, 2.0F);
    const Floats batch_mean = random_floats(c, 9);
    const Floats batch_variance = random_floats(c, 10, 0.5F, 2.0F);
    for (const int64_t count : {1, 5}) {
      for (const uint32_t skip : {0U, 1U}) {
        for (const Isa& isa : isas()) {
          NodeRunner node(Op::batchNormUpdate, ops::BatchNormUpdate::Attributes{0.25F, count});
          node.input({c}, mean, true).input({c}, variance, true);
          node.input({c}, batch_mean).input({c}, batch_variance);
          StepState state{1e-3, 1, 0, 0.0F, 1.0F, skip, 0};
          node.run(isa, &state);
          for (size_t i = 0; i < static_cast<size_t>(c); ++i) {
            const double m = skip != 0 ? mean[i] : 0.75 * mean[i] + 0.25 * batch_mean[i];
            const double v = skip != 0 || count == 1
                                 ? variance[i]
                                 : 0.75 * variance[i] + 0.25 * batch_variance[i] * 1.25;
            CHECK_NEAR(static_cast<double>(node.input_now(0)[i]), m, 1e-6);
            CHECK_NEAR(static_cast<double>(node.input_now(1)[i]), v, 1e-6);
          }
        }
      }
    }
  }
}
