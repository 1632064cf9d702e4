// Ops of quantized inference against sums of integers: scales are powers of two, so that every
// number has one right value and results must be equal, on every instruction set.
#include "core/ops/quantized.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"
#include "kernel_harness.h"
#include "node_runner.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

constexpr float kXScale = 0x1p-3F;

struct Random {
  std::mt19937 engine;
  int in(int low, int high) {
    return low + static_cast<int>(engine() % static_cast<uint32_t>(high - low + 1));
  }
  template <typename T>
  std::vector<T> list(int64_t n, int low, int high) {
    std::vector<T> v(static_cast<size_t>(n));
    for (T& x : v) x = static_cast<T>(in(low, high));
    return v;
  }
};

/// Whole numbers that bytes hold, and the scales that make weights of them.
struct Weights {
  std::vector<int32_t> numbers;
  std::vector<float> scales, floats;
  Weights(Random& random, int64_t rows, int64_t columns)
      : numbers(random.list<int32_t>(rows * columns, -127, 127)) {
    for (int64_t i = 0; i < rows; ++i) scales.push_back(std::ldexp(1.0F, -random.in(3, 6)));
    for (size_t i = 0; i < numbers.size(); ++i)
      floats.push_back(static_cast<float>(numbers[i]) * scales[i / static_cast<size_t>(columns)]);
  }
  /// As floats, or as the bytes that a quantized file holds.
  void freeze(KernelHarness& kernel, const KernelHarness::Dims& dims, bool as_bytes) const {
    if (as_bytes) {
      kernel.frozen_input(dims, std::vector<uint8_t>(numbers.begin(), numbers.end()));
    } else {
      kernel.frozen_input(dims, floats);
    }
  }
};

/// act(value), in floats or as a byte.
double result_of(const ops::QuantizedProduct& p, double value) {
  if (p.activation == static_cast<int32_t>(Op::relu)) value = std::max(value, 0.0);
  if (p.activation == static_cast<int32_t>(Op::leakyRelu) && value < 0)
    value *= static_cast<double>(p.activation_attributes.a);
  if (!p.to_bytes) return value;
  const double steps = std::nearbyint(value / static_cast<double>(p.y_scale)) + p.y_zero;
  return std::clamp(steps, 0.0, 255.0);
}

std::vector<double> results(const KernelHarness& kernel, bool bytes) {
  if (bytes) {
    const std::vector<uint8_t> all = kernel.bytes(0);
    return {all.begin(), all.end()};
  }
  const std::vector<float> all = kernel.floats(0);
  return {all.begin(), all.end()};
}

ops::QuantizedProduct random_product(Random& random) {
  ops::QuantizedProduct p;
  const Op activations[] = {Op::relu, Op::leakyRelu};
  if (random.in(0, 2) > 0) p.activation = static_cast<int32_t>(activations[random.in(0, 1)]);
  p.activation_attributes = {0.25F, 0.0F};
  p.x_scale = kXScale;
  p.x_zero = random.in(0, 255);
  p.to_bytes = random.in(0, 1) == 1;
  p.y_scale = std::ldexp(1.0F, random.in(-2, 4));
  p.y_zero = random.in(0, 255);
  return p;
}

std::vector<float> biases(Random& random, int64_t n) {
  std::vector<float> bias = random.list<float>(n, -500, 500);
  for (float& b : bias) b *= 0x1p-4F;
  return bias;
}

DType type_of(const ops::QuantizedProduct& p) {
  return p.to_bytes ? DType::kUInt8 : DType::kFloat32;
}

void linear_case(const Isa& isa, Random& random, int64_t m, int64_t n, int64_t k) {
  ops::QuantizedProduct p = random_product(random);
  const Weights w(random, n, k);
  p.weight_scales = w.scales.data();
  const auto x = random.list<uint8_t>(m * k, 0, 255);
  const bool biased = random.in(0, 1) == 1;
  const std::vector<float> bias = biases(random, n);
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(p).input({m, k}, x);
  w.freeze(kernel, {n, k}, random.in(0, 1) == 1);
  if (biased) kernel.input({n}, bias);
  kernel.output({m, n}, type_of(p)).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      int64_t sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += (x[static_cast<size_t>(i * k + l)] - p.x_zero) *
               w.numbers[static_cast<size_t>(j * k + l)];
      double value = static_cast<double>(sum) * static_cast<double>(kXScale) *
                     static_cast<double>(w.scales[static_cast<size_t>(j)]);
      if (biased) value += static_cast<double>(bias[static_cast<size_t>(j)]);
      CHECK(found[static_cast<size_t>(i * n + j)] == result_of(p, value));
    }
  }
}

TEST(quantized_linear_is_exact) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(11)};
    const int64_t sizes[][3] = {{1, 1, 1},    {1, 10, 64},   {3, 33, 65}, {17, 40, 30},
                                {64, 7, 127}, {2, 130, 258}, {40, 64, 96}};
    for (const auto& [m, n, k] : sizes) {
      for (int i = 0; i < 4; ++i) linear_case(isa, random, m, n, k);
    }
  }
}

/// Rows of whole numbers from -100 to 155, both of which occur: their scale is 1.
std::vector<float> whole_rows(Random& random, int64_t m, int64_t k) {
  std::vector<float> x = random.list<float>(m * k, -100, 155);
  for (int64_t i = 0; i < m; ++i) {
    x[static_cast<size_t>(i * k)] = 155;
    x[static_cast<size_t>(i * k + k - 1)] = -100;
  }
  return x;
}

void float_input_case(const Isa& isa, Random& random, QuantizationMode mode, int64_t m, int64_t n,
                      int64_t k) {
  ops::QuantizedProduct p = random_product(random);
  p.mode = mode;
  if (mode == QuantizationMode::kWeights) p.to_bytes = false;
  const Weights w(random, n, k);
  p.weight_scales = w.scales.data();
  const std::vector<float> x = whole_rows(random, m, k);
  const std::vector<float> bias = biases(random, n);
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(p).input({m, k}, x);
  w.freeze(kernel, {n, k}, random.in(0, 1) == 1);
  kernel.input({n}, bias);
  kernel.output({m, n}, type_of(p)).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double value = static_cast<double>(bias[static_cast<size_t>(j)]);
      for (int64_t l = 0; l < k; ++l)
        value += static_cast<double>(x[static_cast<size_t>(i * k + l)]) *
                 static_cast<double>(w.floats[static_cast<size_t>(j * k + l)]);
      CHECK(found[static_cast<size_t>(i * n + j)] == result_of(p, value));
    }
  }
}

TEST(quantized_linear_of_rows_with_their_own_ranges_is_exact) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(12)};
    const int64_t sizes[][3] = {
        {1, 10, 64}, {5, 33, 67}, {19, 70, 30}, {1, 200, 129}, {300, 40, 33}};
    for (const auto& [m, n, k] : sizes) {
      for (int i = 0; i < 2; ++i) {
        float_input_case(isa, random, QuantizationMode::kDynamic, m, n, k);
        float_input_case(isa, random, QuantizationMode::kWeights, m, n, k);
      }
    }
  }
}

struct ConvCase {
  int64_t images, channels, rows, columns, out, tap_rows, tap_columns;
  ops::ConvAttributes conv;
};

void conv_case(const Isa& isa, Random& random, const ConvCase& c) {
  ops::QuantizedConv::Attributes attributes{random_product(random), c.conv};
  ops::QuantizedProduct& p = attributes.product;
  const int64_t taps = c.tap_rows * c.tap_columns;
  const int64_t each = c.channels / c.conv.groups;  // channels of a group
  const Weights w(random, c.out, each * taps);
  p.weight_scales = w.scales.data();
  const auto x = random.list<uint8_t>(c.images * c.rows * c.columns * c.channels, 0, 255);
  const std::vector<float> bias = biases(random, c.out);
  const IntPair stride = c.conv.stride, padding = c.conv.padding, dilation = c.conv.dilation;
  const auto positions = [](int64_t size, int64_t tap, int64_t step, int64_t pad, int64_t apart) {
    return (size + 2 * pad - apart * (tap - 1) - 1) / step + 1;
  };
  const int64_t y_rows =
      positions(c.rows, c.tap_rows, stride.height, padding.height, dilation.height);
  const int64_t y_columns =
      positions(c.columns, c.tap_columns, stride.width, padding.width, dilation.width);
  KernelHarness kernel(isa.launchers, Op::quantizedConv);
  kernel.attributes(attributes).input({c.images, c.rows, c.columns, c.channels}, x);
  w.freeze(kernel, {c.out, each, c.tap_rows, c.tap_columns}, random.in(0, 1) == 1);
  kernel.input({c.out}, bias)
      .output({c.images, y_rows, y_columns, c.out}, type_of(p))
      .order(TileOrder::kShuffled)
      .run();
  CHECK(kernel.clean());
  const std::vector<double> found = results(kernel, p.to_bytes);
  const auto sum_at = [&](int64_t image, int64_t row, int64_t column, int64_t o) {
    int64_t sum = 0;
    const int64_t first = o / (c.out / c.conv.groups) * each;
    for (int64_t i = 0; i < each; ++i)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t r =
            row * stride.height - padding.height + t / c.tap_columns * dilation.height;
        const int64_t q =
            column * stride.width - padding.width + t % c.tap_columns * dilation.width;
        if (r < 0 || r >= c.rows || q < 0 || q >= c.columns) continue;
        const int64_t at = ((image * c.rows + r) * c.columns + q) * c.channels + first + i;
        sum += (x[static_cast<size_t>(at)] - p.x_zero) *
               w.numbers[static_cast<size_t>((o * each + i) * taps + t)];
      }
    return sum;
  };
  size_t next = 0;
  for (int64_t image = 0; image < c.images; ++image)
    for (int64_t row = 0; row < y_rows; ++row)
      for (int64_t column = 0; column < y_columns; ++column)
        for (int64_t o = 0; o < c.out; ++o) {
          const auto at = static_cast<size_t>(o);
          const double value = static_cast<double>(sum_at(image, row, column, o)) *
                                   static_cast<double>(kXScale) *
                                   static_cast<double>(w.scales[at]) +
                               static_cast<double>(bias[at]);
          CHECK(found[next++] == result_of(p, value));
        }
}

TEST(quantized_conv_is_exact) {
  const ConvCase cases[] = {
      {1, 1, 9, 7, 5, 3, 3, {{1, 1}, {1, 1}, {1, 1}}},
      {2, 3, 11, 13, 33, 3, 3, {{1, 1}, {1, 1}, {1, 1}}},
      {1, 5, 12, 10, 8, 5, 3, {{2, 3}, {2, 0}, {1, 1}}},
      {2, 4, 9, 9, 40, 1, 1, {{1, 1}, {0, 0}, {1, 1}}},
      {1, 16, 8, 9, 17, 3, 3, {{1, 1}, {2, 2}, {2, 2}}},
      {3, 6, 1, 21, 7, 1, 4, {{1, 2}, {0, 3}, {1, 1}}},
      {1, 2, 3, 3, 4, 3, 3, {{1, 1}, {3, 3}, {1, 1}}},
  };
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(13)};
    for (const ConvCase& one : cases) {
      for (int i = 0; i < 3; ++i) conv_case(isa, random, one);
    }
  }
}

TEST(quantized_conv_in_groups_is_exact) {
  const auto groups = [](int64_t count, IntPair stride = {1, 1}, IntPair padding = {1, 1},
                         IntPair dilation = {1, 1}) {
    return ops::ConvAttributes{stride, padding, dilation, {0, 0}, count};
  };
  const ConvCase cases[] = {
      {1, 6, 9, 7, 6, 3, 3, groups(6)},
      {2, 35, 8, 9, 35, 3, 3, groups(35, {2, 1})},
      {1, 3, 7, 8, 12, 5, 3, groups(3, {1, 1}, {2, 0})},
      {1, 16, 8, 9, 16, 3, 3, groups(16, {1, 2}, {2, 2}, {2, 3})},
      {1, 2, 3, 3, 2, 3, 3, groups(2, {1, 1}, {3, 3})},
      {3, 6, 1, 21, 6, 1, 4, groups(6, {1, 2}, {0, 3})},
      {2, 8, 9, 9, 12, 3, 3, groups(2)},
      {1, 12, 5, 5, 8, 1, 1, groups(4, {1, 1}, {0, 0})},
      {2, 16, 6, 7, 40, 1, 1, groups(4, {1, 1}, {0, 0})},
      {1, 12, 8, 9, 6, 3, 3, groups(3, {2, 2}, {2, 2}, {2, 2})},
  };
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(18)};
    for (const ConvCase& one : cases) {
      for (int i = 0; i < 3; ++i) conv_case(isa, random, one);
    }
  }
}

TEST(quantize_rounds_to_even_and_moves_channels) {
  Random random{std::mt19937(14)};
  const int64_t n = 2, c = 3, h = 17, w = 19;
  std::vector<float> x = random.list<float>(n * c * h * w, -300, 700);
  for (float& v : x) v *= 0.25F;
  for (const Isa& isa : isas()) {
    for (const bool last : {false, true}) {
      const ops::Quantize::Attributes attributes{0.5F, 40, last};
      KernelHarness kernel(isa.launchers, Op::quantize);
      kernel.attributes(attributes).input({n, c, h, w}, x).output({n, h, w, c}, DType::kUInt8);
      kernel.run();
      CHECK(kernel.clean());
      const std::vector<uint8_t> found = kernel.bytes(0);
      for (int64_t i = 0; i < n * c * h * w; ++i) {
        const int64_t image = i / (c * h * w), channel = i / (h * w) % c, pixel = i % (h * w);
        const int64_t at = last ? (image * h * w + pixel) * c + channel : i;
        const double wanted =
            std::nearbyint(static_cast<double>(x[static_cast<size_t>(i)]) / 0.5) + 40;
        CHECK(found[static_cast<size_t>(at)] == std::clamp(wanted, 0.0, 255.0));
      }
    }
  }
}

TEST(bytes_move_their_channels_and_back) {
  Random random{std::mt19937(15)};
  const int64_t n = 2, c = 5, h = 20, w = 15;
  const auto x = random.list<uint8_t>(n * c * h * w, 0, 255);
  for (const Isa& isa : isas()) {
    KernelHarness first(isa.launchers, Op::moveChannels);
    first.attributes(ops::MoveChannels::Attributes{true}).input({n, c, h, w}, x);
    first.output({n, h, w, c}, DType::kUInt8).run();
    KernelHarness second(isa.launchers, Op::moveChannels);
    second.attributes(ops::MoveChannels::Attributes{false}).input({n, h, w, c}, first.bytes(0));
    second.output({n, c, h, w}, DType::kUInt8).run();
    CHECK(first.clean() && second.clean());
    CHECK(second.bytes(0) == x);
    CHECK(first.bytes(0)[1] == x[static_cast<size_t>(h * w)]);
  }
}

TEST(max_pool_of_bytes) {
  Random random{std::mt19937(16)};
  const int64_t n = 2, c = 35, h = 9, w = 11;
  const auto x = random.list<uint8_t>(n * c * h * w, 0, 255);
  ops::PoolAttributes pool{};
  pool.kernel = {3, 2};
  pool.stride = {2, 2};
  pool.padding = {1, 1};
  const int64_t rows = (h + 2 - 3) / 2 + 1, columns = (w + 2 - 2) / 2 + 1;
  for (const Isa& isa : isas()) {
    KernelHarness kernel(isa.launchers, Op::maxPoolBytes);
    kernel.attributes(pool).input({n, h, w, c}, x);
    kernel.output({n, rows, columns, c}, DType::kUInt8).order(TileOrder::kShuffled).run();
    CHECK(kernel.clean());
    const std::vector<uint8_t> found = kernel.bytes(0);
    for (size_t i = 0; i < found.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const int64_t channel = at % c, column = at / c % columns, row = at / c / columns % rows;
      int wanted = -1;
      for (int64_t r = row * 2 - 1; r < row * 2 + 2; ++r)
        for (int64_t q = column * 2 - 1; q < column * 2 + 1; ++q) {
          if (r < 0 || r >= h || q < 0 || q >= w) continue;
          const int64_t from = ((at / c / columns / rows * h + r) * w + q) * c + channel;
          wanted = std::max<int>(wanted, x[static_cast<size_t>(from)]);
        }
      CHECK(found[i] == wanted);
    }
  }
}

TEST(quantized_embedding_reads_rows_with_their_scales) {
  Random random{std::mt19937(17)};
  const int64_t count = 13, dim = 37;
  const Weights w(random, count, dim);
  const std::vector<int32_t> index = {0, 12, 5, -1, 13, 5};
  for (const Isa& isa : isas()) {
    KernelHarness kernel(isa.launchers, Op::quantizedEmbedding);
    kernel.attributes(ops::QuantizedEmbedding::Attributes{0, w.scales.data()});
    kernel.input({6}, index);
    w.freeze(kernel, {count, dim}, random.in(0, 1) == 1);
    kernel.output({6, dim}).run();
    CHECK(kernel.clean());
    const std::vector<float> found = kernel.floats(0);
    for (size_t i = 0; i < found.size(); ++i) {
      const int64_t row = index[i / static_cast<size_t>(dim)];
      if (row < 0 || row >= count) {
        CHECK(std::isnan(found[i]));
      } else {
        CHECK(found[i] == w.floats[static_cast<size_t>(row * dim) + i % static_cast<size_t>(dim)]);
      }
    }
  }
}

/// `mask` [time, keys] may be empty.
std::vector<double> attend(const std::vector<float>& q, const std::vector<float>& k,
                           const std::vector<float>& v, int64_t heads, int64_t time, int64_t keys,
                           int64_t depth, int64_t value_depth, bool causal,
                           const std::vector<float>& mask = {}) {
  std::vector<double> y(static_cast<size_t>(heads * time * value_depth));
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < time; ++i) {
      const int64_t seen = causal ? std::min(i + 1, keys) : keys;
      std::vector<double> p(static_cast<size_t>(seen));
      double sum = 0;
      for (int64_t j = 0; j < seen; ++j) {
        double dot = 0;
        for (int64_t l = 0; l < depth; ++l)
          dot += static_cast<double>(q[static_cast<size_t>((h * time + i) * depth + l)]) *
                 static_cast<double>(k[static_cast<size_t>((h * keys + j) * depth + l)]);
        dot /= std::sqrt(static_cast<double>(depth));
        if (!mask.empty()) dot += static_cast<double>(mask[static_cast<size_t>(i * keys + j)]);
        p[static_cast<size_t>(j)] = std::exp(dot);
        sum += p[static_cast<size_t>(j)];
      }
      for (int64_t j = 0; j < seen; ++j)
        for (int64_t l = 0; l < value_depth; ++l)
          y[static_cast<size_t>((h * time + i) * value_depth + l)] +=
              p[static_cast<size_t>(j)] / sum *
              static_cast<double>(v[static_cast<size_t>((h * keys + j) * value_depth + l)]);
    }
  return y;
}

/// Keys that are all alike leave the mean of the values, however large their scores.
TEST(quantized_attention_of_huge_scores) {
  constexpr int64_t kDepth = 4, kKeys = 37;
  const auto v = random_floats(kKeys * kDepth, 3);
  const std::vector<float> k(kKeys * kDepth, 1.0F);
  std::vector<double> mean(kDepth, 0.0);
  for (size_t i = 0; i < v.size(); ++i) mean[i % kDepth] += static_cast<double>(v[i]) / kKeys;
  for (const float size : {1e9F, -1e9F, 1e30F}) {
    for (const Isa& isa : isas()) {
      KernelHarness kernel(isa.launchers, Op::quantizedAttention);
      kernel.attributes(ops::AttentionAttributes{})
          .input({1, 1, 1, kDepth}, std::vector<float>(kDepth, size))
          .input({1, 1, kKeys, kDepth}, k)
          .input({1, 1, kKeys, kDepth}, v)
          .output({1, 1, 1, kDepth})
          .run();
      for (size_t i = 0; i < kDepth; ++i) CHECK_NEAR(kernel.floats(0)[i], mean[i], 0.01);
    }
  }
}

TEST(quantized_attention_is_close_to_attention) {
  const int64_t heads = 3, depth = 24, value_depth = 17;
  for (const Isa& isa : isas()) {
    for (const bool causal : {false, true}) {
      for (const int64_t time : {1, 7, 70}) {
        const int64_t keys = causal ? time : time + 5;
        const auto q = random_floats(heads * time * depth, 1, -2.0F, 2.0F);
        const auto k = random_floats(heads * keys * depth, 2, -2.0F, 2.0F);
        const auto v = random_floats(heads * keys * value_depth, 3);
        ops::AttentionAttributes attributes{};
        attributes.causal = causal;
        KernelHarness kernel(isa.launchers, Op::quantizedAttention);
        kernel.attributes(attributes)
            .input({1, heads, time, depth}, q)
            .input({1, heads, keys, depth}, k)
            .input({1, heads, keys, value_depth}, v)
            .output({1, heads, time, value_depth})
            .order(TileOrder::kShuffled)
            .run();
        CHECK(kernel.clean());
        const auto wanted = attend(q, k, v, heads, time, keys, depth, value_depth, causal);
        // Bytes have steps of 1 / 255 of their range: some 0.5 % in each of three operands.
        CHECK(distance(kernel.floats(0), wanted) < 0.02);
      }
    }
  }
}

TEST(quantized_attention_adds_a_mask) {
  const int64_t heads = 2, depth = 20, value_depth = 12, keys = 33;
  for (const Isa& isa : isas()) {
    for (const int64_t time : {1, 9, 70}) {
      const auto q = random_floats(heads * time * depth, 1, -2.0F, 2.0F);
      const auto k = random_floats(heads * keys * depth, 2, -2.0F, 2.0F);
      const auto v = random_floats(heads * keys * value_depth, 3);
      std::vector<float> mask = random_floats(time * keys, 4, -3.0F, 3.0F);
      for (size_t i = 0; i < mask.size(); i += 3) mask[i] = -INFINITY;
      KernelHarness kernel(isa.launchers, Op::quantizedAttention);
      kernel.attributes(ops::AttentionAttributes{})
          .input({1, heads, time, depth}, q)
          .input({1, heads, keys, depth}, k)
          .input({1, heads, keys, value_depth}, v)
          .input({time, keys}, mask)
          .output({1, heads, time, value_depth})
          .order(TileOrder::kShuffled)
          .run();
      CHECK(kernel.clean());
      const auto wanted = attend(q, k, v, heads, time, keys, depth, value_depth, false, mask);
      CHECK(distance(kernel.floats(0), wanted) < 0.02);
    }
  }
}

/// Values of whole numbers up to 127 and a mask that leaves each query one key, or none: the result
/// is that key's values, or zeros.
TEST(a_mask_that_leaves_one_key_gives_its_values) {
  const int64_t heads = 2, time = 11, keys = 7, depth = 8, value_depth = 5;
  Random random{std::mt19937(19)};
  std::vector<float> v = random.list<float>(heads * keys * value_depth, -127, 127);
  for (int64_t i = 0; i < heads * value_depth; ++i)
    v[static_cast<size_t>(i / value_depth * keys * value_depth + i % value_depth)] = 127;
  std::vector<float> mask(static_cast<size_t>(time * keys), -INFINITY);
  for (int64_t i = 1; i < time; ++i) mask[static_cast<size_t>(i * keys + i % keys)] = 2.5F;
  for (const Isa& isa : isas()) {
    KernelHarness kernel(isa.launchers, Op::quantizedAttention);
    kernel.attributes(ops::AttentionAttributes{})
        .input({1, heads, time, depth}, random_floats(heads * time * depth, 1))
        .input({1, heads, keys, depth}, random_floats(heads * keys * depth, 2))
        .input({1, heads, keys, value_depth}, v)
        .input({1, 1, time, keys}, mask)
        .output({1, heads, time, value_depth})
        .run();
    CHECK(kernel.clean());
    const std::vector<float> y = kernel.floats(0);
    for (int64_t at = 0; at < heads * time * value_depth; ++at) {
      const int64_t head = at / value_depth / time, i = at / value_depth % time;
      const int64_t from = (head * keys + i % keys) * value_depth + at % value_depth;
      const double wanted = i == 0 ? 0.0 : static_cast<double>(v[static_cast<size_t>(from)]);
      CHECK_NEAR(y[static_cast<size_t>(at)], wanted, 1e-6);
    }
  }
}

/// Whole numbers whose bytes are these numbers: the ranges of rows of queries and keys, and of
/// columns of values, give scales of 1. What sets the range meets zeros, so that scores stay small.
struct WholeAttention {
  int64_t heads = 2, time = 21, keys = 40, depth = 16, value_depth = 9;
  std::vector<float> q, k, v, mask;

  explicit WholeAttention(Random& random)
      : q(random.list<float>(heads * time * depth, -2, 2)),
        k(random.list<float>(heads * keys * depth, -2, 2)),
        v(random.list<float>(heads * keys * value_depth, -127, 127)),
        mask(random.list<float>(time * keys, -6, 6)) {
    for (size_t i = 0; i < q.size(); i += static_cast<size_t>(depth)) {
      q[i] = 155;
      q[i + 1] = -100;
      q[i + 2] = 0;
    }
    for (size_t i = 0; i < k.size(); i += static_cast<size_t>(depth)) {
      k[i] = k[i + 1] = 0;
      k[i + 2] = 127;
    }
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t j = 0; j < value_depth; ++j)
        v[static_cast<size_t>(h * keys * value_depth + j)] = 127;
    }
  }

  /// Result `c` of query `i` with sums of integers: scores in quarters, since depth is 16, and
  /// probabilities in steps of 1 / 255 of the largest.
  [[nodiscard]] double result(int64_t head, int64_t i, int64_t c) const {
    std::vector<int64_t> quarters(static_cast<size_t>(keys));
    for (int64_t j = 0; j < keys; ++j) {
      int64_t sum = 4 * static_cast<int64_t>(mask[static_cast<size_t>(i * keys + j)]);
      for (int64_t l = 0; l < depth; ++l)
        sum += static_cast<int64_t>(q[static_cast<size_t>((head * time + i) * depth + l)]) *
               static_cast<int64_t>(k[static_cast<size_t>((head * keys + j) * depth + l)]);
      quarters[static_cast<size_t>(j)] = sum;
    }
    const int64_t most = *std::max_element(quarters.begin(), quarters.end());
    int64_t all = 0, sum = 0;
    for (int64_t j = 0; j < keys; ++j) {
      const auto below = static_cast<double>(quarters[static_cast<size_t>(j)] - most);
      const auto p = static_cast<int64_t>(std::nearbyint(255 * std::exp(0.25 * below)));
      all += p;
      sum += p * static_cast<int64_t>(v[static_cast<size_t>((head * keys + j) * value_depth + c)]);
    }
    return static_cast<double>(sum) / static_cast<double>(all);
  }
};

TEST(quantized_attention_sums_up_in_integers) {
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(22)};
    const WholeAttention a(random);
    KernelHarness kernel(isa.launchers, Op::quantizedAttention);
    kernel.attributes(ops::AttentionAttributes{})
        .input({1, a.heads, a.time, a.depth}, a.q)
        .input({1, a.heads, a.keys, a.depth}, a.k)
        .input({1, a.heads, a.keys, a.value_depth}, a.v)
        .input({a.time, a.keys}, a.mask)
        .output({1, a.heads, a.time, a.value_depth})
        .order(TileOrder::kShuffled)
        .run();
    CHECK(kernel.clean());
    const std::vector<float> y = kernel.floats(0);
    for (size_t at = 0; at < y.size(); ++at) {
      const auto place = static_cast<int64_t>(at);
      const int64_t row = place / a.value_depth;
      const double wanted = a.result(row / a.time, row % a.time, place % a.value_depth);
      // the quotient is rounded twice in float
      CHECK_NEAR(y[at], wanted, 2e-5);
    }
  }
}

struct RecurrentCase {
  int64_t batch, time, units, gates;  // gates: 4 of lstm, 3 of gru
};

KernelHarness recurrence(const Isa& isa, const RecurrentCase& c, const Weights& w,
                         const std::vector<float>& x, const std::vector<float>& bias) {
  KernelHarness kernel(isa.launchers, c.gates == 4 ? Op::quantizedLstm : Op::quantizedGru);
  kernel.attributes(ops::ByteWeight{0, w.scales.data()});
  kernel.input({c.batch, c.time, c.gates * c.units}, x);
  w.freeze(kernel, {c.gates * c.units, c.units}, c.batch % 2 == 1);
  if (c.gates == 3) kernel.input({c.gates * c.units}, bias);
  kernel.output({c.batch, c.time, c.units}).order(TileOrder::kShuffled).run();
  CHECK(kernel.clean());
  return kernel;
}

/// The states' part of all gates' sums: the product of quantizedLinear, which is exact.
std::vector<float> recurrent_sums(const Isa& isa, const RecurrentCase& c, const Weights& w,
                                  const std::vector<float>& states) {
  ops::QuantizedProduct product;
  product.mode = QuantizationMode::kDynamic;
  product.weight_scales = w.scales.data();
  KernelHarness kernel(isa.launchers, Op::quantizedLinear);
  kernel.attributes(product).input({c.batch, c.units}, states);
  kernel.frozen_input({c.gates * c.units, c.units}, w.floats);
  kernel.output({c.batch, c.gates * c.units}).run();
  return kernel.floats(0);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Compares step by step: the sums that the states found before give, in integers, and the gates of
/// them in double precision.
void recurrent_case(const Isa& isa, Random& random, const RecurrentCase& c) {
  Weights w(random, c.gates * c.units, c.units);
  for (float& scale : w.scales) scale *= 0x1p-6F;
  for (float& value : w.floats) value *= 0x1p-6F;
  const auto x = random_floats(c.batch * c.time * c.gates * c.units, 7, -2.0F, 2.0F);
  const auto bias = random_floats(c.gates * c.units, 8);
  const std::vector<float> y = recurrence(isa, c, w, x, bias).floats(0);
  std::vector<float> states(static_cast<size_t>(c.batch * c.units), 0.0F);
  std::vector<double> cells(states.size(), 0.0);
  for (int64_t t = 0; t < c.time; ++t) {
    const std::vector<float> sums = recurrent_sums(isa, c, w, states);
    for (int64_t i = 0; i < c.batch * c.units; ++i) {
      const int64_t row = i / c.units, unit = i % c.units;
      const auto at = static_cast<size_t>(i);
      const auto of_x = [&](int64_t gate) {
        const int64_t from = ((row * c.time + t) * c.gates + gate) * c.units + unit;
        return static_cast<double>(x[static_cast<size_t>(from)]);
      };
      const auto of_state = [&](int64_t gate) {
        const int64_t from = gate * c.units + unit;
        const auto sum =
            static_cast<double>(sums[static_cast<size_t>(row * c.gates * c.units + from)]);
        return c.gates == 4 ? sum : sum + static_cast<double>(bias[static_cast<size_t>(from)]);
      };
      double wanted = 0;
      if (c.gates == 4) {
        cells[at] = sigmoid(of_x(1) + of_state(1)) * cells[at] +
                    sigmoid(of_x(0) + of_state(0)) * std::tanh(of_x(2) + of_state(2));
        wanted = sigmoid(of_x(3) + of_state(3)) * std::tanh(cells[at]);
      } else {
        const double update = sigmoid(of_x(1) + of_state(1));
        const double reset = sigmoid(of_x(0) + of_state(0));
        wanted = (1 - update) * std::tanh(of_x(2) + reset * of_state(2)) +
                 update * static_cast<double>(states[at]);
      }
      const float found = y[static_cast<size_t>((row * c.time + t) * c.units + unit)];
      CHECK_NEAR(found, wanted, 2e-6);
    }
    for (int64_t i = 0; i < c.batch * c.units; ++i) {
      const int64_t from = (i / c.units * c.time + t) * c.units + i % c.units;
      states[static_cast<size_t>(i)] = y[static_cast<size_t>(from)];
    }
  }
}

TEST(recurrences_of_bytes_sum_up_in_integers) {
  const RecurrentCase cases[] = {{1, 5, 3, 4},  {1, 4, 5, 3},   {11, 3, 17, 4},
                                 {9, 4, 33, 3}, {20, 2, 64, 4}, {3, 3, 70, 3}};
  for (const Isa& isa : isas()) {
    Random random{std::mt19937(20)};
    for (const RecurrentCase& c : cases) recurrent_case(isa, random, c);
  }
}

TEST(weights_of_bytes_become_floats) {
  Random random{std::mt19937(21)};
  for (const Isa& isa : isas()) {
    for (const int64_t columns : {1, 37, 5000}) {
      const Weights w(random, 9, columns);
      KernelHarness kernel(isa.launchers, Op::dequantizeWeight);
      kernel.attributes(ops::ByteWeight{0, w.scales.data()});
      w.freeze(kernel, {9, columns}, columns > 1);
      kernel.output({9, columns}).run();
      CHECK(kernel.clean());
      CHECK(kernel.floats(0) == w.floats);
    }
  }
}

}  // namespace
