// quantizedAttention against attention in double precision, and against sums of integers.
#include "quantized_support.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "isas.h"
#include "node_runner.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;

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

}  // namespace
