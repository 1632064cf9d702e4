// Quantized inference on a GPU against the CPU's: the same description, weights and calibration.
// Sums are exact on both, and so are bytes but for activations whose last bit differs, so that a
// few bytes in thousands may be a step apart.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/predictor.h"
#include "core/quantize.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

constexpr double kQuantizedTolerance = 1e-5;

std::vector<float> random_numbers(int64_t n, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
  return x;
}

/// A description in the making: values are numbered from its inputs and parameters on.
struct Net {
  GraphDescription d;

  int64_t input(const Shape& shape, DType dtype = DType::kFloat32) {
    d.inputs.push_back({"x", shape, dtype});
    return 0;
  }
  int64_t parameter(const Shape& shape) {
    const Initializer uniform{InitializerKind::kUniform, -0.5, 0.5};
    std::string name(1, 'p');  // GCC 12 warns of "p" + ... by mistake
    name += std::to_string(d.parameters.size());
    d.parameters.push_back({std::move(name), shape, true, uniform});
    return static_cast<int64_t>(d.parameters.size());
  }
  /// To be called once all parameters are there.
  int64_t node(const std::string& op, const std::vector<int64_t>& inputs,
               const AttributeList& attributes = {},
               std::shared_ptr<const Quantization> quantization = nullptr) {
    d.nodes.push_back({op, inputs, attributes, std::move(quantization)});
    return static_cast<int64_t>(d.inputs.size() + d.parameters.size() + d.nodes.size()) - 1;
  }
  /// Of a node that multiplies with weights [rows, ...].
  std::shared_ptr<const Quantization> by(QuantizationMode mode, int64_t rows) const {
    auto q = std::make_shared<Quantization>();
    q->mode = mode;
    q->scale = 0x1p-6F;
    q->zero = 117;
    q->index = static_cast<int32_t>(d.nodes.size());
    for (int64_t i = 0; i < rows; ++i)
      q->weight_scales.push_back(0.5F / 127.0F * (1.0F - static_cast<float>(i % 7) * 0.03F));
    return q;
  }
};

/// The same network with the weights of quantized nodes as bytes in memory.
Net with_bytes(Net net) {
  for (NodeDescription& node : net.d.nodes) {
    if (node.quantization == nullptr || node.inputs.size() < 2) continue;
    auto quantization = std::make_shared<Quantization>(*node.quantization);
    quantization->weight_is_bytes = true;
    node.quantization = quantization;
    ParameterDescription& weight =
        net.d.parameters[static_cast<size_t>(node.inputs[1]) - net.d.inputs.size()];
    weight.is_bytes = true;
    weight.trainable = false;
  }
  return net;
}

std::vector<float> predicted(const Net& net, int64_t rows, const void* x, const Backend& backend) {
  const ParameterStore store(net.d.parameters, 5);
  for (size_t i = 0; i < net.d.parameters.size(); ++i) {
    if (!net.d.parameters[i].is_bytes) continue;
    auto* const bytes = store.memory().data.get() + store.layout().offsets[i];
    for (int64_t k = 0; k < stored_tensor(net.d.parameters[i]).numel; ++k)
      bytes[k] = static_cast<std::byte>(k * 37 % 255 - 127);
  }
  Predictor predictor(store, net.d, 0, rows, backend);
  Predictor::Session session(predictor);
  std::vector<float> y(static_cast<size_t>(predictor.shapes(rows).outputs[0].numel));
  session.run(rows, {x}, {y.data()});
  // again: what was made of the weights is found, and nothing in memory was spoilt
  std::vector<float> again(y.size());
  session.run(rows, {x}, {again.data()});
  CHECK(distance(again.data(), y.data(), static_cast<int64_t>(y.size())) == 0);
  return y;
}

void compare_nets(const char* name, const Net& net, int64_t rows, const void* x,
                  double tolerance = kQuantizedTolerance) {
  try {
    const std::vector<float> got = predicted(net, rows, x, gpu());
    const std::vector<float> want = predicted(net, rows, x, cpu_backend());
    const double far = distance(got.data(), want.data(), static_cast<int64_t>(want.size()));
    if (!(far <= tolerance)) std::printf("  %s of %d rows differs by %g\n", name, int(rows), far);
    CHECK(far <= tolerance);
  } catch (const Error& error) {
    std::printf("  %s: %s\n", name, error.what());
    CHECK(false);
  }
}

struct Sizes {
  int64_t m, k, n;
};
constexpr Sizes kLinear[] = {{1, 1, 1},    {1, 64, 10},    {3, 65, 33},    {16, 30, 70},
                             {17, 16, 64}, {65, 127, 130}, {130, 258, 129}};

void compare_linear(QuantizationMode mode, const Sizes& s, bool bias, const char* activation) {
  Net net;
  const int64_t x = net.input({-1, s.k});
  std::vector<int64_t> operands = {x, net.parameter({s.n, s.k})};
  if (bias) operands.push_back(net.parameter({s.n}));
  int64_t y = net.node("linear", operands, {}, net.by(mode, s.n));
  if (activation != nullptr) y = net.node(activation, {y});
  net.d.outputs = {y};
  const std::vector<float> feed = random_numbers(s.m * s.k, 3);
  compare_nets(activation == nullptr ? "quantized linear" : activation, net, s.m, feed.data());
  compare_nets("linear of bytes", with_bytes(net), s.m, feed.data());
}

}  // namespace

TEST(gpu_quantized_linear) {
  for (const QuantizationMode mode :
       {QuantizationMode::kStatic, QuantizationMode::kDynamic, QuantizationMode::kWeights}) {
    for (const Sizes& s : kLinear) {
      compare_linear(mode, s, false, nullptr);
      compare_linear(mode, s, true, "relu");
    }
    for (const char* activation : {"geluTanh", "silu", "tanh", "hardSwish"})
      compare_linear(mode, {33, 40, 36}, true, activation);
  }
}

TEST(gpu_quantized_linear_of_many_rows) {
  constexpr Sizes kLarge[] = {{130, 530, 1040}, {300, 272, 4100}, {1024, 1024, 1024}};
  for (const Sizes& s : kLarge) {
    for (const QuantizationMode mode : {QuantizationMode::kStatic, QuantizationMode::kDynamic})
      compare_linear(mode, s, true, "relu");
  }
}

TEST(gpu_bytes_go_from_product_to_product) {
  for (const char* activation : {"relu", "gelu"}) {
    for (const int64_t rows : {1, 5, 70}) {
      Net net;
      const int64_t x = net.input({-1, 20});
      const int64_t first = net.parameter({50, 20});
      const int64_t second = net.parameter({7, 50});
      const auto static_mode = QuantizationMode::kStatic;
      int64_t y = net.node("linear", {x, first}, {}, net.by(static_mode, 50));
      y = net.node(activation, {y});
      net.d.outputs = {net.node("linear", {y, second}, {}, net.by(static_mode, 7))};
      const std::vector<float> feed = random_numbers(rows * 20, 4);
      // a byte that is a step apart is 2^-6 of one of 50 summands
      compare_nets(activation, net, rows, feed.data(), 2e-3);
    }
  }
}

namespace {

struct Convolved {
  Shape x;
  int64_t out;
  std::vector<double> kernel, stride, padding, dilation;
};
const Convolved kConvolved[] = {
    {{2, 3, 9, 11}, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {{1, 16, 7, 6}, 33, {3, 2}, {2, 1}, {0, 2}, {1, 1}},
    {{3, 32, 5, 5}, 16, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {{2, 20, 6, 7}, 9, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {{2, 17, 12, 9}, 70, {2, 3}, {1, 2}, {2, 1}, {3, 2}},
    {{1, 48, 13, 14}, 130, {3, 3}, {1, 1}, {1, 1}, {2, 2}},
};

AttributeList attributes_of(const Convolved& c) {
  return {{"stride", c.stride}, {"padding", c.padding}, {"dilation", c.dilation}};
}

}  // namespace

TEST(gpu_quantized_convolution) {
  for (const Convolved& c : kConvolved) {
    Net net;
    const int64_t x = net.input({-1, c.x[1], c.x[2], c.x[3]});
    const int64_t w = net.parameter(
        {c.out, c.x[1], static_cast<int64_t>(c.kernel[0]), static_cast<int64_t>(c.kernel[1])});
    const int64_t bias = net.parameter({c.out});
    const int64_t y = net.node("conv2d", {x, w, bias}, attributes_of(c),
                               net.by(QuantizationMode::kStatic, c.out));
    net.d.outputs = {net.node("relu", {y})};
    const std::vector<float> feed = random_numbers(c.x[0] * c.x[1] * c.x[2] * c.x[3], 5);
    compare_nets("quantized conv2d", net, c.x[0], feed.data());
    compare_nets("conv2d of bytes", with_bytes(net), c.x[0], feed.data());
  }
}

TEST(gpu_weights_alone_may_be_bytes) {
  for (const Convolved& c : kConvolved) {
    Net net;
    const int64_t x = net.input({-1, c.x[1], c.x[2], c.x[3]});
    const int64_t w = net.parameter(
        {c.out, c.x[1], static_cast<int64_t>(c.kernel[0]), static_cast<int64_t>(c.kernel[1])});
    net.d.outputs = {
        net.node("conv2d", {x, w}, attributes_of(c), net.by(QuantizationMode::kWeights, c.out))};
    const std::vector<float> feed = random_numbers(c.x[0] * c.x[1] * c.x[2] * c.x[3], 5);
    compare_nets("weights of conv2d", net, c.x[0], feed.data());
    compare_nets("weights of conv2d in bytes", with_bytes(net), c.x[0], feed.data());
  }
}

TEST(gpu_quantized_images_stay_bytes) {
  // conv, relu, max pooling, conv, flatten, linear: bytes from end to end, channels last and first
  Net net;
  const int64_t x = net.input({-1, 3, 13, 12});
  const int64_t first = net.parameter({18, 3, 3, 3});
  const int64_t second = net.parameter({10, 18, 2, 2});
  const int64_t last = net.parameter({6, 10 * 5 * 4});
  const auto mode = QuantizationMode::kStatic;
  int64_t y =
      net.node("conv2d", {x, first}, {{"padding", std::vector<double>{1, 1}}}, net.by(mode, 18));
  y = net.node("relu", {y});
  y = net.node("maxPool2d", {y},
               {{"kernel", std::vector<double>{3, 3}},
                {"stride", std::vector<double>{2, 2}},
                {"padding", std::vector<double>{1, 1}}});
  y = net.node("conv2d", {y, second}, {{"stride", std::vector<double>{1, 1}}}, net.by(mode, 10));
  y = net.node("relu", {y});
  y = net.node("slice", {y}, {{"axis", 2.0}, {"start", 0.0}, {"end", 5.0}, {"step", 1.0}});
  y = net.node("slice", {y}, {{"axis", 3.0}, {"start", 0.0}, {"end", 4.0}, {"step", 1.0}});
  y = net.node("flatten", {y});
  net.d.outputs = {net.node("linear", {y, last}, {}, net.by(mode, 6))};
  for (const int64_t rows : {1, 4}) {
    const std::vector<float> feed = random_numbers(rows * 3 * 13 * 12, 6);
    compare_nets("quantized images", net, rows, feed.data());
  }
}

TEST(gpu_quantized_recurrences) {
  struct Steps {
    int64_t batch, time, units;
  };
  for (const Steps& s : {Steps{1, 1, 1}, Steps{3, 4, 7}, Steps{65, 3, 33}, Steps{2, 5, 130}}) {
    for (const bool gru : {false, true}) {
      const int64_t gates = (gru ? 3 : 4) * s.units;
      Net net;
      const int64_t x = net.input({-1, s.time, gates});
      std::vector<int64_t> operands = {x, net.parameter({gates, s.units})};
      if (gru) operands.push_back(net.parameter({gates}));
      net.d.outputs = {
          net.node(gru ? "gru" : "lstm", operands, {}, net.by(QuantizationMode::kDynamic, gates))};
      const std::vector<float> feed = random_numbers(s.batch * s.time * gates, 9);
      // a state whose last bit differs may be another byte
      compare_nets(gru ? "quantized gru" : "quantized lstm", net, s.batch, feed.data(), 2e-3);
      compare_nets("recurrence of bytes", with_bytes(net), s.batch, feed.data(), 2e-3);
    }
  }
}

TEST(gpu_quantized_embedding) {
  Net net;
  const int64_t x = net.input({-1, 5}, DType::kInt32);
  const int64_t table = net.parameter({37, 13});
  net.d.outputs = {net.node("embedding", {x, table}, {}, net.by(QuantizationMode::kWeights, 37))};
  std::vector<int32_t> feed;
  for (int32_t i = 0; i < 35; ++i) feed.push_back(i * 17 % 37);
  feed[3] = -1;
  feed[9] = 37;
  compare_nets("quantized embedding", net, 7, feed.data());
  compare_nets("embedding of bytes", with_bytes(net), 7, feed.data());
}

namespace {

struct Attended {
  int64_t batch, heads, time, keys, depth, value_depth;
  bool causal;
};
const Attended kAttended[] = {{2, 3, 5, 5, 7, 7, false},      {1, 2, 70, 70, 64, 64, true},
                              {2, 1, 33, 130, 20, 72, false}, {1, 1, 65, 64, 100, 3, true},
                              {1, 2, 1, 1, 1, 1, false},      {1, 1, 129, 129, 128, 128, true}};

}  // namespace

TEST(gpu_quantized_attention) {
  for (const Attended& a : kAttended) {
    // queries, keys and values apart, from one feed
    Net net;
    const int64_t q = a.heads * a.time * a.depth;
    const int64_t k = a.heads * a.keys * a.depth;
    const int64_t v = a.heads * a.keys * a.value_depth;
    const int64_t x = net.input({-1, q + k + v});
    const auto part = [&](int64_t begin, int64_t end, int64_t rows, int64_t columns) {
      const int64_t piece = net.node("slice", {x},
                                     {{"axis", 1.0},
                                      {"start", static_cast<double>(begin)},
                                      {"end", static_cast<double>(end)},
                                      {"step", 1.0}});
      const std::vector<double> shape = {-1, static_cast<double>(a.heads),
                                         static_cast<double>(rows), static_cast<double>(columns)};
      return net.node("reshape", {piece}, {{"shape", shape}});
    };
    const int64_t queries = part(0, q, a.time, a.depth);
    const int64_t keys = part(q, q + k, a.keys, a.depth);
    const int64_t values = part(q + k, q + k + v, a.keys, a.value_depth);
    net.d.outputs = {net.node("attention", {queries, keys, values}, {{"causal", a.causal}},
                              net.by(QuantizationMode::kDynamic, 0))};
    const std::vector<float> feed = random_numbers(a.batch * (q + k + v), 8);
    // probabilities near the middle of two bytes may go either way
    compare_nets("quantized attention", net, a.batch, feed.data(), 1e-3);
  }
}
