// Whole steps on a GPU against the CPU's: every optimizer, clipping, skipping, replaying, several
// batch sizes over one arena, predictions, and the same bits in every run.
#include <cmath>
#include <cstring>
#include <thread>

#include "core/predictor.h"
#include "parity.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::check;

namespace {

GraphDescription classifier(bool loss) { return tandem::classifier("geluTanh", 96, 160, 10, loss); }

struct Data {
  std::vector<float> x;
  std::vector<int32_t> t;
};

Data make_data(int64_t rows) {
  Data data;
  std::mt19937 engine(5);
  for (int64_t i = 0; i < rows; ++i) {
    for (int j = 0; j < 96; ++j) data.x.push_back(static_cast<float>(engine() >> 8) * 0x1p-24F);
    data.t.push_back(static_cast<int32_t>(engine() % 10));
  }
  return data;
}

TrainerOptions options_of(Op optimizer, const AttributeList& attributes, double max_norm = 0) {
  TrainerOptions options;
  options.optimizer = optimizer;
  options.optimizer_attributes = make_attributes(optimizer, attributes);
  options.max_gradient_norm = max_norm;
  options.seed = 5;
  return options;
}

struct Trained {
  std::vector<float> parameters;
  std::vector<double> results;
};

Trained train(const Backend& backend, const TrainerOptions& options, int steps) {
  const GraphDescription d = classifier(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 11);
  Trainer trainer(store, d, options, backend);
  const Data data = make_data(200);
  Trained trained{{}, std::vector<double>(2 + Trainer::kStepResults)};
  for (int i = 0; i < steps; ++i) {
    trainer.train(i % 3 == 2 ? 77 : 128, {data.x.data(), data.t.data()}, 1e-3,
                  trained.results.data());
  }
  trainer.sync();
  trained.parameters = floats(store->memory());
  return trained;
}

void compare_training(const char* name, const TrainerOptions& options) {
  const Trained got = train(gpu(), options, 12);
  const Trained want = train(cpu_backend(), options, 12);
  const double far = distance(got.parameters.data(), want.parameters.data(),
                              static_cast<int64_t>(want.parameters.size()));
  if (!(far < 1e-4)) std::printf("  %s: parameters differ by %g\n", name, far);
  CHECK(far < 1e-4);
  CHECK_NEAR(got.results[0], want.results[0], 1e-4);
  CHECK_NEAR(got.results[2], want.results[2], 1e-3);
}

}  // namespace

TEST(gpu_optimizers) {
  compare_training("sgd", options_of(Op::sgd, {}));
  compare_training(
      "sgd with momentum",
      options_of(Op::sgd, {{"momentum", 0.9}, {"nesterov", true}, {"weightDecay", 0.01}}));
  compare_training("adam", options_of(Op::adam, {}));
  compare_training("adamw", options_of(Op::adam, {{"weightDecay", 0.01}, {"decoupled", true}}));
  compare_training("rmsprop", options_of(Op::rmsprop, {{"momentum", 0.9}, {"centered", true}}));
  compare_training("adagrad", options_of(Op::adagrad, {{"lrDecay", 0.1}}));
  compare_training("lion", options_of(Op::lion, {{"weightDecay", 0.01}}));
  compare_training("lamb", options_of(Op::lamb, {{"weightDecay", 0.01}}));
  compare_training("adam, clipped", options_of(Op::adam, {}, 0.1));
  TrainerOptions averaged = options_of(Op::sgd, {});
  averaged.average_decay = 0.7;
  averaged.max_gradient_value = 0.01;
  averaged.accumulates = true;
  compare_training("clipped by value, averaged", averaged);
}

TEST(gpu_rounds_factors_as_the_cpu) {
  for (const Precision precision : {Precision::kBf16Mixed, Precision::kFp16Mixed}) {
    TrainerOptions mixed = options_of(Op::sgd, {});
    mixed.precision = precision;
    compare_training("16 bits", mixed);
    const Trained rounded = train(gpu(), mixed, 3);
    const Trained exact = train(gpu(), options_of(Op::sgd, {}), 3);
    CHECK(rounded.parameters != exact.parameters);
  }
}

TEST(gpu_rounds_factors_whose_rows_end_anywhere) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 23}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  d.parameters = {{"weight", {1003, 23}, true, Initializer{InitializerKind::kUniform, -0.5, 0.5}}};
  d.nodes = {
      {"linear", {0, 2}, {}}, {"countTargets", {1}, {}}, {"crossEntropy", {3, 1, -1, -1, 4}, {}}};
  d.outputs = {5};
  TrainerOptions options = options_of(Op::sgd, {});
  options.precision = Precision::kBf16Mixed;
  std::mt19937 engine(6);
  for (const int64_t rows : {50, 4200, 33600}) {  // logits of some rows, of one piece, of two
    std::vector<float> x(static_cast<size_t>(rows * 23));
    std::vector<int32_t> t(static_cast<size_t>(rows));
    for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
    for (int32_t& target : t) target = static_cast<int32_t>(engine() % 1003);
    const auto trained = [&](const Backend& backend, double rate) {
      auto store = std::make_shared<ParameterStore>(d.parameters, 11);
      Trainer trainer(store, d, options, backend);
      double results[1 + Trainer::kStepResults];
      for (int i = 0; i < 2; ++i) trainer.train(rows, {x.data(), t.data()}, rate, results);
      trainer.sync();
      return floats(store->memory());
    };
    const std::vector<float> start = trained(cpu_backend(), 0.0);
    const std::vector<float> want = trained(cpu_backend(), 10.0);
    const std::vector<float> got = trained(gpu(), 10.0);
    const auto n = static_cast<int64_t>(want.size());
    const double moved = distance(want.data(), start.data(), n);
    const double far = distance(got.data(), want.data(), n);
    if (!(far < 1e-2 * moved))
      std::printf("  %d rows: %g, moved %g\n", static_cast<int>(rows), far, moved);
    CHECK(far < 1e-2 * moved);
  }
}

TEST(gpu_adds_up_micro_batches) {
  TrainerOptions options = options_of(Op::sgd, {});
  options.accumulates = true;
  const GraphDescription d = classifier(true);
  const Data data = make_data(64);
  const auto trained = [&](const Backend& backend) {
    auto store = std::make_shared<ParameterStore>(d.parameters, 11);
    Trainer trainer(store, d, options, backend);
    double results[2 + Trainer::kStepResults];
    for (int i = 0; i < 6; ++i) {
      MicroBatch part;
      part.first = i % 3 == 0;
      part.last = i % 3 == 2;
      part.weight = 1.0 / (i % 3 + 1);
      trainer.train(64 - i, {data.x.data(), data.t.data()}, 0.1, results, part);
    }
    trainer.sync();
    return floats(store->memory());
  };
  const std::vector<float> got = trained(gpu());
  const std::vector<float> want = trained(cpu_backend());
  CHECK(distance(got.data(), want.data(), static_cast<int64_t>(want.size())) < 1e-4);
}

TEST(gpu_same_bits_in_every_run) {
  const TrainerOptions options = options_of(Op::adam, {});
  const Trained one = train(gpu(), options, 20);
  const Trained two = train(gpu(), options, 20);
  CHECK(std::memcmp(one.parameters.data(), two.parameters.data(), one.parameters.size() * 4) == 0);
  CHECK(one.results == two.results);
}

TEST(gpu_leaves_the_model_alone_when_a_step_is_not_finite) {
  const GraphDescription d = classifier(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 1);
  TrainerOptions options = options_of(Op::adam, {});
  options.check_numerics = true;
  Trainer trainer(store, d, options, gpu());
  Data data = make_data(8);
  double results[2 + Trainer::kStepResults];
  trainer.train(8, {data.x.data(), data.t.data()}, 1e-2, results);
  trainer.sync();
  const std::vector<std::byte> before(store->memory().data.get(),
                                      store->memory().data.get() + store->memory().bytes);
  data.x[5] = NAN;
  CHECK_THROWS(trainer.train(8, {data.x.data(), data.t.data()}, 1e-2, results));
  trainer.sync();
  CHECK(std::memcmp(before.data(), store->memory().data.get(), before.size()) == 0);
}

TEST(gpu_predicts_as_the_cpu) {
  const GraphDescription d = classifier(false);
  const ParameterStore store(d.parameters, 4);
  const Data data = make_data(300);
  for (const Precision precision : {Precision::kFloat32, Precision::kBf16Mixed}) {
    // a last bit that differs may round a factor to its other neighbour
    const double tolerance = precision == Precision::kFloat32 ? kTolerance : 2e-3;
    Predictor on_gpu(store, d, 0, 64, gpu(), precision);
    Predictor on_cpu(store, d, 0, 64, cpu_backend(), precision);
    std::vector<float> got(3000);
    std::vector<float> want(3000);
    Predictor::Session gpu_session(on_gpu);
    Predictor::Session cpu_session(on_cpu);
    for (const int64_t rows : {1, 300, 7, 64, 1}) {
      gpu_session.run(rows, {data.x.data()}, {got.data()});
      cpu_session.run(rows, {data.x.data()}, {want.data()});
      CHECK(distance(got.data(), want.data(), rows * 10) < tolerance);
    }
  }
}

TEST(gpu_trains_and_predicts_on_many_threads_at_once) {
  const TrainerOptions options = options_of(Op::adam, {});
  const Trained alone = train(gpu(), options, 6);
  std::vector<Trained> results(4);
  std::vector<std::thread> threads;
  threads.reserve(results.size());
  for (Trained& result : results)
    threads.emplace_back([&result, &options] { result = train(gpu(), options, 6); });
  for (std::thread& thread : threads) thread.join();
  for (const Trained& result : results) CHECK(result.parameters == alone.parameters);
}

TEST(gpu_without_memory_says_so_and_goes_on) {
  std::string message;
  try {
    (void)gpu().allocate(int64_t{1} << 50);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kOutOfMemory);
    message = error.message();
  }
  CHECK(message.find("free") != std::string::npos);
  CHECK(gpu().allocate(1024).bytes == 1024);
}
