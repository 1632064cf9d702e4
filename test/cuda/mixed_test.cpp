// Training under bf16-mixed and fp16-mixed on a GPU against the CPU's: convolutions and attention,
// whose products round their factors on both, and that they do round; and the scale of the loss.
#include <vector>

#include "core/trainer.h"
#include "parity.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::check;

namespace {

constexpr int64_t kRows = 6;
constexpr int kSteps = 5;

/// Planes convolved twice, whose rows and channels then attend to each other as times and heads.
GraphDescription model() {
  GraphDescription d;
  const Initializer uniform{InitializerKind::kUniform, -0.3, 0.3};
  d.inputs = {{"x", {-1, 4, 20, 24}, DType::kFloat32}};
  d.parameters = {{"first", {6, 4, 3, 3}, true, uniform},
                  {"second", {5, 6, 3, 3}, true, uniform},
                  {"mask", {20, 20}, true, uniform}};
  const AttributeList padded = {{"padding", std::vector<double>{1, 1}}};
  d.nodes = {{"conv2d", {0, 1}, padded}, {"tanh", {4}, {}},
             {"conv2d", {5, 2}, padded}, {"attention", {6, 6, 6, 3}, {{"causal", true}}},
             {"mul", {7, 7}, {}},        {"mean", {8}, {}}};
  d.outputs = {9};
  return d;
}

std::vector<float> trained(const Backend& backend, Precision precision) {
  const GraphDescription d = model();
  auto store = std::make_shared<ParameterStore>(d.parameters, 5);
  Trainer trainer(store, d, sgd_options(precision), backend);
  std::vector<float> x(static_cast<size_t>(kRows * 4 * 20 * 24));
  std::mt19937 engine(3);
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
  double results[1 + Trainer::kStepResults];
  for (int i = 0; i < kSteps; ++i) trainer.train(kRows, {x.data()}, 0.1, results);
  trainer.sync();
  return floats(store->memory());
}

double far(const std::vector<float>& a, const std::vector<float>& b) {
  return distance(a.data(), b.data(), static_cast<int64_t>(b.size()));
}

}  // namespace

TEST(gpu_trains_in_bfloat16) {
  const std::vector<float> start = [] {
    const GraphDescription d = model();
    const ParameterStore store(d.parameters, 5);
    const auto* p = reinterpret_cast<const float*>(store.memory().data.get());
    return std::vector<float>(p, p + store.memory().bytes / 4);
  }();
  const std::vector<float> exact = trained(gpu(), Precision::kFloat32);
  const std::vector<float> mixed = trained(gpu(), Precision::kBf16Mixed);
  const std::vector<float> want = trained(cpu_backend(), Precision::kBf16Mixed);
  const double moved = far(want, start);
  CHECK(far(exact, trained(cpu_backend(), Precision::kFloat32)) < 1e-5);
  CHECK(far(mixed, want) < 1e-2 * moved);
  CHECK(far(mixed, exact) > 0);
}

TEST(gpu_trains_in_float16) {
  const std::vector<float> exact = trained(gpu(), Precision::kFloat32);
  const std::vector<float> mixed = trained(gpu(), Precision::kFp16Mixed);
  const std::vector<float> want = trained(cpu_backend(), Precision::kFp16Mixed);
  CHECK(far(mixed, want) < 1e-3);
  CHECK(far(mixed, exact) > 0);
}

TEST(gpu_scales_losses_and_skips_what_overflows) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 4, 5, 6}, DType::kFloat32}, {"t", {-1, 3, 5, 6}, DType::kFloat32}};
  d.parameters = {{"w", {3, 4, 1, 1}, true, {InitializerKind::kUniform, -0.3, 0.3}}};
  d.nodes = {{"conv2d", {0, 2}, {}}, {"mse", {3, 1}, {}}};
  d.outputs = {4};
  for (const bool accumulates : {false, true}) {
    TrainerOptions options;
    options.optimizer = Op::adam;
    options.optimizer_attributes = make_attributes(Op::adam, {});
    options.precision = Precision::kFp16Mixed;
    options.max_gradient_norm = 1e3;
    options.accumulates = accumulates;
    std::vector<float> x(2 * 4 * 30, 0.5F);
    std::vector<float> t(2 * 3 * 30, 1e3F);
    const auto run = [&](const Backend& backend, std::vector<double>& results) {
      auto store = std::make_shared<ParameterStore>(d.parameters, 5);
      Trainer trainer(store, d, options, backend);
      for (int i = 0; i < 6; ++i) {
        trainer.train(2, {x.data(), t.data()}, 0.1, results.data() + i * 3L);
      }
      trainer.sync();
      const auto* p = reinterpret_cast<const float*>(store->memory().data.get());
      const Trainer::Progress progress = trainer.progress();
      results.push_back(static_cast<double>(progress.skipped));
      results.push_back(static_cast<double>(progress.loss_scaler.scale));
      return std::vector<float>(p, p + store->memory().bytes / 4);
    };
    std::vector<double> got(18);
    std::vector<double> want(18);
    const std::vector<float> moved = run(gpu(), got);
    CHECK(far(moved, run(cpu_backend(), want)) < 1e-4);
    CHECK(got[18] == want[18] && got[19] == want[19] && want[18] > 0 && want[18] < 6);
    for (size_t i = 0; i < 6; ++i) CHECK(got[i * 3 + 2] == want[i * 3 + 2]);
  }
}
