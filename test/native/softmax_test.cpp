// softmax, logSoftmax, their gradients, and cross-entropy against double references.
#include <cmath>

#include "check.h"
#include "core/ops/count_targets.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/softmax.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

struct Axis {
  int64_t outer, axis, inner;
};

/// Calls visit(row) with the positions of every row along the axis.
template <typename Visit>
void each_row(const Axis& a, Visit visit) {
  std::vector<size_t> at(static_cast<size_t>(a.axis));
  for (int64_t o = 0; o < a.outer; ++o) {
    for (int64_t i = 0; i < a.inner; ++i) {
      for (int64_t k = 0; k < a.axis; ++k)
        at[static_cast<size_t>(k)] = static_cast<size_t>((o * a.axis + k) * a.inner + i);
      visit(at);
    }
  }
}

std::vector<double> reference(Op op, const Axis& a, const std::vector<float>& first,
                              const std::vector<float>& second) {
  std::vector<double> out(first.size());
  each_row(a, [&](const std::vector<size_t>& row) {
    double largest = -HUGE_VAL;
    for (const size_t i : row) largest = std::fmax(largest, static_cast<double>(first[i]));
    double sum = 0;
    for (const size_t i : row) {
      const auto x = static_cast<double>(first[i]);
      if (op == Op::softmax || op == Op::logSoftmax) sum += std::exp(x - largest);
      if (op == Op::softmaxGrad) sum += x * static_cast<double>(second[i]);
      if (op == Op::logSoftmaxGrad) sum += x;
    }
    for (const size_t i : row) {
      const auto x = static_cast<double>(first[i]);
      if (op == Op::softmax) out[i] = std::exp(x - largest) / sum;
      if (op == Op::logSoftmax) out[i] = x - largest - std::log(sum);
      if (op == Op::softmaxGrad) out[i] = static_cast<double>(second[i]) * (x - sum);
      if (op == Op::logSoftmaxGrad) out[i] = x - std::exp(static_cast<double>(second[i])) * sum;
    }
  });
  return out;
}

void check_softmax(const Axis& a) {
  const Dims dims{a.outer, a.axis, a.inner};
  const int64_t n = count_of(dims);
  const auto x = random_floats(n, 1, -8.0F, 8.0F);
  const auto probabilities = random_floats(n, 2, 0.0F, 1.0F);
  const auto logs = random_floats(n, 3, -6.0F, 0.0F);
  const ops::SoftmaxAttributes attributes{1};
  for (const Isa& isa : isas()) {
    for (const Op op : {Op::softmax, Op::logSoftmax}) {
      const auto expected = reference(op, a, x, {});
      for (const int over : {-1, 0}) {
        NodeRunner node(op, attributes);
        node.input(dims, x).output(dims, over).run(isa);
        CHECK_NEAR(distance(node.result(), expected), 0.0, 1e-6);
      }
    }
    for (const Op op : {Op::softmaxGrad, Op::logSoftmaxGrad}) {
      const auto& y = op == Op::softmaxGrad ? probabilities : logs;
      const auto expected = reference(op, a, x, y);
      for (const int over : {-1, 0, 1}) {
        NodeRunner node(op, attributes);
        node.input(dims, x).input(dims, y).output(dims, over).run(isa);
        CHECK_NEAR(distance(node.result(), expected), 0.0, 1e-6);
      }
    }
  }
}

}  // namespace

TEST(softmax_over_any_axis) {
  for (const int64_t n : {1, 2, 7, 8, 10, 16, 17, 31, 32, 33, 100, 1000, 9000})
    check_softmax({13, n, 1});
  for (const int64_t n : {2, 7, 8, 16, 17, 63, 64, 65, 200}) check_softmax({5, 11, n});
  check_softmax({2, 700, 3});
  check_softmax({500, 3, 5});
  check_softmax({0, 3, 5});
  check_softmax({1, 1, 1});
}

TEST(softmax_of_infinities) {
  const float inf = HUGE_VALF;
  const std::vector<float> x{-inf, -inf, -inf, -inf, 0, 0, inf, 0, 1};
  for (const Isa& isa : isas()) {
    for (const int64_t inner : {1, 3}) {
      // For inner 3 the same rows, transposed.
      std::vector<float> in = x;
      if (inner == 3) {
        for (size_t i = 0; i < 9; ++i) in[i % 3 * 3 + i / 3] = x[i];
      }
      const Dims dims = inner == 1 ? Dims{3, 3, 1} : Dims{1, 3, 3};
      NodeRunner soft(Op::softmax, ops::SoftmaxAttributes{1});
      soft.input(dims, in).output(dims).run(isa);
      NodeRunner logs(Op::logSoftmax, ops::SoftmaxAttributes{1});
      logs.input(dims, in).output(dims).run(isa);
      for (size_t i = 0; i < 9; ++i) {
        const size_t at = inner == 1 ? i : i % 3 * 3 + i / 3;
        const float s = soft.result()[at];
        const float l = logs.result()[at];
        if (i / 3 == 1) {
          CHECK_NEAR(s, i == 3 ? 0.0 : 0.5, 1e-7);
          CHECK(i == 3 ? l == -inf : std::fabs(l + 0.6931472F) < 1e-6F);
        } else {
          CHECK(std::isnan(s) || (i / 3 == 2 && i != 6 && s == 0.0F));
          CHECK(std::isnan(l) || (i / 3 == 2 && i != 6 && l == -inf));
        }
      }
    }
  }
}

// ---- cross-entropy -----------------------------------------------------------------------------

namespace {

struct Loss {
  double loss;
  std::vector<double> gradient;
  double divisor = 0;
};

/// As PyTorch computes it: a weighted mean, and smoothing as a second loss; `own` are weights of
/// rows, one for each or for some neighbouring ones, or none.
Loss loss_of(int64_t rows, int64_t n, const std::vector<float>& x,
             const std::vector<int32_t>& targets, const std::vector<float>& weights,
             const std::vector<float>& own, const ops::CrossEntropyAttributes& a, double dy) {
  Loss result{0.0, std::vector<double>(x.size(), 0.0)};
  const auto weight = [&](int64_t c) {
    return weights.empty() ? 1.0 : static_cast<double>(weights[static_cast<size_t>(c)]);
  };
  const auto s = static_cast<double>(a.label_smoothing);
  const auto row_weight = [&](int64_t r) {
    if (own.empty()) return 1.0;
    return static_cast<double>(own[static_cast<size_t>(r) * own.size() / targets.size()]);
  };
  double& divisor = result.divisor;
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t t = targets[static_cast<size_t>(r)];
    if (t != a.ignore_index && t >= 0 && t < n) divisor += row_weight(r) * weight(t);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t t = targets[static_cast<size_t>(r)];
    if (t == a.ignore_index || row_weight(r) == 0) continue;
    const float* row = x.data() + r * n;
    double* gradient = result.gradient.data() + r * n;
    double largest = -HUGE_VAL;
    double sum = 0;
    for (int64_t c = 0; c < n; ++c) largest = std::fmax(largest, static_cast<double>(row[c]));
    for (int64_t c = 0; c < n; ++c) sum += std::exp(static_cast<double>(row[c]) - largest);
    for (int64_t c = 0; c < n; ++c) {
      const double log_p = static_cast<double>(row[c]) - largest - std::log(sum);
      const double share = row_weight(r) * ((c == t ? (1 - s) * weight(c) : 0.0) +
                                            s / static_cast<double>(n) * weight(c));
      if (share != 0) result.loss -= share * log_p / divisor;
      for (int64_t k = 0; k < n; ++k) {
        const double p = std::exp(static_cast<double>(row[k]) - largest) / sum;
        gradient[k] += dy / divisor * share * (p - (k == c ? 1.0 : 0.0));
      }
    }
  }
  if (divisor == 0) result.loss = own.empty() ? std::nan("") : 0.0;
  return result;
}

/// `spread`: rows that share a weight of their own; 0 where rows have none.
void check_loss(int64_t rows, int64_t n, bool weighted, float smoothing, int64_t ignore,
                int64_t spread = 0) {
  const auto x = random_floats(rows * n, 4, -5.0F, 5.0F);
  std::vector<int32_t> targets;
  for (const float f : random_floats(rows, 5, 0.0F, static_cast<float>(n))) {
    targets.push_back(std::min(static_cast<int32_t>(f), static_cast<int32_t>(n) - 1));
  }
  if (ignore < 0) {
    for (size_t i = 0; i < targets.size(); i += 5) targets[i] = static_cast<int32_t>(ignore);
  }
  const auto weights = weighted ? random_floats(n, 6, 0.1F, 2.0F) : std::vector<float>{};
  auto own = spread == 0 ? std::vector<float>{} : random_floats(rows / spread, 7, 0.0F, 2.0F);
  for (size_t i = 1; i < own.size(); i += 3) own[i] = 0.0F;
  const ops::CrossEntropyAttributes attributes{ignore, smoothing};
  const Loss fused = loss_of(rows, n, x, targets, weights, own, attributes, 1.0);
  const Loss scaled = loss_of(rows, n, x, targets, weights, own, attributes, 2.5);
  const double tolerance = 1e-6 * std::fmax(1.0, std::fabs(fused.loss));
  const auto add_weights = [&](NodeRunner& node) {
    if (weighted) {
      node.input({n}, weights);
    } else {
      node.no_input();
    }
    if (spread > 0) {
      node.input({rows / spread}, own);
    } else {
      node.no_input();
    }
  };
  const auto bind = [&](NodeRunner& node) {
    node.input({rows, n}, x).input({rows}, targets);
    add_weights(node);
    node.input({}, std::vector<float>{static_cast<float>(fused.divisor)});
  };
  for (const Isa& isa : isas()) {
    NodeRunner count(Op::countTargets, ops::CountTargetsAttributes{ignore, false});
    count.input({rows}, targets);
    add_weights(count);
    count.output({}).run(isa);
    CHECK_NEAR(count.result()[0], fused.divisor, 1e-6 * fused.divisor);
    NodeRunner both(Op::softmaxCrossEntropy, attributes);
    bind(both);
    both.output({}).output({rows, n}).run(isa);
    CHECK_NEAR(distance(both.result(1), fused.gradient), 0.0, 1e-6);
    NodeRunner loss(Op::crossEntropy, attributes);
    bind(loss);
    loss.output({}).run(isa);
    if (std::isnan(fused.loss)) {
      CHECK(std::isnan(both.result(0)[0]) && std::isnan(loss.result()[0]));
    } else {
      CHECK_NEAR(both.result(0)[0], fused.loss, tolerance);
      CHECK_NEAR(loss.result()[0], fused.loss, tolerance);
    }
    for (const int over : {-1, 0}) {
      NodeRunner gradient(Op::crossEntropyGrad, attributes);
      bind(gradient);
      gradient.input({}, std::vector<float>{2.5F}).output({rows, n}, over).run(isa);
      CHECK_NEAR(distance(gradient.result(), scaled.gradient), 0.0, 1e-6);
    }
  }
}

}  // namespace

TEST(cross_entropy_and_gradients) {
  for (const int64_t n : {1, 2, 10, 16, 17, 40, 300}) {
    for (const bool weighted : {false, true}) {
      for (const float smoothing : {0.0F, 0.1F, 1.0F}) {
        check_loss(33, n, weighted, smoothing, -100);
        check_loss(33, n, weighted, smoothing, 0);  // a class may be the one that is ignored
      }
    }
  }
  check_loss(20000, 10, false, 0.0F, -1);
  check_loss(20000, 3, true, 0.2F, -1);
  check_loss(3, 20000, true, 0.0F, -1);
  for (const int64_t spread : {1, 3, 11, 33}) {
    for (const bool weighted : {false, true}) {
      check_loss(33, 10, weighted, 0.1F, -100, spread);
      check_loss(33, 40, weighted, 0.0F, 2, spread);
    }
  }
  check_loss(20000, 3, true, 0.0F, -1, 5);
  check_loss(1, 1, false, 0.0F, 0);  // everything ignored
  check_loss(1, 1, false, 0.0F, 0, 1);
  check_loss(0, 5, false, 0.0F, 0);
}

// Where the processor can: products of denormals would make steps several times slower.
#if defined(__SSE2__) || defined(_M_X64)
TEST(cross_entropy_has_no_denormal_slopes) {
  for (const int64_t n : {2, 10, 40}) {
    std::vector<float> x(static_cast<size_t>(n), 0.0F);
    x[1] = 95;  // e^-95 is 5.5e-42
    for (const Isa& isa : isas()) {
      for (const Op op : {Op::softmaxCrossEntropy, Op::crossEntropyGrad}) {
        NodeRunner node(op, ops::CrossEntropyAttributes{});
        node.input({1, n}, x).input({1}, std::vector<int32_t>{1}).no_input().no_input();
        node.input({}, std::vector<float>{1});
        if (op == Op::crossEntropyGrad) node.input({}, std::vector<float>{1});
        const bool has_loss = op == Op::softmaxCrossEntropy;
        if (has_loss) node.output({});
        node.output({1, n}).run(isa);
        for (const float slope : node.result(has_loss ? 1 : 0)) CHECK(slope == 0.0F);
      }
    }
  }
}
#endif

TEST(cross_entropy_of_targets_that_are_no_class) {
  const auto x = random_floats(4 * 5, 8);
  for (const Isa& isa : isas()) {
    for (const int32_t bad : {5, -1, INT32_MAX, INT32_MIN}) {
      NodeRunner node(Op::softmaxCrossEntropy, ops::CrossEntropyAttributes{});
      node.input({4, 5}, x)
          .input({4}, std::vector<int32_t>{0, bad, -100, 4})
          .input({5}, random_floats(5, 9, 0.5F, 1.0F))
          .no_input()
          .input({}, std::vector<float>{2.0F});
      node.output({}).output({4, 5}).run(isa);
      CHECK(std::isnan(node.result(0)[0]));
      const auto gradient = node.result(1);
      for (size_t i = 0; i < 20; ++i) {
        CHECK(std::isnan(gradient[i]) == (i / 5 == 1));
        if (i / 5 == 2) CHECK(gradient[i] == 0.0F);
      }
    }
  }
}

TEST(cross_entropy_of_weights_that_are_all_0) {
  const auto x = random_floats(4 * 5, 8);
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::softmaxCrossEntropy, ops::CrossEntropyAttributes{});
    // what does not count may be no class
    node.input({4, 5}, x).input({4}, std::vector<int32_t>{0, 9, 2, 4}).no_input();
    node.input({2}, std::vector<float>{0.0F, 0.0F}).input({}, std::vector<float>{0.0F});
    node.output({}).output({4, 5}).run(isa);
    CHECK(node.result(0)[0] == 0.0F);
    for (const float slope : node.result(1)) CHECK(slope == 0.0F);
  }
}

TEST(count_targets_leaves_out_negative_ones) {
  const std::vector<int32_t> numbers{0, -1, 3, -7, 2};
  const std::vector<float> floats(numbers.begin(), numbers.end());
  for (const Isa& isa : isas()) {
    NodeRunner whole(Op::countTargets, ops::CountTargetsAttributes{-100, true});
    whole.input({5}, numbers).output({}).run(isa);
    CHECK(whole.result()[0] == 3.0F);
    NodeRunner fractions(Op::countTargets, ops::CountTargetsAttributes{2, true});
    fractions.input({5}, floats).output({}).run(isa);
    CHECK(fractions.result()[0] == 2.0F);
  }
}
