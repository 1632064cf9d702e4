// gradientNorm and the optimizers against PyTorch's update rules in double, and dropout and
// accuracy.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "core/ops/accuracy.h"
#include "core/ops/dropout.h"
#include "core/ops/optimizer.h"
#include "core/ops/product_update.h"
#include "core/random.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

using Doubles = std::vector<double>;

StepState state_at(uint64_t step, double rate) {
  StepState state{};
  state.learning_rate = rate;
  state.step = step;
  state.clip = 0.75F;
  return state;
}

/// Runs three steps from a random start with `Rule`, update(step, p, g, s[]) on doubles as
/// reference.
template <typename Attributes, typename Update>
void check_optimizer(Op op, const Attributes& attributes, size_t slots, Update update) {
  constexpr double kRate = 0.01;
  for (const int64_t n : {1, 5, 16, 33, 40000}) {
    const auto size = static_cast<size_t>(n);
    for (const Isa& isa : isas()) {
      std::vector<float> p = random_floats(n, 1);
      std::vector<float> s(slots * size, 0.0F);
      Doubles p_expected(p.begin(), p.end());
      Doubles s_expected(slots * size, 0.0);
      for (uint64_t step = 1; step <= 3; ++step) {
        const auto g = random_floats(n, static_cast<uint32_t>(10 + step));
        NodeRunner node(op, attributes);
        node.input({n}, p, true).input({n}, g);
        if (slots > 0) node.input({static_cast<int64_t>(slots * size)}, s, true);
        StepState state = state_at(step, kRate);
        state.skip = 1;
        node.run(isa, &state);
        CHECK(node.input_now(0) == p);
        if (slots > 0) CHECK(node.input_now(2) == s);
        state.skip = 0;
        node.run(isa, &state);
        p = node.input_now(0);
        if (slots > 0) s = node.input_now(2);
        for (size_t i = 0; i < size; ++i) {
          double slot[3] = {};
          for (size_t k = 0; k < slots; ++k) slot[k] = s_expected[k * size + i];
          update(step, kRate, p_expected[i], 0.75 * static_cast<double>(g[i]), slot);
          for (size_t k = 0; k < slots; ++k) s_expected[k * size + i] = slot[k];
        }
        CHECK_NEAR(distance(p, p_expected), 0.0, 3e-7);
        if (slots > 0) CHECK_NEAR(distance(s, s_expected), 0.0, 1e-6);
      }
    }
  }
}

}  // namespace

TEST(sgd_follows_pytorch) {
  for (const double momentum : {0.0, 0.9}) {
    for (const double decay : {0.0, 0.1}) {
      for (const bool nesterov : {false, true}) {
        check_optimizer(Op::sgd, ops::Sgd::Attributes{momentum, decay, nesterov},
                        momentum != 0 ? 1 : 0,
                        [=](uint64_t step, double rate, double& p, double g, double* s) {
                          g += decay * p;
                          if (momentum != 0) {
                            s[0] = step == 1 ? g : momentum * s[0] + g;
                            g = nesterov ? g + momentum * s[0] : s[0];
                          }
                          p -= rate * g;
                        });
      }
    }
  }
}

TEST(adam_follows_pytorch) {
  for (const double decay : {0.0, 0.1}) {
    for (const bool decoupled : {false, true}) {
      check_optimizer(Op::adam, ops::Adam::Attributes{0.9, 0.99, 1e-6, decay, decoupled}, 2,
                      [=](uint64_t step, double rate, double& p, double g, double* s) {
                        if (decoupled) {
                          p *= 1 - rate * decay;
                        } else {
                          g += decay * p;
                        }
                        s[0] += (1 - 0.9) * (g - s[0]);
                        s[1] = 0.99 * s[1] + (1 - 0.99) * g * g;
                        const double correction =
                            std::sqrt(1 - std::pow(0.99, static_cast<double>(step)));
                        const double size = rate / (1 - std::pow(0.9, static_cast<double>(step)));
                        p -= size * s[0] / (std::sqrt(s[1]) / correction + 1e-6);
                      });
    }
  }
}

TEST(rmsprop_follows_pytorch) {
  for (const double momentum : {0.0, 0.8}) {
    for (const bool centered : {false, true}) {
      check_optimizer(Op::rmsprop, ops::RmsProp::Attributes{0.9, 1e-5, momentum, 0.05, centered},
                      1U + (momentum != 0 ? 1 : 0) + (centered ? 1 : 0),
                      [=](uint64_t, double rate, double& p, double g, double* s) {
                        g += 0.05 * p;
                        s[0] = 0.9 * s[0] + (1 - 0.9) * g * g;
                        double square = s[0];
                        if (centered) {
                          double& mean = s[momentum != 0 ? 2 : 1];
                          mean += (1 - 0.9) * (g - mean);
                          square -= mean * mean;
                        }
                        double change = g / (std::sqrt(square) + 1e-5);
                        if (momentum != 0) change = s[1] = momentum * s[1] + change;
                        p -= rate * change;
                      });
    }
  }
}

TEST(adagrad_follows_pytorch) {
  check_optimizer(Op::adagrad, ops::Adagrad::Attributes{0.1, 1e-8, 0.05}, 1,
                  [](uint64_t step, double rate, double& p, double g, double* s) {
                    g += 0.05 * p;
                    s[0] += g * g;
                    p -= rate / (1 + (static_cast<double>(step) - 1) * 0.1) * g /
                         (std::sqrt(s[0]) + 1e-8);
                  });
}

TEST(lion_follows_its_paper) {
  for (const double factor : {1.0, 0.25}) {
    check_optimizer(Op::lion, ops::Lion::Attributes{0.9, 0.95, 0.1, factor}, 1,
                    [=](uint64_t, double rate, double& p, double g, double* s) {
                      const double mixed = 0.9 * s[0] + (1 - 0.9) * g;
                      const double sign = mixed > 0 ? 1 : mixed < 0 ? -1 : 0;
                      p -= rate * factor * (sign + 0.1 * p);
                      s[0] = 0.95 * s[0] + (1 - 0.95) * g;
                    });
  }
}

TEST(rates_of_groups_are_factors) {
  check_optimizer(Op::adam, ops::Adam::Attributes{0.9, 0.99, 1e-6, 0.1, true, 0.5}, 2,
                  [](uint64_t step, double rate, double& p, double g, double* s) {
                    p *= 1 - 0.5 * rate * 0.1;
                    s[0] += (1 - 0.9) * (g - s[0]);
                    s[1] = 0.99 * s[1] + (1 - 0.99) * g * g;
                    const double correction =
                        std::sqrt(1 - std::pow(0.99, static_cast<double>(step)));
                    const double size = 0.5 * rate / (1 - std::pow(0.9, static_cast<double>(step)));
                    p -= size * s[0] / (std::sqrt(s[1]) / correction + 1e-6);
                  });
}

TEST(sweeps_sum_squares_as_they_go) {
  const ops::Adam::Attributes attributes{};
  for (const Isa& isa : isas()) {
    for (const int64_t n : {3, 16, 1030, 40000}) {
      const auto p = random_floats(n, 1);
      const auto g = random_floats(n, 2);
      const std::vector<float> s(static_cast<size_t>(2 * n), 0.01F);
      StepState state = state_at(3, 0.01);
      state.clip = 1.0F;
      NodeRunner plain(Op::adam, attributes);
      plain.input({n}, p, true).input({n}, g).input({2 * n}, s, true).run(isa, &state);
      NodeRunner measuring(Op::adam, attributes);
      measuring.input({n}, p, true).input({n}, g).input({2 * n}, s, true);
      const int64_t tiles = ops::sweep_tiles(n);
      measuring.input({tiles}, std::vector<float>(static_cast<size_t>(tiles)), true);
      measuring.run(isa, &state);
      for (const size_t operand : {0U, 2U}) {
        const std::vector<float> same = plain.input_now(operand);
        CHECK_NEAR(distance(measuring.input_now(operand), Doubles(same.begin(), same.end())), 0.0,
                   1e-7);
      }
      for (int64_t tile = 0; tile < tiles; ++tile) {
        double sum = 0;
        for (int64_t i = tile * ops::kSweepTile; i < std::min(n, (tile + 1) * ops::kSweepTile); ++i)
          sum += static_cast<double>(g[static_cast<size_t>(i)]) *
                 static_cast<double>(g[static_cast<size_t>(i)]);
        CHECK_NEAR(measuring.input_now(3)[static_cast<size_t>(tile)], sum, 2e-6 * sum);
      }
    }
  }
}

TEST(updates_of_products_follow_the_gradient) {
  // the update of plain SGD at rate 1 shows the gradient; Adam's must be that of a sweep with it
  struct Case {
    int64_t m, n, k;
  };
  const Case cases[] = {{1, 1, 1},
                        {3, 5, 2},
                        {33, 40, 8},
                        {100, 784, 8},
                        {70, 1024, 65},
                        {130, 4096, 130},
                        {151, 100, 2600},  // of tiles of 75 rows and of 76, beside
                                           // the L2's limit
                        {222, 704, 97}};
  for (const Case& c : cases) {
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        const auto a = random_floats(c.m * c.k, 1);
        const auto b = random_floats(c.k * c.n, 2);
        const auto p = random_floats(c.m * c.n, 3);
        Doubles gradient(p.size());
        double squares = 0;
        for (int64_t i = 0; i < c.m; ++i) {
          for (int64_t j = 0; j < c.n; ++j) {
            double sum = 0;
            for (int64_t x = 0; x < c.k; ++x) {
              sum +=
                  static_cast<double>(a[static_cast<size_t>(trans_a ? x * c.m + i : i * c.k + x)]) *
                  static_cast<double>(b[static_cast<size_t>(trans_b ? j * c.k + x : x * c.n + j)]);
            }
            gradient[static_cast<size_t>(i * c.n + j)] = sum;
            squares += sum * sum;
          }
        }
        const std::vector<int64_t> a_dims =
            trans_a ? std::vector<int64_t>{c.k, c.m} : std::vector<int64_t>{c.m, c.k};
        const std::vector<int64_t> b_dims =
            trans_b ? std::vector<int64_t>{c.n, c.k} : std::vector<int64_t>{c.k, c.n};
        ops::ProductUpdate::Attributes attributes{
            trans_a, trans_b, static_cast<int32_t>(Op::sgd), {}};
        const ops::Sgd::Attributes sgd{};
        std::memcpy(attributes.optimizer_attributes.data(), &sgd, sizeof sgd);
        for (const Isa& isa : isas()) {
          StepState state = state_at(1, 1.0);
          NodeRunner node(Op::productUpdate, attributes);
          node.input(a_dims, a).input(b_dims, b).input({c.m * c.n}, p, true).no_input();
          node.input({c.m}, random_floats(c.m, 4), true).run(isa, &state);
          const std::vector<float> after = node.input_now(2);
          std::vector<float> moved(p.size());
          for (size_t i = 0; i < p.size(); ++i) moved[i] = p[i] - after[i];
          CHECK_NEAR(distance(moved, gradient), 0.0, 1e-5);
          double sum = 0;
          for (const float x : node.input_now(4)) sum += static_cast<double>(x);
          CHECK_NEAR(sum, squares, 1e-5 * squares);

          const std::vector<float> slots(2 * p.size(), 0.25F);
          ops::ProductUpdate::Attributes by_adam = attributes;
          const ops::Adam::Attributes adam{};
          by_adam.optimizer = static_cast<int32_t>(Op::adam);
          std::memcpy(by_adam.optimizer_attributes.data(), &adam, sizeof adam);
          NodeRunner fused(Op::productUpdate, by_adam);
          fused.input(a_dims, a).input(b_dims, b).input({c.m * c.n}, p, true);
          fused.input({2 * c.m * c.n}, slots, true).input({c.m}, random_floats(c.m, 4), true);
          state = state_at(2, 0.01);
          fused.run(isa, &state);
          NodeRunner sweep(Op::adam, adam);
          state.clip = 1.0F;
          sweep.input({c.m * c.n}, p, true).input({c.m * c.n}, moved);
          sweep.input({2 * c.m * c.n}, slots, true).run(isa, &state);
          for (const auto& [mine, other] : {std::pair{2U, 0U}, {3U, 2U}}) {
            const std::vector<float> want = sweep.input_now(other);
            CHECK_NEAR(distance(fused.input_now(mine), Doubles(want.begin(), want.end())), 0.0,
                       1e-6);
          }
        }
      }
    }
  }
}

TEST(sweeps_at_a_rate_of_zero_move_no_parameter) {
  const auto p = random_floats(50, 1);
  const auto check = [&](Op op, const auto& attributes, int64_t slots) {
    for (const Isa& isa : isas()) {
      StepState state = state_at(1, 0.0);
      NodeRunner node(op, attributes);
      node.input({50}, p, true).input({50}, random_floats(50, 2));
      node.input({50 * slots}, std::vector<float>(static_cast<size_t>(50 * slots)), true);
      node.run(isa, &state);
      CHECK(node.input_now(0) == p);
    }
  };
  check(Op::adam, ops::Adam::Attributes{}, 2);
  check(Op::rmsprop, ops::RmsProp::Attributes{}, 1);
  check(Op::adagrad, ops::Adagrad::Attributes{}, 1);
}

TEST(sweeps_take_denormals_for_zero_and_kernels_after_them_do_not) {
  for (const Isa& isa : isas()) {
    StepState state = state_at(1000, 0.01);
    const std::vector<float> g(20, 0.0F);
    NodeRunner node(Op::adam, ops::Adam::Attributes{});
    node.input({20}, random_floats(20, 1), true).input({20}, g);
    node.input({40}, std::vector<float>(40, 1e-39F), true).run(isa, &state);
#if defined(__SSE2__)
    CHECK(node.input_now(2) == std::vector<float>(40, 0.0F));
#endif
    volatile float tiny = 1e-39F;
    tiny = tiny * 0.5F;
    CHECK(tiny != 0.0F);
  }
}

TEST(gradient_norm_adds_sums_of_squares) {
  for (const Isa& isa : isas()) {
    StepState state = state_at(1, 0.1);
    NodeRunner node(Op::gradientNorm, ops::GradientNorm::Attributes{0.0, false, true});
    node.input({3}, std::vector<float>{1.0F, 3.0F, 12.0F}).input({}, std::vector<float>{1.0F});
    node.run(isa, &state);
    CHECK(state.gradient_norm == 4.0F && state.clip == 1.0F && state.skip == 0);
  }
}

TEST(gradient_norm_clips_and_checks) {
  for (const Isa& isa : isas()) {
    for (const int64_t n : {0, 1, 17, 100003}) {
      const auto g = random_floats(n, 3);
      double norm = 0;
      for (const float x : g) norm += static_cast<double>(x) * static_cast<double>(x);
      norm = std::sqrt(norm);
      for (const double max_norm : {0.0, 0.01, 1e9}) {
        StepState state = state_at(1, 0.1);
        NodeRunner node(Op::gradientNorm, ops::GradientNorm::Attributes{max_norm, true});
        node.input({n}, g).input({}, std::vector<float>{1.0F}).run(isa, &state);
        CHECK_NEAR(state.gradient_norm, norm, 2e-7 * norm);
        const double clip = max_norm > 0 ? std::fmin(1.0, max_norm / (norm + 1e-6)) : 1.0;
        CHECK_NEAR(state.clip, clip, 1e-6 * clip);
        CHECK(state.skip == 0);
      }
    }
    for (const float bad : {HUGE_VALF, std::nanf("")}) {
      for (const bool in_loss : {false, true}) {
        for (const bool check : {false, true}) {
          StepState state = state_at(1, 0.1);
          NodeRunner node(Op::gradientNorm, ops::GradientNorm::Attributes{1.0, check});
          node.input({3}, std::vector<float>{1, in_loss ? 2 : bad, 3})
              .input({}, std::vector<float>{in_loss ? bad : 1.0F});
          node.run(isa, &state);
          CHECK(state.skip == (check ? 1U : 0U));
        }
      }
    }
  }
}

TEST(dropout_follows_philox) {
  for (const int64_t n : {1, 3, 16, 31, 64, 70001}) {
    const auto x = random_floats(n, 21, 1.0F, 2.0F);
    for (const float rate : {0.0F, 0.3F, 0.5F, 0.999F}) {
      StepState state = state_at(77, 0.1);
      state.seed = 0x123456789abcdef0U;
      const ops::Dropout::Attributes attributes{5, rate};
      std::vector<float> expected(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        const uint32_t word =
            philox(state.seed, i / 4, state.step ^ (uint64_t{5} << 32)).word[i % 4];
        expected[i] = unit_float(word) >= rate ? x[i] * (1.0F / (1.0F - rate)) : 0.0F;
      }
      for (const Isa& isa : isas()) {
        for (const int over : {-1, 0}) {
          NodeRunner node(Op::dropout, attributes);
          node.input({n}, x).output({n}, over).run(isa, &state);
          CHECK(node.result() == expected);
        }
      }
    }
  }
}

TEST(accuracy_takes_the_first_of_equals) {
  const float nan = std::nanf("");
  const auto share = [](const Isa& isa, int64_t rows, int64_t classes, const std::vector<float>& x,
                        auto targets) {
    NodeRunner node(Op::accuracy, ops::Accuracy::Attributes{});
    node.input({rows, classes}, x).input({rows}, targets).output({}).run(isa);
    return node.result()[0];
  };
  for (const Isa& isa : isas()) {
    const std::vector<float> x{1, 3, 3, 3, 1, 3, nan, 1, 0, -HUGE_VALF, -HUGE_VALF, -HUGE_VALF};
    CHECK(share(isa, 4, 3, x, std::vector<int32_t>{1, 0, 1, 0}) == 0.75F);
    CHECK(share(isa, 4, 3, x, std::vector<int32_t>{2, 2, -1, 1}) == 0.0F);
    CHECK(share(isa, 4, 3, x, std::vector<int32_t>{1, -1, 3, INT32_MAX}) == 1.0F / 3.0F);
    CHECK(share(isa, 4, 3, x, std::vector<float>{1.0F, 0.0F, -1.0F, 0.5F}) == 2.0F / 3.0F);
    CHECK(std::isnan(share(isa, 4, 3, x, std::vector<int32_t>{-1, -1, -1, -1})));
    CHECK(share(isa, 4, 1, {0.1F, -0.1F, 2.0F, -3.0F}, std::vector<float>{1, 0, 0, 0}) == 0.75F);
    const int64_t rows = 3000;
    const int64_t classes = 37;
    const auto scores = random_floats(rows * classes, 9);
    const auto picks = random_floats(rows, 10, 0.0F, 37.0F);
    std::vector<int32_t> targets;
    int64_t hits = 0;
    for (int64_t r = 0; r < rows; ++r) {
      int32_t best = 0;
      for (int32_t c = 0; c < classes; ++c) {
        if (scores[static_cast<size_t>(r * classes + c)] >
            scores[static_cast<size_t>(r * classes + best)])
          best = c;
      }
      targets.push_back(r % 3 == 0 ? best : static_cast<int32_t>(picks[static_cast<size_t>(r)]));
      hits += targets.back() == best;
    }
    CHECK(share(isa, rows, classes, scores, targets) ==
          static_cast<float>(static_cast<double>(hits) / static_cast<double>(rows)));
  }
}
