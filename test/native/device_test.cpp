// What core does for a device with memory of its own, shown on one that the tests make: it computes
// on the CPU, but in memory that is not the host's copy of the parameters.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "core/evaluate.h"
#include "core/predictor.h"
#include "cpu_device.h"
#include "training_support.h"

using namespace tandem;

namespace {

class OtherDevice final : public CpuDevice {
 public:
  [[nodiscard]] const char* name() const override { return "other:0"; }
  [[nodiscard]] bool supports(Op op) const override { return op != missing; }
  [[nodiscard]] bool shares_host_memory() const override { return false; }
  [[nodiscard]] bool updates_on_the_way() const override { return false; }
  void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind kind) const override {
    ++copies[static_cast<size_t>(kind)];
    CpuDevice::copy(to, from, bytes, kind);
  }
  [[nodiscard]] Memory allocate(int64_t bytes) const override {
    if (bytes > most) fail(ErrorCode::kOutOfMemory, "expected less, received more");
    return CpuDevice::allocate(bytes);
  }

  Op missing = Op::kCount;
  mutable int64_t most = int64_t{1} << 40;  ///< bytes of an allocation
  mutable int copies[3] = {};
};

/// relu(x w^T + b) v^T against a target: parameters w, b, v.
GraphDescription perceptron(bool loss) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 5}, DType::kFloat32}};
  if (loss) d.inputs.push_back({"t", {-1, 3}, DType::kFloat32});
  const auto first = static_cast<int64_t>(d.inputs.size());
  const Initializer uniform{InitializerKind::kUniform, -0.5, 0.5};
  d.parameters = {
      {"w", {7, 5}, true, uniform}, {"b", {7}, true, uniform}, {"v", {3, 7}, true, uniform}};
  d.nodes = {{"linear", {0, first, first + 1}, {}},
             {"relu", {first + 3}, {}},
             {"linear", {first + 4, first + 2}, {}}};
  d.outputs = {first + 5};
  if (loss) {
    d.nodes.push_back({"mse", {first + 5, 1}, {}});
    d.outputs = {first + 6};
  }
  return d;
}

const std::vector<float> kX = {0.1F, 0.7F, -0.3F, 0.9F, 0.2F, -0.8F, 0.4F, 0.5F, -0.6F, 0.3F};
const std::vector<float> kTarget = {1.0F, -1.0F, 0.5F, 0.25F, 0.0F, -0.5F};

std::vector<double> train(Trainer& trainer, int steps) {
  std::vector<double> results(1 + Trainer::kStepResults);
  for (int i = 0; i < steps; ++i)
    trainer.train(2, {kX.data(), kTarget.data()}, 1e-2, results.data());
  return results;
}

}  // namespace

TEST(device_trains_a_copy_of_the_parameters_until_they_are_synced) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  auto host = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, adam_options(), device);
  Trainer reference(host, d, adam_options(), cpu_backend());
  const std::vector<float> before = floats(store->memory());
  const std::vector<double> results = train(trainer, 20);
  const std::vector<double> expected = train(reference, 20);
  CHECK_NEAR(results[0], expected[0], 1e-6);
  CHECK_NEAR(results[1], expected[1], 1e-5);
  CHECK(floats(store->memory()) == before);
  trainer.sync();
  const std::vector<float> after = floats(store->memory());
  const std::vector<float> want = floats(host->memory());
  CHECK(after != before);
  for (size_t i = 0; i < after.size(); ++i) CHECK_NEAR(after[i], want[i], 1e-5);
}

TEST(device_evaluates_averages_within_its_memory) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  TrainerOptions options = adam_options();
  options.average_decay = 0.5;
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  auto host = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, options, device);
  Trainer reference(host, d, options, cpu_backend());
  train(trainer, 3);
  train(reference, 3);
  trainer.copy_averages();
  reference.copy_averages();
  CHECK(device.copies[static_cast<size_t>(CopyKind::kWithinDevice)] > 0);
  double results[2];
  trainer.evaluate_averages(2, {kX.data(), kTarget.data()}, results);
  reference.evaluate_averages(2, {kX.data(), kTarget.data()}, results + 1);
  CHECK_NEAR(results[0], results[1], 1e-6);
  trainer.evaluate(2, {kX.data(), kTarget.data()}, results + 1);
  CHECK(results[0] != results[1]);
}

TEST(device_gets_parameters_that_the_host_changed) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, adam_options(), device);
  double results[1];
  trainer.evaluate(2, {kX.data(), kTarget.data()}, results);
  const double first = results[0];
  std::memset(store->memory().data.get(), 0, static_cast<size_t>(store->memory().bytes));
  trainer.evaluate(2, {kX.data(), kTarget.data()}, results);
  CHECK(results[0] == first);
  trainer.upload();
  trainer.evaluate(2, {kX.data(), kTarget.data()}, results);
  double squares = 0;
  for (const float t : kTarget) squares += static_cast<double>(t) * static_cast<double>(t);
  CHECK_NEAR(results[0], squares / 6, 1e-6);
}

TEST(device_trainers_of_a_model_share_its_parameters) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, adam_options(), device);
  Trainer other(store, d, adam_options(), device);
  CHECK(device.copies[static_cast<size_t>(CopyKind::kToDevice)] == 1);
  double before[1];
  double after[1];
  other.evaluate(2, {kX.data(), kTarget.data()}, before);
  (void)train(trainer, 5);
  other.evaluate(2, {kX.data(), kTarget.data()}, after);
  CHECK(after[0] < before[0]);
}

TEST(device_norm_of_one_sweep_is_that_of_two) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  TrainerOptions clipped = adam_options();
  clipped.max_gradient_norm = 1e9;
  Trainer one(std::make_shared<ParameterStore>(d.parameters, 3), d, adam_options(), device);
  Trainer two(std::make_shared<ParameterStore>(d.parameters, 3), d, clipped, device);
  CHECK_NEAR(train(one, 1)[1], train(two, 1)[1], 1e-6);
}

TEST(device_predictor_copies_weights_to_the_device) {
  const OtherDevice device;
  const GraphDescription d = perceptron(false);
  const ParameterStore store(d.parameters, 3);
  Predictor predictor(store, d, 1, 8, device);
  CHECK(device.copies[static_cast<size_t>(CopyKind::kToDevice)] == 1);
  CHECK(predictor.profile().device == "other:0");
  std::vector<float> got(6);
  Predictor::Session session(predictor);
  session.run(2, {kX.data()}, {got.data()});
  const Evaluation want = evaluate(d, 2, {kX.data()}, {false, 3, 1}, cpu_backend());
  const Evaluation other = evaluate(d, 2, {kX.data()}, {false, 3, 1}, device);
  for (size_t i = 0; i < got.size(); ++i) {
    CHECK_NEAR(got[i], floats(want.outputs[0])[i], 1e-6);
    CHECK_NEAR(floats(other.outputs[0])[i], floats(want.outputs[0])[i], 1e-6);
  }
}

/// Rows through a product of each mode, whose weights are bytes, and a bias of floats.
GraphDescription quantized_rows() {
  const auto by = [](QuantizationMode mode, int32_t index, std::vector<float> scales) {
    auto made = std::make_shared<Quantization>();
    made->mode = mode;
    made->index = index;
    made->scale = 0.03F;
    made->zero = 100;
    made->weight_scales = std::move(scales);
    made->weight_is_bytes = true;
    return made;
  };
  GraphDescription d;
  d.inputs = {{"x", {-1, 5}, DType::kFloat32}};
  d.parameters = {{"w", {3, 5}, false, {}, true},
                  {"v", {4, 3}, false, {}, true},
                  {"b", {4}, true, {}, false},
                  {"u", {2, 4}, false, {}, true}};
  d.nodes = {
      {"linear", {0, 1}, {}, by(QuantizationMode::kStatic, 0, {0.01F, 0.3F, 0.07F})},
      {"relu", {5}, {}, nullptr},
      {"linear", {6, 2, 3}, {}, by(QuantizationMode::kDynamic, 2, {1e-3F, 3e-4F, 2e-3F, 7e-4F})},
      {"tanh", {7}, {}, nullptr},
      {"linear", {8, 4}, {}, by(QuantizationMode::kWeights, 4, {0.011F, 0.013F})}};
  d.outputs = {9};
  return d;
}

/// Parameters of a description in memory of the host: bytes from -127 to 127, and floats.
HostParameters some_parameters(const GraphDescription& d) {
  const ParameterLayout layout = make_layout(d.parameters);
  HostParameters made{cpu_backend().allocate(layout.bytes), layout, nullptr};
  for (size_t p = 0; p < d.parameters.size(); ++p) {
    std::byte* const at = made.memory.data.get() + layout.offsets[p];
    const Tensor tensor = stored_tensor(d.parameters[p]);
    for (int64_t i = 0; i < tensor.numel; ++i) {
      const auto number = static_cast<int8_t>((i * 89 + static_cast<int64_t>(p) * 31) % 255 - 127);
      const float value = 0.01F * static_cast<float>(number);
      if (d.parameters[p].is_bytes)
        std::memcpy(at + i, &number, 1);
      else
        std::memcpy(at + i * 4, &value, 4);
    }
  }
  return made;
}

TEST(device_predictor_of_bytes_gives_what_the_cpu_gives) {
  const OtherDevice device;
  const GraphDescription d = quantized_rows();
  Predictor there(some_parameters(d), {d, d}, 1, 8, device);
  Predictor here(some_parameters(d), {d, d}, 1, 8, cpu_backend());
  CHECK(device.copies[static_cast<size_t>(CopyKind::kToDevice)] == 1);
  CHECK(there.profile().memory.parameters == here.profile().memory.parameters);
  for (const size_t which : {size_t{0}, size_t{1}}) {
    std::vector<float> got(4);
    std::vector<float> want(4);
    Predictor::Session(there, which).run(2, {kX.data()}, {got.data()});
    Predictor::Session(here, which).run(2, {kX.data()}, {want.data()});
    CHECK(got == want);
    CHECK(want[0] != want[1] && want[0] != want[2]);
  }
}

TEST(device_without_a_kernel_is_refused_by_name) {
  OtherDevice device;
  device.missing = Op::mseGrad;
  const GraphDescription d = perceptron(true);
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  std::string message;
  try {
    const Trainer trainer(store, d, adam_options(), device);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kDevice);
    message = error.message();
  }
  CHECK(message.find("mseGrad") != std::string::npos);
  CHECK(message.find("other:0") != std::string::npos);
  device.missing = Op::fusedMatmul;
  const GraphDescription forward = perceptron(false);
  CHECK_THROWS(Predictor(*store, forward, 1, 8, device));
  CHECK_THROWS(evaluate(forward, 2, {kX.data()}, {false, 3, 1}, device));
}

TEST(device_that_rounds_factors_itself_is_told_to) {
  OtherDevice device;
  Graph graph = instantiate(perceptron(true), 2, true);
  const size_t nodes = graph.nodes.size();
  device.missing = Op::roundToFloat16;
  use_precision(graph, Precision::kFp16Mixed, device);
  CHECK(graph.nodes.size() == nodes);
  for (Node& node : graph.nodes) {
    const OpInfo& op = info(node.op);
    CHECK((op.fp16 != nullptr) == (node.op == Op::linear));
    if (op.fp16 != nullptr) CHECK(op.fp16(node.attributes));
  }
}

TEST(device_without_memory_for_a_batch_goes_on_with_smaller_ones) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  const std::vector<float> x(5000, 0.5F);
  const std::vector<float> t(3000, 0.25F);
  for (const bool accumulates : {false, true}) {
    TrainerOptions options = adam_options();
    options.accumulates = accumulates;
    Trainer trainer(std::make_shared<ParameterStore>(d.parameters, 3), d, options, device);
    Trainer whole(std::make_shared<ParameterStore>(d.parameters, 3), d, options, device);
    double results[3];
    double expected[3];
    trainer.train(2, {x.data(), t.data()}, 1e-2, results);
    whole.train(2, {x.data(), t.data()}, 1e-2, expected);
    device.most = 4096;
    CHECK_THROWS(trainer.train(1000, {x.data(), t.data()}, 1e-2, results));
    for (const int64_t rows : {2, 1}) {
      trainer.train(rows, {x.data(), t.data()}, 1e-2, results);
      whole.train(rows, {x.data(), t.data()}, 1e-2, expected);
      CHECK(results[0] == expected[0] && results[1] == expected[1]);
    }
    device.most = int64_t{1} << 40;
  }
  const ParameterStore store(perceptron(false).parameters, 3);
  Predictor predictor(store, perceptron(false), 1, 2000, device);
  Predictor::Session session(predictor);
  std::vector<float> first(6);
  std::vector<float> again(6000);
  session.run(2, {x.data()}, {first.data()});
  device.most = 4096;
  CHECK_THROWS(session.run(1000, {x.data()}, {again.data()}));
  session.run(2, {x.data()}, {again.data()});
  CHECK(std::equal(first.begin(), first.end(), again.begin()));
}

TEST(memory_limit_of_a_trainer_refuses_what_does_not_fit) {
  const OtherDevice device;
  const GraphDescription d = perceptron(true);
  const std::vector<float> x(5000, 0.5F);
  const std::vector<float> t(3000, 0.25F);
  for (const Backend* backend : {static_cast<const Backend*>(&device), &cpu_backend()}) {
    for (const bool accumulates : {false, true}) {
      const auto store = [&] { return std::make_shared<ParameterStore>(d.parameters, 3); };
      TrainerOptions options = adam_options();
      options.threads = 1;
      options.accumulates = accumulates;
      Trainer free(store(), d, options, *backend);
      double expected[3];
      free.train(8, {x.data(), t.data()}, 1e-2, expected);
      const int64_t needed = free.profile().memory.total();
      options.memory_limit = needed;
      Trainer limited(store(), d, options, *backend);
      double results[3];
      std::string message;
      try {
        limited.train(1000, {x.data(), t.data()}, 1e-2, results);
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::kOutOfMemory);
        message = error.message();
      }
      CHECK(message.find(backend->name()) != std::string::npos);
      CHECK(message.find("`memoryLimit` " + std::to_string(needed) + " free") != std::string::npos);
      // the process goes on, and what just fits does
      limited.train(8, {x.data(), t.data()}, 1e-2, results);
      CHECK(results[0] == expected[0]);
      CHECK(limited.profile().memory.total() == needed);
      options.memory_limit = needed - 1;
      Trainer tight(store(), d, options, *backend);
      CHECK_THROWS(tight.train(8, {x.data(), t.data()}, 1e-2, results));
      options.memory_limit = 100;
      CHECK_THROWS(Trainer(store(), d, options, *backend));
    }
  }
}

TEST(memory_limit_of_a_predictor_refuses_what_does_not_fit) {
  const OtherDevice device;
  const GraphDescription d = perceptron(false);
  const ParameterStore store(d.parameters, 3);
  const std::vector<float> x(5000, 0.5F);
  std::vector<float> y(3000);
  for (const Backend* backend : {static_cast<const Backend*>(&device), &cpu_backend()}) {
    int64_t needed = 0;
    {
      Predictor free(store, d, 1, 1000, *backend);
      Predictor::Session session(free);
      session.run(8, {x.data()}, {y.data()});
      needed = free.profile().memory.total();
    }
    Predictor limited(store, d, 1, 1000, *backend, Precision::kFloat32, needed);
    Predictor::Session session(limited);
    CHECK_THROWS(session.run(1000, {x.data()}, {y.data()}));
    session.run(8, {x.data()}, {y.data()});
    CHECK(limited.profile().memory.total() == needed);
    Predictor::Session other(limited);
    CHECK_THROWS(other.run(8, {x.data()}, {y.data()}));
    CHECK_THROWS(Predictor(store, d, 1, 1000, *backend, Precision::kFloat32, 100));
  }
}

namespace {

/// Says which inputs it was given as memory of the device.
class StatefulDevice final : public CpuDevice {
 public:
  class Watching final : public Executable {
   public:
    Watching(std::unique_ptr<Executable> executable, std::vector<char>& bound)
        : executable_(std::move(executable)), bound_(bound) {}
    void bind_arena(std::byte* arena) override { executable_->bind_arena(arena); }
    void bind_input(size_t index, const void* data) override { bind(index, 'i', data); }
    void bind_state(size_t index, std::byte* data) override { bind(index, 's', data); }
    void bind_output(size_t index, void* data) override { executable_->bind_output(index, data); }
    void run(StepState& state) override { executable_->run(state); }
    [[nodiscard]] std::vector<bool> plain_parameters() const override {
      return executable_->plain_parameters();
    }
    [[nodiscard]] std::vector<std::string> kernels() const override { return {}; }
    [[nodiscard]] int64_t private_bytes() const override { return 0; }
    [[nodiscard]] int64_t scratch_bytes() const override { return 0; }

   private:
    void bind(size_t index, char how, const void* data) {
      bound_.resize(std::max(bound_.size(), index + 1));
      bound_[index] = how;
      executable_->bind_input(index, data);
    }
    std::unique_ptr<Executable> executable_;
    std::vector<char>& bound_;
  };

  [[nodiscard]] const char* name() const override { return "stateful:0"; }
  [[nodiscard]] bool shares_host_memory() const override { return false; }
  [[nodiscard]] Memory allocate(int64_t bytes) const override {
    allocated.push_back(bytes);
    return CpuDevice::allocate(bytes);
  }
  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    CHECK(request.keeps_state);
    return std::make_unique<Watching>(CpuDevice::compile(request), bound);
  }

  mutable std::vector<int64_t> allocated;
  mutable std::vector<char> bound;
};

}  // namespace

TEST(device_keeps_what_a_graph_changes_from_run_to_run) {
  GraphDescription d;
  d.inputs = {{"qkv", {1, 1, 12}, DType::kFloat32},
              {"cache", {2, 5, 8}, DType::kFloat32},
              {"slot", {1, 1}, DType::kInt32},
              {"position", {1, 1}, DType::kInt32}};
  d.nodes = {{"cachedAttention", {0, 1, 2, 3}, {{"heads", 2.0}}}};
  d.outputs = {4};
  const StatefulDevice device;
  const ParameterStore store(d.parameters, 1);
  Predictor predictor(store, d, 1, 1, device);
  constexpr int64_t kBytes = 2 * 5 * 8 * 4;
  const Memory cache = predictor.allocate_state(kBytes);
  CHECK(device.allocated.back() == kBytes);
  const std::vector<float> qkv(12, 0.5F);
  const int32_t slot = 1;
  const int32_t position = 0;
  std::vector<float> y(4);
  Predictor::Session session(predictor);
  session.run(1, {qkv.data(), cache.data.get(), &slot, &position}, {y.data()});
  CHECK((device.bound == std::vector<char>{'i', 's', 'i', 'i'}));
  CHECK_NEAR(y[0], 0.5F, 1e-6);
  CHECK(floats(cache)[40] == 0.5F && floats(cache)[0] == 0.0F);
  device.bound.clear();
  Predictor::Session other(predictor);
  other.bind(1, {qkv.data(), cache.data.get(), &slot, &position}, {y.data()});
  CHECK((device.bound == std::vector<char>{'i', 's', 'i', 'i'}));
}
