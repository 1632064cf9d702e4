// Convolutions and their gradients against sums in double precision.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "conv_case.h"
#include "core/ops/fused_conv.h"
#include "core/profile.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

struct Expected {
  std::vector<double> y, dx, dw;
};

Expected expect(const ConvCase& c, const std::vector<float>& x, const std::vector<float>& w,
                const std::vector<float>& dy) {
  Expected e;
  e.y.resize(dy.size());
  e.dx.resize(x.size());
  e.dw.resize(w.size());
  each_product(c, [&](size_t xi, size_t wi, size_t yi) {
    const auto a = static_cast<double>(x[xi]);
    const auto b = static_cast<double>(w[wi]);
    const auto d = static_cast<double>(dy[yi]);
    e.y[yi] += a * b;
    e.dx[xi] += b * d;
    e.dw[wi] += a * d;
  });
  return e;
}

std::vector<double> with_bias(std::vector<double> sums, const std::vector<float>& bias,
                              int64_t plane) {
  for (size_t i = 0; i < sums.size(); ++i)
    sums[i] += static_cast<double>(bias[i / static_cast<size_t>(plane) % bias.size()]);
  return sums;
}

void check_fused(const Isa& isa, const ConvCase& c, const std::vector<float>& x,
                 const std::vector<float>& w, const std::vector<float>& bias,
                 const std::vector<double>& sums) {
  for (const Op activation : {Op::relu, Op::square}) {
    for (const bool save : {false, true}) {
      ops::FusedConv::Attributes attributes;
      attributes.conv = c.attributes();
      attributes.activation = static_cast<int32_t>(activation);
      attributes.save_pre = save;
      NodeRunner node(Op::fusedConv, attributes);
      node.input(c.x_dims(), x).input(c.w_dims(), w).input({c.groups * c.out}, bias);
      node.output(c.y_dims());
      if (save) node.output(c.y_dims());
      node.run(isa);
      std::vector<double> after = sums;
      for (double& v : after) v = activation == Op::relu ? std::max(v, 0.0) : v * v;
      CHECK_NEAR(distance(node.result(), after), 0.0, 2e-6);
      if (save) CHECK_NEAR(distance(node.result(1), sums), 0.0, 1e-6);
    }
  }
}

/// convTranspose2d with an activation.
void check_transposed(const Isa& isa, const ConvCase& c, const std::vector<float>& from,
                      const std::vector<float>& w, const std::vector<float>& bias,
                      const std::vector<double>& sums) {
  for (const bool save : {false, true}) {
    ops::FusedConv::Attributes attributes;
    attributes.conv = c.attributes();
    attributes.activation = static_cast<int32_t>(save ? Op::square : Op::relu);
    attributes.save_pre = save;
    attributes.transposed = true;
    NodeRunner node(Op::fusedConv, attributes);
    node.input(c.y_dims(), from).input(c.w_dims(), w).input({c.groups * c.in}, bias);
    node.output(c.x_dims());
    if (save) node.output(c.x_dims());
    node.run(isa);
    std::vector<double> after = sums;
    for (double& v : after) v = save ? v * v : std::max(v, 0.0);
    CHECK_NEAR(distance(node.result(), after), 0.0, 2e-6);
    if (save) CHECK_NEAR(distance(node.result(1), sums), 0.0, 1e-6);
  }
}

void check_residual(const Isa& isa, const ConvCase& c, const std::vector<float>& x,
                    const std::vector<float>& w, const std::vector<float>& bias,
                    const std::vector<float>& residual, const std::vector<double>& sums) {
  for (const int32_t activation :
       {-1, static_cast<int32_t>(Op::relu), static_cast<int32_t>(Op::square)}) {
    ops::FusedConv::Attributes attributes;
    attributes.conv = c.attributes();
    attributes.activation = activation;
    NodeRunner node(Op::fusedConv, attributes);
    node.input(c.x_dims(), x).input(c.w_dims(), w).input({c.groups * c.out}, bias);
    node.input(c.y_dims(), residual).output(c.y_dims()).run(isa);
    std::vector<double> after = sums;
    for (size_t i = 0; i < after.size(); ++i) {
      after[i] += static_cast<double>(residual[i]);
      if (activation == static_cast<int32_t>(Op::relu)) after[i] = std::max(after[i], 0.0);
      if (activation == static_cast<int32_t>(Op::square)) after[i] *= after[i];
    }
    CHECK_NEAR(distance(node.result(), after), 0.0, 2e-6);
  }
}

void check_conv(const ConvCase& c) {
  const auto x = random_floats(count_of(c.x_dims()), 1);
  const auto w = random_floats(count_of(c.w_dims()), 2);
  const auto dy = random_floats(count_of(c.y_dims()), 3);
  const auto bias = random_floats(c.groups * c.out, 4);
  const auto in_bias = random_floats(c.groups * c.in, 5);
  const Expected e = expect(c, x, w, dy);
  const int64_t y_plane = c.y().height * c.y().width;
  const auto biased = with_bias(e.y, bias, y_plane);
  ops::ConvWeightGrad::Attributes weight{c.attributes(), c.kernel};
  for (const Isa& isa : isas()) {
    NodeRunner plain(Op::conv2d, c.attributes());
    plain.input(c.x_dims(), x).input(c.w_dims(), w).output(c.y_dims()).run(isa);
    CHECK_NEAR(distance(plain.result(), e.y), 0.0, 1e-6);
    NodeRunner with(Op::conv2d, c.attributes());
    with.input(c.x_dims(), x).input(c.w_dims(), w).input({c.groups * c.out}, bias);
    with.output(c.y_dims()).run(isa);
    CHECK_NEAR(distance(with.result(), biased), 0.0, 1e-6);
    check_fused(isa, c, x, w, bias, biased);
    check_residual(isa, c, x, w, bias, dy, biased);

    NodeRunner data(Op::convDataGrad, c.attributes());
    data.input(c.y_dims(), dy).input(c.w_dims(), w).output(c.x_dims()).run(isa);
    CHECK_NEAR(distance(data.result(), e.dx), 0.0, 1e-6);
    NodeRunner transposed(Op::convTranspose2d, c.attributes());
    transposed.input(c.y_dims(), dy).input(c.w_dims(), w).input({c.groups * c.in}, in_bias);
    transposed.output(c.x_dims()).run(isa);
    const auto shifted = with_bias(e.dx, in_bias, c.x.height * c.x.width);
    CHECK_NEAR(distance(transposed.result(), shifted), 0.0, 1e-6);
    check_transposed(isa, c, dy, w, in_bias, shifted);

    NodeRunner weights(Op::convWeightGrad, weight);
    weights.input(c.x_dims(), x).input(c.y_dims(), dy).output(c.w_dims()).run(isa);
    CHECK_NEAR(distance(weights.result(), e.dw), 0.0, 1e-6);
  }
}

/// Checks that the products of a case are of rounded operands, or of floats where these are as
/// fast.
void check_bf16(ConvCase c, bool rounds_forward, bool rounds_dx, bool rounds_dw) {
  c.bf16 = true;
  const auto x = random_floats(count_of(c.x_dims()), 1);
  const auto w = random_floats(count_of(c.w_dims()), 2);
  const auto dy = random_floats(count_of(c.y_dims()), 3);
  const auto bias = random_floats(c.groups * c.out, 4);
  const int64_t y_plane = c.y().height * c.y().width;
  const Expected plain = expect(c, x, w, dy);
  const Expected coarse =
      expect(c, coarse_floats(count_of(c.x_dims()), 1), coarse_floats(count_of(c.w_dims()), 2),
             coarse_floats(count_of(c.y_dims()), 3));
  const auto check = [](const std::vector<float>& got, bool rounds,
                        const std::vector<double>& of_coarse, const std::vector<double>& of_plain) {
    CHECK_NEAR(distance(got, rounds ? of_coarse : of_plain), 0.0, 1e-6);
    // Eight significant bits of two operands.
    CHECK_NEAR(distance(got, of_plain), 0.0, 4e-3);
    if (rounds) CHECK(distance(got, of_plain) > 1e-4);
  };
  const ops::ConvWeightGrad::Attributes weight{c.attributes(), c.kernel};
  for (const Isa& isa : isas()) {
    NodeRunner forward(Op::conv2d, c.attributes());
    forward.input(c.x_dims(), x).input(c.w_dims(), w).input({c.groups * c.out}, bias);
    forward.output(c.y_dims()).run(isa);
    check(forward.result(), rounds_forward, with_bias(coarse.y, bias, y_plane),
          with_bias(plain.y, bias, y_plane));
    check_fused(isa, c, x, w, bias, with_bias(rounds_forward ? coarse.y : plain.y, bias, y_plane));
    NodeRunner data(Op::convDataGrad, c.attributes());
    data.input(c.y_dims(), dy).input(c.w_dims(), w).output(c.x_dims()).run(isa);
    check(data.result(), rounds_dx, coarse.dx, plain.dx);
    NodeRunner weights(Op::convWeightGrad, weight);
    weights.input(c.x_dims(), x).input(c.y_dims(), dy).output(c.w_dims()).run(isa);
    check(weights.result(), rounds_dw, coarse.dw, plain.dw);
  }
}

}  // namespace

TEST(conv_of_odd_sizes) {
  check_conv({2, 1, 3, 8, {14, 12}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({3, 1, 5, 7, {9, 11}, {3, 3}});
  check_conv({1, 1, 1, 1, {1, 1}, {1, 1}});
  check_conv({2, 1, 1, 33, {28, 28}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({2, 1, 17, 19, {14, 14}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({1, 1, 3, 5, {33, 47}, {5, 3}, {1, 1}, {2, 1}});
  check_conv({1, 1, 2, 3, {3, 300}, {2, 4}, {1, 1}, {0, 3}});
  check_conv({2, 1, 4, 6, {40, 1}, {3, 1}, {1, 1}, {1, 0}});
  check_conv({2, 1, 3, 4, {1, 2}, {1, 2}, {1, 1}, {0, 5}});
}

TEST(conv_with_strides_and_dilations) {
  check_conv({2, 1, 4, 6, {14, 12}, {3, 3}, {2, 2}, {1, 1}});
  check_conv({2, 1, 3, 16, {23, 21}, {7, 7}, {2, 2}, {3, 3}});
  check_conv({2, 1, 4, 6, {14, 12}, {3, 3}, {1, 1}, {2, 2}, {2, 2}});
  check_conv({1, 1, 3, 5, {17, 19}, {3, 2}, {3, 2}, {1, 2}, {2, 3}});
  check_conv({1, 1, 3, 5, {70, 67}, {2, 2}, {2, 2}});
  check_conv({1, 1, 2, 3, {12, 50}, {3, 3}, {1, 3}, {1, 0}});
  check_conv({1, 1, 2, 3, {30, 30}, {2, 3}, {5, 7}, {1, 1}});
  check_conv({2, 1, 3, 4, {9, 9}, {1, 1}, {2, 2}});
}

TEST(conv_of_one_pixel) {
  check_conv({2, 1, 16, 24, {14, 12}, {1, 1}});
  check_conv({3, 1, 5, 33, {7, 9}, {1, 1}});
  check_conv({2, 1, 5, 3, {3, 3}, {1, 1}, {1, 1}, {1, 1}});
  check_conv({5, 1, 67, 3, {2, 2}, {1, 1}});
}

TEST(conv_in_groups) {
  check_conv({2, 4, 2, 3, {14, 12}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({2, 3, 5, 2, {9, 8}, {3, 3}, {2, 2}, {1, 1}});
  check_conv({2, 8, 1, 1, {14, 12}, {5, 5}, {1, 1}, {2, 2}});
  check_conv({2, 5, 1, 1, {13, 70}, {3, 3}, {2, 2}, {1, 1}});
  check_conv({1, 3, 1, 4, {10, 37}, {3, 6}, {1, 1}, {1, 2}, {1, 3}});
  check_conv({1, 3, 1, 2, {10, 10}, {3, 3}, {2, 1}, {1, 1}});
  check_conv({1, 2, 3, 2, {8, 8}, {1, 1}});
  // More rows than are copied at a time, and taps too far apart to copy what lies between them.
  check_conv({1, 2, 1, 1, {150, 70}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({1, 2, 1, 1, {90, 200}, {3, 5}, {2, 3}, {1, 2}});
  check_conv({1, 2, 1, 1, {9, 9}, {3, 3}, {1, 1}, {600, 600}, {600, 600}});
}

// Vectors of a row are taken by fours, twos and ones: every number of columns that may be left.
TEST(conv_at_every_width) {
  for (int64_t width = 1; width <= 132; ++width) {
    check_conv({1, 2, 1, 1, {6, width}, {3, 3}, {1, 1}, {1, 1}});
    check_conv({1, 2, 1, 1, {5, width}, {5, 5}, {1, 1}, {2, 2}});
    check_conv({1, 2, 1, 1, {3, width}, {2, 3}, {1, 1}, {0, 1}});
    check_conv({1, 2, 1, 1, {3, width}, {3, 3}, {2, 2}, {1, 1}});
    check_conv({1, 1, 2, 3, {3, width}, {3, 3}, {1, 1}, {1, 1}});
  }
}

TEST(conv_of_more_than_a_tile) {
  check_conv({40, 1, 3, 5, {6, 6}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({1, 1, 130, 30, {10, 10}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({1, 1, 2, 2, {61, 60}, {9, 9}, {1, 1}, {4, 4}});
  check_conv({1, 1, 40, 70, {33, 31}, {3, 3}, {2, 2}, {1, 1}});
}

// The product that is added to windows which move by more than a pixel is computed by blocks of
// pixels.
TEST(conv_with_strides_of_more_pixels_than_a_block) {
  check_conv({2, 1, 16, 100, {65, 63}, {3, 3}, {2, 2}, {1, 1}});
  check_conv({2, 16, 5, 3, {21, 60}, {7, 7}, {2, 2}});
  check_conv({1, 1, 3, 20, {9, 2500}, {1, 5}, {1, 2}, {0, 2}});
}

TEST(conv_by_tiles_of_four_pixels) {
  check_conv({2, 1, 16, 19, {14, 14}, {3, 3}, {1, 1}, {1, 1}});
  check_conv({3, 1, 33, 16, {7, 9}, {3, 3}});
  check_conv({1, 1, 17, 18, {6, 71}, {3, 3}, {1, 1}, {0, 2}});
  check_conv({1, 1, 20, 31, {37, 5}, {3, 3}, {1, 1}, {2, 1}});
  check_conv({9, 1, 16, 16, {4, 4}, {3, 3}, {1, 1}, {1, 1}});
  // Channels whose matrices do not stay in the L2.
  check_conv({3, 1, 130, 140, {14, 14}, {3, 3}, {1, 1}, {1, 1}});
}

// Products of split floats take sums that are not finite by another way, those of columns behind
// the last tile among them.
TEST(conv_by_tiles_of_four_pixels_reads_nothing_of_scratch) {
  const ConvCase c{24, 1, 160, 160, {14, 14}, {3, 3}, {1, 1}, {1, 1}};
  const auto x = random_floats(count_of(c.x_dims()), 1);
  const auto w = random_floats(count_of(c.w_dims()), 2);
  const ops::ConvWeightGrad::Attributes weight{c.attributes(), c.kernel};
  for (const Isa& isa : isas()) {
    if (isa.launchers == isa_scalar::launchers) continue;  // which has no such tiles
    for (const Op op : {Op::conv2d, Op::convDataGrad}) {
      NodeRunner node(op, c.attributes());
      node.input(c.x_dims(), x).input(c.w_dims(), w).output(c.y_dims()).run(isa);
    }
    NodeRunner weights(Op::convWeightGrad, weight);
    weights.input(c.x_dims(), x).input(c.y_dims(), x).output(c.w_dims()).run(isa);
  }
}

TEST(conv_multiplies_rounded_operands) {
  const auto all = [](const ConvCase& c) { check_bf16(c, true, true, true); };
  all({2, 1, 4, 8, {14, 12}, {3, 3}, {1, 1}, {1, 1}});
  all({3, 1, 5, 7, {9, 11}, {3, 3}});
  all({2, 1, 32, 17, {14, 14}, {3, 3}, {1, 1}, {1, 1}});
  all({1, 1, 3, 5, {33, 47}, {5, 3}, {1, 1}, {2, 1}});
  all({1, 1, 2, 3, {3, 300}, {2, 4}, {1, 1}, {0, 3}});
  all({2, 1, 4, 6, {40, 1}, {3, 1}, {1, 1}, {1, 0}});
  all({2, 1, 3, 4, {1, 2}, {1, 2}, {1, 1}, {0, 5}});
  all({2, 1, 4, 6, {14, 12}, {3, 3}, {1, 1}, {2, 2}, {2, 2}});
  all({2, 1, 4, 6, {14, 12}, {3, 3}, {2, 2}, {1, 1}});
  all({2, 1, 3, 16, {23, 21}, {7, 7}, {2, 2}, {3, 3}});
  all({1, 1, 2, 3, {12, 50}, {3, 3}, {1, 3}, {1, 0}});
  all({2, 1, 16, 24, {14, 12}, {1, 1}});
  all({3, 1, 5, 33, {7, 9}, {1, 1}});
  all({2, 4, 2, 3, {14, 12}, {3, 3}, {1, 1}, {1, 1}});
  all({2, 3, 5, 2, {9, 8}, {3, 3}, {2, 2}, {1, 1}});
  all({1, 1, 130, 30, {10, 10}, {3, 3}, {1, 1}, {1, 1}});
  all({1, 1, 40, 70, {33, 31}, {3, 3}, {2, 2}, {1, 1}});
  all({2, 16, 5, 3, {21, 60}, {7, 7}, {2, 2}});
}

TEST(conv_by_tiles_of_four_pixels_rounds_their_numbers) {
  ConvCase c{7, 1, 16, 19, {14, 13}, {3, 3}, {1, 1}, {1, 1}};
  c.bf16 = true;
  const ops::ConvWeightGrad::Attributes weight{c.attributes(), c.kernel};
  // Of these integers bfloat16 has all 16 numbers of a tile.
  for (const bool exact : {true, false}) {
    const auto integers = [&](const Dims& dims, uint32_t seed, float step) {
      auto all = random_floats(count_of(dims), seed, -2.0F, 2.0F);
      if (!exact) return all;
      for (float& v : all) v = std::nearbyint(v) * step;
      return all;
    };
    const auto x = integers(c.x_dims(), 1, 1);
    const auto w = integers(c.w_dims(), 2, 4);
    const auto dy = integers(c.y_dims(), 3, 1);
    const Expected e = expect(c, x, w, dy);
    const auto check = [&](const std::vector<float>& got, const std::vector<double>& want) {
      CHECK_NEAR(distance(got, want), 0.0, exact ? 1e-6 : 6e-3);
      if (!exact) CHECK(distance(got, want) > 1e-4);
    };
    for (const Isa& isa : isas()) {
      NodeRunner forward(Op::conv2d, c.attributes());
      forward.input(c.x_dims(), x).input(c.w_dims(), w).output(c.y_dims()).run(isa);
      check(forward.result(), e.y);
      NodeRunner data(Op::convDataGrad, c.attributes());
      data.input(c.y_dims(), dy).input(c.w_dims(), w).output(c.x_dims()).run(isa);
      check(data.result(), e.dx);
      NodeRunner weights(Op::convWeightGrad, weight);
      weights.input(c.x_dims(), x).input(c.y_dims(), dy).output(c.w_dims()).run(isa);
      check(weights.result(), e.dw);
    }
  }
}

TEST(conv_of_floats_where_words_of_two_channels_are_half_empty) {
  check_bf16({2, 1, 1, 32, {28, 28}, {3, 3}, {1, 1}, {1, 1}}, false, true, true);
  check_bf16({2, 1, 6, 1, {14, 13}, {3, 3}, {1, 1}, {1, 1}}, true, false, true);
}

TEST(conv_of_floats_in_groups_of_one_channel) {
  check_bf16({2, 5, 1, 1, {13, 20}, {3, 3}, {1, 1}, {1, 1}}, false, false, false);
}

TEST(conv_with_frozen_weights) {
  for (const ConvCase& c : {ConvCase{2, 1, 16, 19, {14, 14}, {3, 3}, {1, 1}, {1, 1}},
                            ConvCase{2, 1, 3, 5, {9, 7}, {3, 2}, {1, 1}, {1, 1}}}) {
    const auto x = random_floats(count_of(c.x_dims()), 1);
    const auto w = random_floats(count_of(c.w_dims()), 2);
    const auto dy = random_floats(count_of(c.y_dims()), 3);
    const Expected e = expect(c, x, w, dy);
    for (const Isa& isa : isas()) {
      KernelHarness forward(isa.launchers, Op::conv2d);
      forward.attributes(c.attributes()).input(c.x_dims(), x).frozen_input(c.w_dims(), w);
      forward.output(c.y_dims()).run();
      CHECK(forward.clean());
      CHECK_NEAR(distance(forward.floats(0), e.y), 0.0, 1e-6);
      KernelHarness transposed(isa.launchers, Op::convTranspose2d);
      transposed.attributes(c.attributes()).input(c.y_dims(), dy).frozen_input(c.w_dims(), w);
      transposed.output(c.x_dims()).run();
      CHECK(transposed.clean());
      CHECK_NEAR(distance(transposed.floats(0), e.dx), 0.0, 1e-6);
    }
  }
}

TEST(conv_without_images_has_no_weight_gradient) {
  const ConvCase c{0, 1, 3, 5, {6, 6}, {3, 3}};
  for (const Isa& isa : isas()) {
    for (const int64_t groups : {1, 3}) {
      ops::ConvWeightGrad::Attributes attributes{c.attributes(), c.kernel};
      attributes.conv.groups = groups;
      NodeRunner node(Op::convWeightGrad, attributes);
      node.input<float>({0, 3, 6, 6}, {}).input<float>({0, 3, 4, 4}, {});
      node.output({3, 3 / groups, 3, 3}).run(isa);
      for (const float v : node.result()) CHECK(v == 0.0F);
    }
  }
}

TEST(conv_flops_are_those_of_the_definition) {
  Graph graph;
  const auto tensor = [](const Shape& shape) { return make_tensor(shape, DType::kFloat32); };
  const ValueId x = graph.add_input(tensor({2, 16, 14, 14}));
  const ValueId w = graph.add_input(tensor({24, 8, 3, 3}));
  const ValueId y = graph.apply(Op::conv2d, {x, w}, make_attributes(Op::conv2d, {{"groups", 2.0}}));
  graph.outputs = {y};
  const double products = 2.0 * 2 * 24 * 12 * 12 * 8 * 9;
  CHECK(count_flops(graph) > products && count_flops(graph) < products * 1.1);
  const double before = count_flops(graph);
  graph.outputs = add_gradients(graph, {{y, y}}, {x, w});
  const double both = count_flops(graph) - before;
  CHECK(both > 2 * products && both < 2 * products * 1.1);
}
