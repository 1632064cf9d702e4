// lamb, accumulateGradients, clipGradients and averageParameters against double precision.
#include <cmath>
#include <limits>

#include "check.h"
#include "core/ops/arena_sweeps.h"
#include "core/ops/optimizer.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

using Doubles = std::vector<double>;
constexpr int64_t kSizes[] = {1, 5, 16, 33, 16385, 40000};

Doubles to_doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

StepState state_at(uint64_t step) {
  StepState state{};
  state.learning_rate = 0.01;
  state.step = step;
  state.clip = 1.0F;
  return state;
}

/// One step of lamb on doubles; `m` and `v` are its state.
void lamb_step(const ops::Lamb::Attributes& a, double rate, double step, Doubles& p,
               const std::vector<float>& gradients, double clip, Doubles& m, Doubles& v) {
  Doubles direction(p.size());
  double length = 0;
  double steps = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double g = clip * static_cast<double>(gradients[i]);
    m[i] = a.beta1 * m[i] + (1 - a.beta1) * g;
    v[i] = a.beta2 * v[i] + (1 - a.beta2) * g * g;
    const double mean = m[i] / (1 - std::pow(a.beta1, step));
    const double root = std::sqrt(v[i] / (1 - std::pow(a.beta2, step)));
    direction[i] = mean / (root + a.epsilon) + a.weight_decay * p[i];
    length += p[i] * p[i];
    steps += direction[i] * direction[i];
  }
  const double factor = length > 0 && steps > 0 ? std::sqrt(length / steps) : 1;
  for (size_t i = 0; i < p.size(); ++i) p[i] -= a.rate_factor * rate * factor * direction[i];
}

}  // namespace

TEST(lamb_follows_its_paper) {
  const ops::Lamb::Attributes attributes{0.9, 0.99, 1e-6, 0.1, 0.5};
  for (const int64_t n : kSizes) {
    const auto size = static_cast<size_t>(n);
    for (const Isa& isa : isas()) {
      std::vector<float> p = random_floats(n, 1);
      std::vector<float> s(2 * size, 0.0F);
      Doubles expected = to_doubles(p);
      Doubles m(size, 0.0);
      Doubles v(size, 0.0);
      for (uint64_t step = 1; step <= 3; ++step) {
        const auto g = random_floats(n, static_cast<uint32_t>(20 + step));
        NodeRunner node(Op::lamb, attributes);
        node.input({n}, p, true).input({n}, g).input({2 * n}, s, true);
        StepState state = state_at(step);
        state.clip = 0.5F;
        state.skip = 1;
        node.run(isa, &state);
        CHECK(node.input_now(0) == p && node.input_now(2) == s);
        state.skip = 0;
        node.run(isa, &state);
        p = node.input_now(0);
        s = node.input_now(2);
        lamb_step(attributes, 0.01, static_cast<double>(step), expected, g, 0.5, m, v);
        CHECK_NEAR(distance(p, expected), 0.0, 1e-6);
      }
    }
  }
}

TEST(lamb_moves_zeros_by_the_plain_step_and_sums_squares) {
  for (const Isa& isa : isas()) {
    const int64_t n = 20000;
    const auto g = random_floats(n, 5);
    const std::vector<float> zeros(static_cast<size_t>(n), 0.0F);
    const std::vector<float> state_now(static_cast<size_t>(2 * n), 0.0F);
    NodeRunner node(Op::lamb, ops::Lamb::Attributes{});
    node.input({n}, zeros, true).input({n}, g).input({2 * n}, state_now, true);
    node.input({2}, std::vector<float>(2), true);
    StepState state = state_at(1);
    node.run(isa, &state);
    double squares = 0;
    for (const float x : g) squares += static_cast<double>(x) * static_cast<double>(x);
    const std::vector<float> sums = node.input_now(3);
    CHECK_NEAR(static_cast<double>(sums[0]) + static_cast<double>(sums[1]), squares,
               1e-5 * squares);
    // Adam's first step is the rate against the sign of the gradient
    for (size_t i = 0; i < 50; ++i) {
      const double sign = g[i] > 0 ? 1 : -1;
      CHECK_NEAR(static_cast<double>(node.input_now(0)[i]), -0.01 * sign, 1e-4);
    }
  }
}

TEST(gradients_of_micro_batches_make_a_mean) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t n : kSizes) {
    const auto first = random_floats(n, 1);
    const auto second = random_floats(n, 2);
    for (const Isa& isa : isas()) {
      std::vector<float> mean(static_cast<size_t>(n), nan);
      const auto take = [&](const std::vector<float>& g, uint32_t part, float weight) {
        NodeRunner node(Op::accumulateGradients, ops::ClipGradients::Attributes{});
        node.input({n}, mean, true).input({n}, g);
        StepState state = state_at(1);
        state.part = part;
        state.weight = weight;
        node.run(isa, &state);
        mean = node.input_now(0);
      };
      const std::vector<float> bad(static_cast<size_t>(n), nan);
      take(bad, 0, 0.0F);
      CHECK(mean == std::vector<float>(static_cast<size_t>(n), 0.0F));
      take(first, 0, 1.0F);
      CHECK(mean == first);
      take(bad, 1, 0.0F);
      CHECK(mean == first);
      take(second, 1, 0.25F);
      Doubles expected;
      for (size_t i = 0; i < first.size(); ++i) {
        expected.push_back(0.75 * static_cast<double>(first[i]) +
                           0.25 * static_cast<double>(second[i]));
      }
      CHECK_NEAR(distance(mean, expected), 0.0, 1e-7);
    }
  }
}

TEST(gradients_are_cut_to_a_value) {
  for (const int64_t n : kSizes) {
    auto g = random_floats(n, 3);
    g[0] = std::numeric_limits<float>::quiet_NaN();
    if (n > 1) g[1] = -std::numeric_limits<float>::infinity();
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::clipGradients, ops::ClipGradients::Attributes{0.25});
      node.input({n}, g, true).run(isa);
      const std::vector<float> cut = node.input_now(0);
      CHECK(std::isnan(cut[0]));
      for (size_t i = 1; i < cut.size(); ++i)
        CHECK(cut[i] == std::max(-0.25F, std::min(0.25F, g[i])));
    }
  }
}

TEST(averages_begin_with_a_copy_and_follow) {
  for (const int64_t n : kSizes) {
    const auto p = random_floats(n, 1);
    const auto old = random_floats(n, 2);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::averageParameters, ops::AverageParameters::Attributes{0.9});
      node.input({n}, old, true).input({n}, p);
      StepState state = state_at(1);
      state.skip = 1;
      node.run(isa, &state);
      CHECK(node.input_now(0) == old);
      state.skip = 0;
      node.run(isa, &state);
      CHECK(node.input_now(0) == p);
      state.step = 2;
      node.run(isa, &state);
      Doubles expected;
      for (size_t i = 0; i < p.size(); ++i)
        expected.push_back(0.9 * static_cast<double>(old[i]) + 0.1 * static_cast<double>(p[i]));
      CHECK_NEAR(distance(node.input_now(0), expected), 0.0, 1e-7);
    }
  }
}
