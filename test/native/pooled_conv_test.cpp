// pooledConv by each of its kernels, against sums in double precision and their maxima.
#include "core/ops/pooled_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "conv_case.h"
#include "core/graph.h"
#include "core/profile.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

/// Of the maxima of 2 x 2 pixels.
Dims pooled_dims(const ConvCase& c) {
  return {c.batch, c.groups * c.out, c.y().height / 2, c.y().width / 2};
}

std::vector<double> expect(const ConvCase& c, const std::vector<float>& x,
                           const std::vector<float>& w, const std::vector<float>& bias, bool relu) {
  std::vector<double> pixels(static_cast<size_t>(count_of(c.y_dims())));
  each_product(c, [&](size_t xi, size_t wi, size_t yi) {
    pixels[yi] += static_cast<double>(x[xi]) * static_cast<double>(w[wi]);
  });
  const Dims dims = pooled_dims(c);
  const IntPair plane = c.y();
  std::vector<double> y;
  for (int64_t n = 0; n < dims[0]; ++n)
    for (int64_t o = 0; o < dims[1]; ++o)
      for (int64_t r = 0; r < dims[2]; ++r)
        for (int64_t q = 0; q < dims[3]; ++q) {
          double most = -std::numeric_limits<double>::infinity();
          for (const int64_t k : {0, 1, 2, 3}) {
            const int64_t row = (n * dims[1] + o) * plane.height + 2 * r + k / 2;
            most = std::max(most, pixels[static_cast<size_t>(row * plane.width + 2 * q + k % 2)]);
          }
          if (!bias.empty()) most += static_cast<double>(bias[static_cast<size_t>(o)]);
          y.push_back(relu ? std::max(most, 0.0) : most);
        }
  return y;
}

std::vector<float> run(const Isa& isa, const ConvCase& c, const std::vector<float>& x,
                       const std::vector<float>& w, const std::vector<float>& bias, bool relu,
                       bool frozen) {
  std::vector<int32_t> first;
  std::vector<float> y;
  for (const TileOrder order : {TileOrder::kShuffled, TileOrder::kReverse}) {
    KernelHarness kernel(isa.launchers, Op::pooledConv);
    kernel.attributes(ops::PooledConv::Attributes{c.attributes(), relu}).input(c.x_dims(), x);
    if (frozen) {
      kernel.frozen_input(c.w_dims(), w);
    } else {
      kernel.input(c.w_dims(), w);
    }
    if (!bias.empty()) kernel.input({c.groups * c.out}, bias);
    kernel.output(pooled_dims(c)).order(order).run();
    CHECK(kernel.clean());
    if (order == TileOrder::kReverse) CHECK(kernel.ints(0) == first);
    first = kernel.ints(0);
    y = kernel.floats(0);
  }
  return y;
}

void check_case(const ConvCase& c) {
  const auto made = [&](int64_t n, uint32_t seed) {
    return c.bf16 ? coarse_floats(n, seed) : random_floats(n, seed);
  };
  const auto x = made(count_of(c.x_dims()), 1);
  const auto w = made(count_of(c.w_dims()), 2);
  const auto bias = random_floats(c.groups * c.out, 3);
  for (const bool relu : {false, true}) {
    for (const auto& shift : {std::vector<float>{}, bias}) {
      const std::vector<double> y = expect(c, x, w, shift, relu);
      for (const Isa& isa : isas()) {
        for (const bool frozen : {false, true})
          CHECK_NEAR(distance(run(isa, c, x, w, shift, relu, frozen), y), 0.0, 2e-6);
      }
    }
  }
}

TEST(pooled_conv_of_few_channels) {
  check_case({1, 1, 1, 32, {28, 28}, {3, 3}, {1, 1}, {1, 1}});
  check_case({2, 1, 3, 5, {9, 33}, {3, 3}, {1, 1}, {1, 1}});
  check_case({3, 1, 4, 7, {13, 24}, {3, 3}, {1, 1}, {0, 0}});
  check_case({1, 1, 2, 9, {6, 67}, {3, 3}, {1, 1}, {2, 2}});
  check_case({1, 1, 1, 3, {3, 31}, {3, 3}, {1, 1}, {0, 1}});
}

TEST(pooled_conv_of_few_tiles) {
  check_case({1, 1, 32, 64, {14, 14}, {3, 3}, {1, 1}, {1, 1}});
  check_case({2, 1, 16, 32, {9, 11}, {3, 3}, {1, 1}, {1, 1}});
  check_case({1, 1, 48, 96, {7, 5}, {3, 3}, {1, 1}, {2, 2}});
  check_case({1, 1, 16, 64, {21, 34}, {3, 3}, {1, 1}, {0, 0}});
  check_case({1, 1, 64, 32, {4, 40}, {3, 3}, {1, 1}, {1, 0}});
}

TEST(pooled_conv_of_many_tiles) {
  check_case({9, 1, 16, 32, {14, 13}, {3, 3}, {1, 1}, {1, 1}});
  check_case({1, 1, 20, 24, {15, 37}, {3, 3}, {1, 1}, {2, 1}});
}

TEST(pooled_conv_elsewhere_is_one_step_after_the_other) {
  check_case({2, 2, 3, 4, {10, 12}, {3, 3}, {1, 1}, {1, 1}});
  check_case({1, 1, 5, 6, {17, 19}, {5, 5}, {2, 2}, {2, 2}});
  check_case({1, 1, 8, 8, {12, 14}, {3, 3}, {1, 1}, {2, 2}, {2, 2}});
  check_case({2, 6, 1, 1, {11, 13}, {3, 3}, {1, 1}, {1, 1}});
  check_case({1, 1, 7, 9, {8, 9}, {1, 1}, {1, 1}, {0, 0}});
  check_case({1, 1, 32, 64, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true});
}

TEST(pooled_conv_keeps_nan_and_infinity) {
  const ConvCase c{1, 1, 1, 2, {8, 32}, {3, 3}, {1, 1}, {1, 1}};
  std::vector<float> x(8 * 32, 0.0F);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  x[31] = std::numeric_limits<float>::infinity();
  const std::vector<float> w(18, 1.0F);
  for (const Isa& isa : isas()) {
    const std::vector<float> y = run(isa, c, x, w, {}, true, true);
    CHECK(std::isnan(y[0]));
    CHECK(y[15] == std::numeric_limits<float>::infinity());
    CHECK(y[5] == 0.0F);
  }
}

TEST(pooled_conv_counts_the_operations_of_the_convolution) {
  Graph graph;
  const ValueId x = graph.add_input(make_tensor({2, 3, 9, 11}, DType::kFloat32));
  const ValueId w = graph.add_parameter(make_tensor({4, 3, 3, 3}, DType::kFloat32));
  AttributeStorage attributes = make_attributes(Op::pooledConv, {});
  graph.outputs = {graph.apply(Op::pooledConv, {x, w}, attributes)};
  CHECK(shape_of(graph.tensor(graph.outputs[0])) == (Shape{2, 4, 3, 4}));
  CHECK_NEAR(count_flops(graph), 2.0 * 2 * 7 * 9 * 4 * 27 + 2 * 3 * 9 * 11, 0.5);
}

}  // namespace
