// Convolutions and their gradients: those of a small network for MNIST, of ResNet-50, and of
// networks for phones.
#include "convolution.h"

#include "core/fuse.h"
#include "core/fuse_pools.h"
#include "core/ops/conv.h"
#include "core/precision.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

constexpr Convolution kConvolutions[] = {
    {.batch = 64, .in = 1, .out = 32, .size = 28, .kernel = 3, .quick = true},
    {.batch = 64, .in = 32, .out = 64, .size = 14, .kernel = 3, .quick = true},
    {.batch = 1, .in = 32, .out = 64, .size = 14, .kernel = 3},
    {.batch = 8, .in = 3, .out = 64, .size = 224, .kernel = 7, .stride = 2},
    {.batch = 8, .in = 64, .out = 64, .size = 56, .kernel = 3, .quick = true},
    {.batch = 8, .in = 64, .out = 256, .size = 56, .kernel = 1},
    {.batch = 8, .in = 128, .out = 128, .size = 56, .kernel = 3, .stride = 2},
    {.batch = 8, .in = 256, .out = 256, .size = 14, .kernel = 3},
    {.batch = 8, .in = 512, .out = 512, .size = 7, .kernel = 3},
    {.batch = 8, .in = 144, .out = 144, .size = 56, .kernel = 3, .groups = 144, .quick = true},
};

constexpr Direction kDirections[] = {Direction::kForward, Direction::kDataGradient,
                                     Direction::kWeightGradient};

const char* name_of(Direction direction) {
  switch (direction) {
    case Direction::kForward:
      return "forward";
    case Direction::kDataGradient:
      return "dx";
    case Direction::kWeightGradient:
      return "dw";
  }
  return "";
}

/// With relu and maxPool2d of 2 x 2 behind them, as Predictors run them.
constexpr Convolution kPooled[] = {
    {.batch = 64, .in = 1, .out = 32, .size = 28, .kernel = 3},
    {.batch = 64, .in = 32, .out = 64, .size = 14, .kernel = 3, .quick = true},
    {.batch = 1, .in = 32, .out = 64, .size = 14, .kernel = 3},
};

/// The maxima of relu of a convolution with frozen weights.
Graph pooled_convolution(const Convolution& c) {
  Graph graph;
  const auto tensor = [](const Shape& shape) { return make_tensor(shape, DType::kFloat32); };
  const ValueId x = graph.add_input(tensor({c.batch, c.in, c.size, c.size}));
  const ValueId w = graph.add_parameter(tensor({c.out, c.in, c.kernel, c.kernel}));
  const ValueId bias = graph.add_parameter(tensor({c.out}));
  const ValueId sums =
      graph.apply(Op::conv2d, {x, w, bias},
                  make_attributes(Op::conv2d, {{"padding", static_cast<double>(c.padding())}}));
  const ValueId rectified = graph.apply(Op::relu, {sums}, make_attributes(Op::relu, {}));
  graph.outputs = {graph.apply(Op::maxPool2d, {rectified},
                               make_attributes(Op::maxPool2d, {{"kernel", 2.0}, {"stride", 2.0}}))};
  fuse(graph, cpu_backend());
  return graph;
}

/// x, w and dy as inputs and the output or one of its gradients as a result.
Graph single_convolution(const Convolution& c, Direction direction) {
  Graph graph;
  const auto tensor = [](const Shape& shape) { return make_tensor(shape, DType::kFloat32); };
  const ValueId x = graph.add_input(tensor({c.batch, c.in, c.size, c.size}));
  const ValueId w = graph.add_input(tensor({c.out, c.in / c.groups, c.kernel, c.kernel}));
  AttributeStorage attributes =
      make_attributes(Op::conv2d, {{"stride", static_cast<double>(c.stride)},
                                   {"padding", static_cast<double>(c.padding())},
                                   {"groups", static_cast<double>(c.groups)}});
  if (direction == Direction::kForward) {
    graph.outputs = {graph.apply(Op::conv2d, {x, w}, attributes)};
    return graph;
  }
  const ValueId dy = graph.add_input(tensor({c.batch, c.out, c.out_size(), c.out_size()}));
  const auto& conv = *reinterpret_cast<const ops::ConvAttributes*>(attributes.bytes.data());
  const Expr gradient =
      direction == Direction::kDataGradient
          ? ops::ConvBase::data_gradient({graph, dy}, {graph, w}, {graph, x}, conv)
          : ops::ConvBase::weight_gradient({graph, x}, {graph, dy}, {graph, w}, conv);
  graph.outputs = {gradient.id()};
  return graph;
}

}  // namespace

std::string Convolution::name() const {
  const auto text = [](int64_t n) { return std::to_string(n); };
  std::string all = text(batch) + "x" + text(in) + "x" + text(size) + "x" + text(size) + " to " +
                    text(out) + ", " + text(kernel) + "x" + text(kernel);
  if (stride > 1) all += " /" + text(stride);
  if (groups > 1) all += " g" + text(groups);
  return all;
}

namespace {

void measure_floats(const Suite& suite, const Convolution& convolution, Direction direction,
                    int threads) {
  const Case c{"convolution", convolution.name() + " " + name_of(direction), "f32", threads};
  if (!suite.wants(c)) return;
  std::vector<Side> sides{
      our_program(single_convolution(convolution, direction), convolution.operations(), threads)};
  if (auto side = peak("f32", threads)) sides.push_back(std::move(*side));
  if (auto side = onednn_convolution(convolution, direction, threads))
    sides.push_back(std::move(*side));
  suite.measure(c, sides);
}

/// As bf16-mixed trains: operands in float, rounded on the way. Beside our own in float.
void measure_bf16(const Suite& suite, const Convolution& convolution, Direction direction,
                  int threads) {
  const Case c{"convolution", convolution.name() + " " + name_of(direction), "bf16", threads};
  if (!suite.wants(c)) return;
  Graph graph = single_convolution(convolution, direction);
  use_bf16(graph);
  std::vector<Side> sides{our_program(std::move(graph), convolution.operations(), threads)};
  Side floats =
      our_program(single_convolution(convolution, direction), convolution.operations(), threads);
  floats.name = "float32";
  sides.push_back(std::move(floats));
  if (auto side = peak("bf16", threads)) sides.push_back(std::move(*side));
  suite.measure(c, sides);
}

/// Beside the convolution and its maxima one after the other.
void measure_pooled(const Suite& suite, const Convolution& convolution, int threads) {
  const Case c{"pooled convolution", convolution.name(), "f32", threads};
  if (!suite.wants(c)) return;
  const double work = convolution.operations();
  Graph graph = pooled_convolution(convolution);
  fuse_pools(graph);
  std::vector<Side> sides{our_program(std::move(graph), work, threads, true)};
  sides.push_back(our_program(pooled_convolution(convolution), work, threads, true));
  sides.back().name = "apart";
  if (auto side = peak("f32", threads)) sides.push_back(std::move(*side));
  suite.measure(c, sides);
}

}  // namespace

void run_convolutions(const Suite& suite) {
  for (const Convolution& convolution : kConvolutions) {
    if (suite.options().quick && !convolution.quick) continue;
    for (const Direction direction : kDirections) {
      for (const int threads : suite.options().threads) {
        measure_floats(suite, convolution, direction, threads);
        measure_bf16(suite, convolution, direction, threads);
      }
    }
  }
  for (const Convolution& convolution : kPooled) {
    if (suite.options().quick && !convolution.quick) continue;
    for (const int threads : suite.options().threads) measure_pooled(suite, convolution, threads);
  }
}

}  // namespace tandem::bench
