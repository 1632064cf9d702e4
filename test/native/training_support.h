// A model small enough to train within a test, what it is trained with, and its parameters.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "core/trainer.h"

namespace tandem {

/// Two layers and the mean of the squares of x * a * b - t, or of its logarithm.
inline GraphDescription regression(const char* activation = "tanh", bool logarithm = false) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 6}, DType::kFloat32}, {"t", {-1, 3}, DType::kFloat32}};
  const Initializer uniform{InitializerKind::kUniform, -0.5, 0.5};
  d.parameters = {{"a.weight", {9, 6}, true, uniform},
                  {"a.bias", {9}, true, uniform},
                  {"b.weight", {3, 9}, true, uniform},
                  {"b.bias", {3}, true, uniform}};
  d.nodes = {{"linear", {0, 2, 3}, {}}, {activation, {6}, {}}, {"linear", {7, 4, 5}, {}}};
  int64_t last = 8;
  if (logarithm) {
    d.nodes.push_back({"log", {last}, {}});
    ++last;
  }
  d.nodes.push_back({"mse", {last, 1}, {}});
  d.outputs = {last + 1};
  return d;
}

/// Two layers with dropout between them; with `loss`, their cross-entropy and accuracy.
inline GraphDescription classifier(const char* activation, int64_t in, int64_t hidden,
                                   int64_t classes, bool loss) {
  GraphDescription d;
  d.inputs = {{"x", {-1, in}, DType::kFloat32}};
  if (loss) d.inputs.push_back({"t", {-1}, DType::kInt32});
  const auto first = static_cast<int64_t>(d.inputs.size());
  const Initializer uniform{InitializerKind::kUniform, -0.2, 0.2};
  d.parameters = {{"a.weight", {hidden, in}, true, uniform},
                  {"a.bias", {hidden}, true, uniform},
                  {"b.weight", {classes, hidden}, true, uniform},
                  {"b.bias", {classes}, true, uniform}};
  const int64_t value = first + 4;
  d.nodes = {{"linear", {0, first, first + 1}, {}},
             {activation, {value}, {}},
             {"dropout", {value + 1}, {{"rate", 0.25}, {"seed", 3.0}}},
             {"linear", {value + 2, first + 2, first + 3}, {}}};
  d.outputs = {value + 3};
  if (loss) {
    d.nodes.push_back({"countTargets", {1}, {}});
    d.nodes.push_back({"crossEntropy", {value + 3, 1, -1, -1, value + 4}, {}});
    d.nodes.push_back({"accuracy", {value + 3, 1}, {}});
    d.outputs = {value + 5, value + 6};
  }
  return d;
}

inline TrainerOptions adam_options(int threads = 0) {
  TrainerOptions options;
  options.optimizer = Op::adam;
  options.optimizer_attributes = make_attributes(Op::adam, {});
  options.seed = 5;
  options.threads = threads;
  return options;
}

inline TrainerOptions sgd_options(Precision precision = Precision::kFloat32) {
  TrainerOptions options;
  options.optimizer = Op::sgd;
  options.optimizer_attributes = make_attributes(Op::sgd, {});
  options.precision = precision;
  return options;
}

inline std::vector<float> floats(const Memory& memory) {
  std::vector<float> values(static_cast<size_t>(memory.bytes) / sizeof(float));
  std::memcpy(values.data(), memory.data.get(), values.size() * sizeof(float));
  return values;
}

/// |a - b| / |a| by Euclidean norm.
inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double sum = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
    norm += static_cast<double>(a[i]) * static_cast<double>(a[i]);
  }
  return std::sqrt(sum / norm);
}

inline std::vector<float> numbers(int64_t count, float scale, float offset = 0) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(offset + scale * static_cast<float>(std::sin(static_cast<double>(i) * 1.3)));
  return values;
}

/// A trainer of 16 rows of a regression.
struct Run {
  std::shared_ptr<ParameterStore> store;
  std::unique_ptr<Trainer> trainer;
  std::vector<float> x = numbers(16 * 6, 1.0F);
  std::vector<float> t = numbers(16 * 3, 0.7F);
  double results[3] = {};

  explicit Run(const TrainerOptions& options, const GraphDescription& d = regression())
      : store(std::make_shared<ParameterStore>(d.parameters, 11)),
        trainer(std::make_unique<Trainer>(store, d, options, cpu_backend())) {}
  void step(int64_t first = 0, int64_t rows = 16, MicroBatch micro_batch = {}) {
    trainer->train(rows, {x.data() + first * 6, t.data() + first * 3}, 1e-2, results, micro_batch);
  }
  [[nodiscard]] std::vector<float> now() const { return floats(store->memory()); }
};

}  // namespace tandem
