// The trainer and the predictor over the CPU's backend: results that do not depend on the number of
// threads, learning, frozen weights, refusal of what is not finite.
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "check.h"
#include "core/evaluate.h"
#include "core/predictor.h"
#include "training_support.h"

using namespace tandem;

namespace {

struct Data {
  std::vector<float> x;
  std::vector<int32_t> t;
};

Data make_data(int64_t rows, int64_t in, int32_t classes) {
  Data data;
  uint32_t state = 12345;
  for (int64_t i = 0; i < rows; ++i) {
    int32_t best = 0;
    float high = -1;
    for (int64_t j = 0; j < in; ++j) {
      state = state * 1664525U + 1013904223U;
      data.x.push_back(static_cast<float>(state >> 8) * 0x1p-24F);
      if (j < classes && data.x.back() > high) {
        high = data.x.back();
        best = static_cast<int32_t>(j);
      }
    }
    data.t.push_back(best);
  }
  return data;
}

/// Parameters after `steps` steps with this many threads.
std::vector<float> train(int threads, int steps, double* last_loss = nullptr, double max_norm = 0,
                         Precision precision = Precision::kFloat32) {
  const GraphDescription d = classifier("silu", 96, 160, 10, true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 11);
  TrainerOptions options = adam_options(threads);
  options.max_gradient_norm = max_norm;
  options.precision = precision;
  Trainer trainer(store, d, options, cpu_backend());
  const Data data = make_data(200, 96, 10);
  double results[2 + Trainer::kStepResults];
  for (int i = 0; i < steps; ++i) {
    trainer.train(i % 3 == 2 ? 77 : 128, {data.x.data(), data.t.data()}, 3e-3, results);
  }
  if (last_loss != nullptr) *last_loss = results[0];
  return floats(store->memory());
}

}  // namespace

TEST(engine_same_bits_for_every_number_of_threads) {
  const std::vector<float> one = train(1, 12);
  for (const int threads : {2, 3, 5}) {
    const std::vector<float> other = train(threads, 12);
    CHECK(one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size() * 4) == 0);
  }
}

TEST(engine_same_bits_in_bf16_mixed_for_every_number_of_threads) {
  double float32 = 0;
  double mixed = 0;
  train(1, 12, &float32);
  const std::vector<float> one = train(1, 12, &mixed, 0, Precision::kBf16Mixed);
  CHECK(mixed != float32);
  CHECK_NEAR(mixed, float32, 0.01 * float32);
  for (const int threads : {2, 3, 5}) {
    const std::vector<float> other = train(threads, 12, nullptr, 0, Precision::kBf16Mixed);
    CHECK(one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size() * 4) == 0);
  }
}

TEST(engine_updates_on_the_way_are_those_after_the_norm) {
  // a norm that nothing reaches changes no update, but has to be known before the first of them
  double on_the_way = 0;
  double after = 0;
  const std::vector<float> a = train(2, 12, &on_the_way);
  const std::vector<float> b = train(2, 12, &after, 1e9);
  CHECK_NEAR(on_the_way, after, 1e-5);
  double norm = 0;
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    norm += x * x;
    difference += (x - static_cast<double>(b[i])) * (x - static_cast<double>(b[i]));
  }
  CHECK_NEAR(std::sqrt(difference / norm), 0.0, 1e-5);
}

TEST(engine_updates_wait_for_gradients_that_read_the_parameter) {
  // y = x (q p)^T: the gradient of either factor is a product with the other one
  GraphDescription d;
  d.inputs = {{"x", {-1, 24}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.5, 0.5};
  d.parameters = {{"p", {8, 24}, true, uniform}, {"q", {6, 8}, true, uniform}};
  d.nodes = {{"matmul", {3, 2}, {}},
             {"linear", {0, 4, -1}, {}},
             {"countTargets", {1}, {}},
             {"crossEntropy", {5, 1, -1, -1, 6}, {}}};
  d.outputs = {7};
  const Data data = make_data(16, 24, 6);
  std::vector<std::vector<float>> after;
  for (const double max_norm : {0.0, 1e9}) {
    auto store = std::make_shared<ParameterStore>(d.parameters, 11);
    TrainerOptions options = adam_options(1);
    options.optimizer = Op::sgd;
    options.optimizer_attributes = make_attributes(Op::sgd, {});
    options.max_gradient_norm = max_norm;
    Trainer trainer(store, d, options, cpu_backend());
    double results[2 + Trainer::kStepResults];
    trainer.train(16, {data.x.data(), data.t.data()}, 5.0, results);
    const auto* parameters = reinterpret_cast<const float*>(store->memory().data.get());
    after.emplace_back(parameters, parameters + store->memory().bytes / 4);
  }
  for (size_t i = 0; i < after[0].size(); ++i)
    CHECK_NEAR(static_cast<double>(after[0][i]), static_cast<double>(after[1][i]), 1e-5);
}

TEST(engine_trainers_on_many_threads_at_once) {
  const std::vector<float> alone = train(2, 6);
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> results(6);
  threads.reserve(results.size());
  for (auto& result : results) threads.emplace_back([&result] { result = train(2, 6); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results)
    CHECK(std::memcmp(alone.data(), result.data(), alone.size() * 4) == 0);
}

TEST(engine_learns) {
  double first = 0;
  double last = 0;
  (void)train(2, 1, &first);
  (void)train(2, 300, &last);
  CHECK(first > 2.0 && last < 0.7);
}

TEST(engine_refuses_steps_that_are_not_finite) {
  const GraphDescription d = classifier("silu", 16, 8, 3, true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 1);
  TrainerOptions options = adam_options(1);
  options.check_numerics = true;
  Trainer trainer(store, d, options, cpu_backend());
  Data data = make_data(8, 16, 3);
  double results[2 + Trainer::kStepResults];
  trainer.train(8, {data.x.data(), data.t.data()}, 1e-2, results);
  const std::vector<std::byte> before(store->memory().data.get(),
                                      store->memory().data.get() + store->memory().bytes);
  data.x[5] = std::numeric_limits<float>::quiet_NaN();
  bool refused = false;
  try {
    trainer.train(8, {data.x.data(), data.t.data()}, 1e-2, results);
  } catch (const Error& error) {
    refused =
        error.code() == ErrorCode::kNumeric && error.message().find("step 2") != std::string::npos;
  }
  CHECK(refused);
  CHECK(std::memcmp(before.data(), store->memory().data.get(), before.size()) == 0);
  data.x[5] = 0;
  trainer.train(8, {data.x.data(), data.t.data()}, 1e-2, results);
  CHECK(trainer.step() == 2 && std::isfinite(results[0]));
}

TEST(engine_outputs_beside_the_loss_have_any_shape) {
  GraphDescription d = classifier("silu", 16, 8, 3, true);
  const int64_t logits = d.outputs[0] - 2;
  const auto next = static_cast<int64_t>(d.inputs.size() + d.parameters.size() + d.nodes.size());
  d.nodes.push_back({"mean", {logits}, {{"axes", std::vector<double>{0}}}});
  d.outputs.insert(d.outputs.end(), {logits, 1, next});
  auto store = std::make_shared<ParameterStore>(d.parameters, 1);
  Trainer trainer(store, d, adam_options(1), cpu_backend());
  const Data data = make_data(7, 16, 3);
  for (const int64_t rows : {1, 2, 7}) {
    const auto n = static_cast<size_t>(rows);
    const size_t count = 2 + 3 * n + n + 3;
    CHECK(trainer.results_of(rows) == count);
    std::vector<double> results(count + 3, -77.0);
    trainer.evaluate(rows, {data.x.data(), data.t.data()}, results.data());
    CHECK(results[count] == -77.0);
    for (size_t i = 0; i < n; ++i) CHECK(results[2 + 3 * n + i] == data.t[i]);
    for (size_t c = 0; c < 3; ++c) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += results[2 + 3 * i + c];
      CHECK_NEAR(results[2 + 4 * n + c], sum / static_cast<double>(rows), 1e-6);
    }
    trainer.train(rows, {data.x.data(), data.t.data()}, 1e-3, results.data());
    CHECK(results[count] > 0 && results[count + 1] == 1e-3 && results[count + 2] == -77.0);
    for (size_t i = 0; i < n; ++i) CHECK(results[2 + 3 * n + i] == data.t[i]);
  }
}

TEST(engine_refuses_outputs_that_grow_with_the_square_of_the_batch) {
  GraphDescription d = classifier("silu", 16, 8, 3, true);
  const int64_t logits = d.outputs[0] - 2;
  const auto next = static_cast<int64_t>(d.inputs.size() + d.parameters.size() + d.nodes.size());
  d.nodes.push_back({"transpose", {logits}, {}});
  d.nodes.push_back({"matmul", {logits, next}, {}});
  d.outputs.push_back(next + 1);
  auto store = std::make_shared<ParameterStore>(d.parameters, 1);
  CHECK_THROWS(Trainer(store, d, adam_options(1), cpu_backend()));
}

TEST(engine_targets_out_of_range_read_nothing) {
  const GraphDescription d = classifier("silu", 16, 8, 3, true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 1);
  Trainer trainer(store, d, adam_options(1), cpu_backend());
  Data data = make_data(8, 16, 3);
  data.t[2] = 1 << 30;
  data.t[3] = -7;
  double results[2];
  trainer.evaluate(8, {data.x.data(), data.t.data()}, results);
  CHECK(std::isnan(results[0]));
}

TEST(engine_predictor_agrees_with_evaluate_at_every_batch) {
  const GraphDescription d = classifier("silu", 33, 70, 10, false);
  const ParameterStore store(d.parameters, 4);
  const Data data = make_data(300, 33, 10);
  Predictor predictor(store, d, 2, 64, cpu_backend());
  // the same graph with the weights fed as they were initialised
  std::vector<float> whole(3000);
  {
    Predictor::Session session(predictor);
    session.run(300, {data.x.data()}, {whole.data()});
  }
  const Evaluation want = evaluate(d, 300, {data.x.data()}, {false, 4, 1}, cpu_backend());
  const auto* reference = reinterpret_cast<const float*>(want.outputs[0].data.get());
  for (int i = 0; i < 3000; ++i) CHECK_NEAR(whole[static_cast<size_t>(i)], reference[i], 1e-5);
  for (const int64_t rows : {1, 2, 5, 8, 9, 63, 64}) {
    Predictor::Session session(predictor);
    std::vector<float> part(static_cast<size_t>(rows) * 10);
    session.bind(rows, {data.x.data()}, {part.data()});
    session.run_bound();
    for (int64_t i = 0; i < rows * 10; ++i)
      CHECK_NEAR(part[static_cast<size_t>(i)], reference[i], 1e-5);
  }
}

TEST(engine_predictor_keeps_one_copy_of_the_weights) {
  const GraphDescription d = classifier("silu", 512, 512, 512, false);
  const ParameterStore store(d.parameters, 4);
  Predictor predictor(store, d, 1, 64, cpu_backend());
  const Data data = make_data(64, 512, 10);
  std::vector<float> out(64 * 512);
  Predictor::Session session(predictor);
  for (const int64_t rows : {1, 7, 64}) session.run(rows, {data.x.data()}, {out.data()});
  const Profile profile = predictor.profile();
  CHECK(profile.memory.parameters < store.memory().bytes + 16384);
  CHECK(profile.memory.gradients == 0 && profile.memory.optimizer == 0);
  CHECK(profile.memory.activations < 64 * 512 * 4 * 3);
}

TEST(engine_dropout_acts_in_training_alone) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 1000}, DType::kFloat32}};
  d.nodes = {{"dropout", {0}, {{"rate", 0.25}, {"seed", 9.0}}}};
  d.outputs = {1};
  const std::vector<float> x(4000, 1.0F);
  const auto run = [&](bool training, uint64_t seed, int threads) {
    const Evaluation e = evaluate(d, 4, {x.data()}, {training, seed, threads}, cpu_backend());
    const auto* y = reinterpret_cast<const float*>(e.outputs[0].data.get());
    return std::vector<float>(y, y + 4000);
  };
  CHECK(run(false, 1, 1) == x);
  const std::vector<float> a = run(true, 1, 1);
  CHECK(a == run(true, 1, 3) && a != run(true, 2, 1));
  int kept = 0;
  for (const float v : a) {
    CHECK(v == 0.0F || std::fabs(v - 4.0F / 3.0F) < 1e-6F);
    kept += v != 0.0F ? 1 : 0;
  }
  CHECK(kept > 2850 && kept < 3150);
}
