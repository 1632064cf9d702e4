// Training under bf16-mixed on a GPU against the CPU's: convolutions and attention, whose products
// round their factors on both, and that they do round.
#include <vector>

#include "core/trainer.h"
#include "parity.h"

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
  TrainerOptions options;
  options.optimizer = Op::sgd;
  options.optimizer_attributes = make_attributes(Op::sgd, {});
  options.precision = precision;
  Trainer trainer(store, d, options, backend);
  std::vector<float> x(static_cast<size_t>(kRows * 4 * 20 * 24));
  std::mt19937 engine(3);
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
  double results[1 + Trainer::kStepResults];
  for (int i = 0; i < kSteps; ++i) trainer.train(kRows, {x.data()}, 0.1, results);
  trainer.sync();
  const auto* p = reinterpret_cast<const float*>(store->memory().data.get());
  return {p, p + store->memory().bytes / 4};
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
