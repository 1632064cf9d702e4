// Every way to compute attention in bfloat16 and float16, whichever a device would choose, against
// double precision on the host: blocks, groups and tiles that are not full, more parts than a
// device has multiprocessors, keys of another length, heads apart and side by side, and scores so
// large that one key takes all.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/graph.h"
#include "core/ops/attention.h"
#include "cuda/device.h"
#include "cuda/half_attention.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

Device& device() {
  static Device first(0, open_lt(lt_candidates(python_paths())), {});
  return first;
}

/// `joined`: the heads of a row lie side by side, queries, keys and values behind each other where
/// there are as many of each.
struct Sizes {
  int64_t batch, heads, time, keys, depth;
  bool causal = false, joined = false;
  float largest = 2.0F;  ///< of queries and keys
};

std::string text(const Sizes& s) {
  return to_string(Shape{s.batch, s.heads, s.time, s.keys, s.depth}) + (s.causal ? " causal" : "") +
         (s.joined ? " joined" : "");
}

/// Queries, keys and values as [batch, heads, rows, depth], and what attention makes of them: whole
/// numbers of 8 bits times a power of two, which both types hold.
struct Heads {
  Sizes s;
  std::vector<float> q, k, v;
  std::vector<double> y, log_sums;

  explicit Heads(const Sizes& sizes) : s(sizes) {
    std::mt19937 engine(17);
    const auto make = [&](int64_t rows, float largest) {
      const float unit = largest / 128;
      std::vector<float> all(static_cast<size_t>(s.batch * s.heads * rows * s.depth));
      for (float& x : all) x = static_cast<float>(static_cast<int8_t>(engine() >> 24)) * unit;
      return all;
    };
    q = make(s.time, s.largest);
    k = make(s.keys, s.largest);
    v = make(s.keys, 1.0F);
    y.resize(q.size());
    for (int64_t row = 0; row < s.batch * s.heads * s.time; ++row) attend(row);
  }

 private:
  void attend(int64_t row) {
    const int64_t first = row / s.time * s.keys;
    const int64_t seen = s.causal ? std::min(row % s.time + 1, s.keys) : s.keys;
    std::vector<double> weights(static_cast<size_t>(seen));
    double largest = -INFINITY;
    for (int64_t j = 0; j < seen; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < s.depth; ++i) sum += double{at(q, row, i)} * at(k, first + j, i);
      weights[static_cast<size_t>(j)] = sum / std::sqrt(static_cast<double>(s.depth));
      largest = std::max(largest, weights[static_cast<size_t>(j)]);
    }
    double total = 0;
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    double* const to = y.data() + row * s.depth;
    for (int64_t j = 0; j < seen; ++j) {
      const double share = weights[static_cast<size_t>(j)] / total;
      for (int64_t i = 0; i < s.depth; ++i) to[i] += share * at(v, first + j, i);
    }
    log_sums.push_back(largest + std::log(total));
  }
  [[nodiscard]] float at(const std::vector<float>& all, int64_t row, int64_t i) const {
    return all[static_cast<size_t>(row * s.depth + i)];
  }
};

/// [batch, heads, rows, depth] as [batch, rows, heads * depth] with `width` numbers in a row, the
/// first at `at`.
void join(const Sizes& s, const std::vector<float>& from, int64_t rows, std::vector<float>& to,
          int64_t width, int64_t at) {
  for (int64_t i = 0; i < static_cast<int64_t>(from.size()); ++i) {
    const int64_t row = i / s.depth % rows;
    const int64_t head = i / s.depth / rows % s.heads;
    const int64_t batch = i / s.depth / rows / s.heads;
    to[static_cast<size_t>((batch * rows + row) * width + at + head * s.depth + i % s.depth)] =
        from[static_cast<size_t>(i)];
  }
}

/// Floats in the device's memory with some around them that nothing may write.
class Guarded {
 public:
  explicit Guarded(const std::vector<float>& inside) : count_(inside.size()) {
    std::vector<float> all(count_ + 2 * kAround, kUntouched);
    std::copy(inside.begin(), inside.end(), all.begin() + kAround);
    memory_ = device().allocate(static_cast<int64_t>(all.size() * sizeof(float)));
    cuda::check(
        cudaMemcpy(memory_.data.get(), all.data(), all.size() * sizeof(float), cudaMemcpyDefault),
        "a copy");
  }
  [[nodiscard]] float* data() const {
    return reinterpret_cast<float*>(memory_.data.get()) + kAround;
  }
  /// What is inside now; checks what is around.
  [[nodiscard]] std::vector<float> read() const {
    std::vector<float> all(count_ + 2 * kAround);
    cuda::check(
        cudaMemcpy(all.data(), memory_.data.get(), all.size() * sizeof(float), cudaMemcpyDefault),
        "a copy");
    const auto untouched = [](auto begin) {
      return std::all_of(begin, begin + kAround, [](float x) { return x == kUntouched; });
    };
    CHECK(untouched(all.begin()) && untouched(all.end() - kAround));
    return {all.begin() + kAround, all.end() - kAround};
  }

 private:
  static constexpr int64_t kAround = 256;
  static constexpr float kUntouched = 12345.0F;
  size_t count_;
  Memory memory_;
};

/// The node, its operands in the device's memory.
class Node {
 public:
  Node(const Heads& heads, bool float16) : s_(heads.s) {
    const int64_t width = s_.heads * s_.depth;
    storage_ = make_attributes(
        Op::attention,
        {{"causal", s_.causal}, {"heads", s_.joined ? static_cast<double>(s_.heads) : 0.0}});
    auto* const attributes = reinterpret_cast<ops::AttentionAttributes*>(storage_.bytes.data());
    attributes->bf16 = !float16;
    attributes->fp16 = float16;
    if (!s_.joined) {
      add({s_.batch, s_.heads, s_.time, s_.depth}, heads.q);
      add({s_.batch, s_.heads, s_.keys, s_.depth}, heads.k);
      add({s_.batch, s_.heads, s_.keys, s_.depth}, heads.v);
    } else if (s_.time == s_.keys) {
      std::vector<float> all(heads.q.size() * 3);
      join(s_, heads.q, s_.time, all, 3 * width, 0);
      join(s_, heads.k, s_.time, all, 3 * width, width);
      join(s_, heads.v, s_.time, all, 3 * width, 2 * width);
      add({s_.batch, s_.time, 3 * width}, all);
    } else {
      std::vector<float> queries(heads.q.size());
      std::vector<float> others(heads.k.size() * 2);
      join(s_, heads.q, s_.time, queries, width, 0);
      join(s_, heads.k, s_.keys, others, 2 * width, 0);
      join(s_, heads.v, s_.keys, others, 2 * width, width);
      add({s_.batch, s_.time, width}, queries);
      add({s_.batch, s_.keys, 2 * width}, others);
    }
    const auto floats = [](const Shape& shape) { return make_tensor(shape, DType::kFloat32); };
    outputs_ = {floats(s_.joined ? Shape{s_.batch, s_.time, width}
                                 : Shape{s_.batch, s_.heads, s_.time, s_.depth}),
                floats({s_.batch, s_.heads, s_.time, 2})};
    view_.op = Op::attention;
    view_.attributes = storage_.bytes.data();
    for (const Tensor& tensor : inputs_) view_.inputs.push_back(&tensor);
    for (const Tensor& tensor : outputs_) view_.outputs.push_back(&tensor);
  }

  [[nodiscard]] std::vector<AttentionWay> ways() {
    Launch measuring(view_, device().products());
    return attention_ways(measuring);
  }

  struct Result {
    std::vector<float> y, log_sums;
    bool operator==(const Result& other) const {
      return std::memcmp(y.data(), other.y.data(), y.size() * sizeof(float)) == 0 &&
             std::memcmp(log_sums.data(), other.log_sums.data(), log_sums.size() * sizeof(float)) ==
                 0;
    }
  };
  [[nodiscard]] Result by(AttentionWay way) {
    const auto outside = [](const Tensor& tensor) {
      return std::vector<float>(static_cast<size_t>(tensor.numel), NAN);
    };
    const Guarded y(outside(outputs_[0]));
    const Guarded log_sums(outside(outputs_[1]));
    Operands operands;
    for (const Guarded& memory : memory_) operands.inputs.push_back(memory.data());
    operands.outputs = {y.data(), log_sums.data()};
    Launch launch(view_, device().products(), operands, nullptr);
    launch_attention_by(launch, way);
    cuda::check(cudaDeviceSynchronize(), "attention");
    return {y.read(), log_sums.read()};
  }

 private:
  void add(const Shape& shape, const std::vector<float>& numbers) {
    inputs_.push_back(make_tensor(shape, DType::kFloat32));
    memory_.emplace_back(numbers);
  }

  Sizes s_;
  AttributeStorage storage_;
  std::vector<Tensor> inputs_, outputs_;
  std::vector<Guarded> memory_;
  NodeView view_{};
};

void compare_ways(const Sizes& s) {
  const Heads heads(s);
  for (const bool float16 : {false, true}) {
    std::vector<float> want(heads.y.begin(), heads.y.end());
    if (s.joined) join(s, {heads.y.begin(), heads.y.end()}, s.time, want, s.heads * s.depth, 0);
    const std::vector<float> want_sums(heads.log_sums.begin(), heads.log_sums.end());
    Node node(heads, float16);
    for (const AttentionWay way : node.ways()) {
      const Node::Result got = node.by(way);
      std::vector<float> sums(want_sums.size());
      for (size_t i = 0; i < sums.size(); ++i)
        sums[i] = got.log_sums[2 * i] + got.log_sums[2 * i + 1];
      const auto far = [](const std::vector<float>& a, const std::vector<float>& b) {
        return check::distance(a.data(), b.data(), static_cast<int64_t>(b.size()));
      };
      // exponentials are rounded to 8 or 11 bits
      const double of_y = far(got.y, want);
      const double of_sums = far(sums, want_sums);
      const bool near = of_y < (float16 ? 4e-4 : 3e-3) && of_sums < 1e-6;
      if (!near) {
        std::printf("  attention %s in %s by way %d: %g, and %g of the logarithms\n",
                    text(s).c_str(), float16 ? "float16" : "bfloat16", static_cast<int>(way), of_y,
                    of_sums);
      }
      CHECK(near);
      CHECK(node.by(way) == got);
    }
  }
}

}  // namespace

TEST(gpu_every_way_attends) {
  for (const bool causal : {false, true}) {
    for (const int64_t depth : {64, 128}) {
      for (const bool joined : {false, true}) {
        compare_ways({1, 1, 1, 1, depth, causal, joined});
        compare_ways({2, 3, 191, 193, depth, causal, joined});
        compare_ways({1, 2, 385, 385, depth, causal, joined});
        compare_ways({1, 2, 130, 700, depth, causal, joined});
        compare_ways({2, 1, 700, 70, depth, causal, joined});
      }
    }
  }
}

TEST(gpu_every_way_attends_in_many_parts) {
  // more parts than multiprocessors, several times and not a multiple
  for (const bool causal : {false, true}) {
    compare_ways({3, 37, 257, 257, 64, causal, true});
    compare_ways({5, 29, 200, 70, 128, causal, false});
  }
}

TEST(gpu_every_way_keeps_large_scores) {
  for (const int64_t depth : {64, 128}) {
    for (const bool causal : {false, true}) {
      Sizes s{1, 2, 300, 300, depth, causal, true};
      s.largest = 16.0F;
      compare_ways(s);
    }
  }
}
