// cachedAttention against softmax attention in double precision over what the cache holds.
#include "core/ops/cached_attention.h"

#include <cmath>

#include "check.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

struct Sizes {
  int64_t rows, slots, length, heads, depth;
};

/// Where keys (part 0) or values (part 1) of a head stand in the cache.
int64_t entry(const Sizes& s, int64_t slot, int64_t head, int64_t part, int64_t position) {
  return (((slot * s.heads + head) * 2 + part) * s.length + position) * s.depth;
}

/// The cache after all rows have been written.
std::vector<float> appended(const Sizes& s, const std::vector<float>& qkv, std::vector<float> cache,
                            const std::vector<int32_t>& slot,
                            const std::vector<int32_t>& position) {
  const int64_t width = s.heads * s.depth;
  for (int64_t r = 0; r < s.rows; ++r) {
    const auto i = static_cast<size_t>(r);
    if (slot[i] < 0 || slot[i] >= s.slots || position[i] < 0 || position[i] >= s.length) continue;
    for (int64_t part = 0; part < 2; ++part) {
      for (int64_t h = 0; h < s.heads; ++h) {
        std::copy_n(qkv.begin() + (r * 3 + 1 + part) * width + h * s.depth, s.depth,
                    cache.begin() + entry(s, slot[i], h, part, position[i]));
      }
    }
  }
  return cache;
}

std::vector<double> refer(const Sizes& s, const std::vector<float>& qkv,
                          const std::vector<float>& cache, const std::vector<int32_t>& slot,
                          const std::vector<int32_t>& position) {
  const int64_t width = s.heads * s.depth;
  std::vector<double> y(static_cast<size_t>(s.rows * width), 0.0);
  const auto at = [](const std::vector<float>& v, int64_t i) {
    return static_cast<double>(v[static_cast<size_t>(i)]);
  };
  for (int64_t r = 0; r < s.rows; ++r) {
    const auto i = static_cast<size_t>(r);
    if (slot[i] < 0 || slot[i] >= s.slots || position[i] < 0 || position[i] >= s.length) continue;
    for (int64_t h = 0; h < s.heads; ++h) {
      std::vector<double> p;
      double total = 0;
      for (int64_t j = 0; j <= position[i]; ++j) {
        const int64_t key = entry(s, slot[i], h, 0, j);
        double score = 0;
        for (int64_t d = 0; d < s.depth; ++d)
          score += at(qkv, r * 3 * width + h * s.depth + d) * at(cache, key + d);
        p.push_back(std::exp(score / std::sqrt(static_cast<double>(s.depth))));
        total += p.back();
      }
      for (int64_t j = 0; j <= position[i]; ++j) {
        const int64_t value = entry(s, slot[i], h, 1, j);
        for (int64_t d = 0; d < s.depth; ++d)
          y[static_cast<size_t>(r * width + h * s.depth + d)] +=
              p[static_cast<size_t>(j)] / total * at(cache, value + d);
      }
    }
  }
  return y;
}

void check_cached(const Sizes& s, const std::vector<int32_t>& slot,
                  const std::vector<int32_t>& position) {
  const int64_t width = s.heads * s.depth;
  const std::vector<int64_t> dims{s.rows, 1, 3 * width};
  const std::vector<int64_t> cache_dims{s.slots, s.length, 2 * width};
  const auto qkv = random_floats(count_of(dims), 1);
  const auto cache = random_floats(count_of(cache_dims), 2);
  const auto after = appended(s, qkv, cache, slot, position);
  const auto expected = refer(s, qkv, after, slot, position);
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::cachedAttention, ops::CachedAttention::Attributes{s.heads});
    node.input(dims, qkv)
        .input(cache_dims, cache, true)
        .input({s.rows, 1}, slot)
        .input({s.rows, 1}, position)
        .output({s.rows, 1, width})
        .run(isa);
    CHECK_NEAR(distance(node.result(), expected), 0.0, 1e-6);
  }
}

}  // namespace

TEST(cached_attention_sees_what_came_before) {
  for (const int64_t depth : {1, 3, 16, 33, 64}) {
    check_cached({1, 1, 5, 1, depth}, {0}, {0});
    check_cached({1, 2, 70, 3, depth}, {1}, {69});
    check_cached({5, 3, 9, 2, depth}, {2, 0, 1, 0, 2}, {8, 3, 0, 4, 2});
    check_cached({4, 2, 9, 2, depth}, {1, 1, 1, 1}, {3, 4, 5, 6});
  }
}

TEST(cached_attention_leaves_out_what_has_no_entry) {
  check_cached({6, 2, 4, 2, 5}, {-1, 2, 0, 1, 1, 2147483647}, {0, 0, -1, 4, 3, 0});
  check_cached({0, 2, 4, 2, 5}, {}, {});
}

/// Keys that are all alike leave the mean of the values, however large their scores.
TEST(cached_attention_of_huge_scores) {
  constexpr int64_t kDepth = 4, kLength = 37;
  for (const float size : {1e9F, -1e9F, 1e30F}) {
    std::vector<float> qkv(3 * kDepth, 1.0F);
    for (size_t i = 0; i < kDepth; ++i) qkv[i] = size;
    std::vector<float> cache(2 * kLength * kDepth, 1.0F);
    for (size_t i = kLength * kDepth; i < cache.size(); ++i) cache[i] = static_cast<float>(i % 3);
    double sum = 1;  // what is appended last, and what was there before
    for (int64_t j = 0; j < kLength - 1; ++j)
      sum += static_cast<double>(cache[static_cast<size_t>((kLength + j) * kDepth)]);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::cachedAttention, ops::CachedAttention::Attributes{1});
      node.input({1, 1, 3 * kDepth}, qkv)
          .input({1, kLength, 2 * kDepth}, cache, true)
          .input({1, 1}, std::vector<int32_t>{0})
          .input({1, 1}, std::vector<int32_t>{kLength - 1})
          .output({1, 1, kDepth})
          .run(isa);
      CHECK_NEAR(node.result()[0], sum / kLength, 1e-6);
    }
  }
}

TEST(cached_attention_checks_shapes) {
  const auto refuses = [](const std::vector<std::optional<Tensor>>& inputs, int64_t heads) {
    AttributeStorage attributes =
        make_attributes(Op::cachedAttention, AttributeList{{"heads", static_cast<double>(heads)}});
    try {
      static_cast<void>(infer(Op::cachedAttention, inputs, attributes));
    } catch (const Error& error) {
      return error.code() == ErrorCode::kShape || error.code() == ErrorCode::kDType;
    }
    return false;
  };
  const Tensor qkv = make_tensor({2, 1, 12}, DType::kFloat32);
  const Tensor cache = make_tensor({3, 5, 8}, DType::kFloat32);
  const Tensor entry = make_tensor({2, 1}, DType::kInt32);
  CHECK(!refuses({qkv, cache, entry, entry}, 2));
  CHECK(refuses({qkv, cache, entry, entry}, 3));
  CHECK(refuses({qkv, cache, entry, entry}, 0));
  CHECK(refuses({qkv, cache, entry, entry}, -2));
  CHECK(refuses({qkv, make_tensor({3, 5, 9}, DType::kFloat32), entry, entry}, 2));
  CHECK(refuses({make_tensor({2, 2, 12}, DType::kFloat32), cache, entry, entry}, 2));
  CHECK(refuses({qkv, cache, make_tensor({2, 1}, DType::kFloat32), entry}, 2));
  CHECK(refuses({qkv, cache, entry, make_tensor({3, 1}, DType::kInt32)}, 2));
}
