// distillation and its gradient against double precision.
#include <cmath>

#include "check.h"
#include "core/ops/distillation.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;

namespace {

/// log(softmax(x / t)) of a row.
std::vector<double> log_softmax(const float* x, int64_t n, double t) {
  std::vector<double> logs;
  double largest = -HUGE_VAL;
  for (int64_t i = 0; i < n; ++i) largest = std::fmax(largest, static_cast<double>(x[i]) / t);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) / t - largest);
  for (int64_t i = 0; i < n; ++i)
    logs.push_back(static_cast<double>(x[i]) / t - largest - std::log(sum));
  return logs;
}

/// `spread`: rows that share a weight; 0 where rows have none.
void check_rows(int64_t rows, int64_t n, float temperature, int64_t spread = 0) {
  const Dims dims{rows, n};
  const auto x = random_floats(rows * n, 1, -4.0F, 4.0F);
  const auto teacher = random_floats(rows * n, 2, -4.0F, 4.0F);
  const auto t = static_cast<double>(temperature);
  constexpr float kGradient = -0.7F;
  auto weights = spread == 0 ? std::vector<float>{} : random_floats(rows / spread, 3, 0.0F, 2.0F);
  for (size_t i = 1; i < weights.size(); i += 3) weights[i] = 0.0F;
  double divisor = 0;
  for (const float weight : weights) divisor += static_cast<double>(weight);
  double loss = 0;
  std::vector<double> dx;
  for (int64_t row = 0; row < rows; ++row) {
    const double share = spread == 0
                             ? 1 / static_cast<double>(rows)
                             : static_cast<double>(weights[static_cast<size_t>(row / spread)]) /
                                   (divisor * static_cast<double>(spread));
    const auto p = log_softmax(x.data() + row * n, n, t);
    const auto q = log_softmax(teacher.data() + row * n, n, t);
    for (size_t i = 0; i < p.size(); ++i) {
      loss += share * t * t * std::exp(q[i]) * (q[i] - p[i]);
      dx.push_back(share * static_cast<double>(kGradient) * t * (std::exp(p[i]) - std::exp(q[i])));
    }
  }
  const ops::DistillationAttributes attributes{temperature};
  const auto add_weights = [&](NodeRunner& node) {
    if (spread == 0) return;
    node.input({rows / spread}, weights);
    node.input({}, std::vector<float>{static_cast<float>(divisor)});
  };
  for (const Isa& isa : isas()) {
    NodeRunner forward(Op::distillation, attributes);
    forward.input(dims, x).input(dims, teacher);
    add_weights(forward);
    forward.output({}).run(isa);
    CHECK_NEAR(static_cast<double>(forward.result()[0]), loss, 2e-6 * (1 + t * t));
    for (const int over : {-1, 0}) {
      NodeRunner gradient(Op::distillationGrad, attributes);
      gradient.input(dims, x).input(dims, teacher).input({}, std::vector<float>{kGradient});
      add_weights(gradient);
      gradient.output(dims, over).run(isa);
      CHECK_NEAR(distance(gradient.result(), dx), 0.0, 2e-6);
    }
  }
}

}  // namespace

TEST(distillation_and_its_gradient) {
  for (const int64_t n : {1, 2, 7, 16, 33, 1000, 9000}) {
    for (const float temperature : {0.5F, 1.0F, 3.0F}) check_rows(5, n, temperature);
  }
  check_rows(2000, 10, 2.0F);
  for (const int64_t spread : {1, 2, 7, 14}) check_rows(14, 33, 2.0F, spread);
  check_rows(2000, 10, 2.0F, 4);
}

TEST(distillation_of_weights_that_are_all_0) {
  const Dims dims{2, 3};
  for (const Isa& isa : isas()) {
    NodeRunner forward(Op::distillation, ops::DistillationAttributes{2.0F});
    forward.input(dims, random_floats(6, 1)).input(dims, random_floats(6, 2));
    forward.input({2}, std::vector<float>{0.0F, 0.0F}).input({}, std::vector<float>{0.0F});
    forward.output({}).run(isa);
    CHECK(forward.result()[0] == 0.0F);
    NodeRunner gradient(Op::distillationGrad, ops::DistillationAttributes{2.0F});
    gradient.input(dims, random_floats(6, 1)).input(dims, random_floats(6, 2));
    gradient.input({}, std::vector<float>{1.0F});
    gradient.input({2}, std::vector<float>{0.0F, 0.0F}).input({}, std::vector<float>{0.0F});
    gradient.output(dims, -1).run(isa);
    for (const float slope : gradient.result()) CHECK(slope == 0.0F);
  }
}
