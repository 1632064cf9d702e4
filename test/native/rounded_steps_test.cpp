// Steps, predictions and gradients of a device whose factors are rounded once, against one whose
// products round their factors themselves: the same bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "core/evaluate.h"
#include "core/ops/matmul.h"
#include "core/predictor.h"
#include "core/trainer.h"
#include "half_device.h"
#include "half_models.h"
#include "node_runner.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

struct Trained {
  std::vector<float> parameters;
  std::vector<double> results;
  std::vector<std::string> kernels;
};

Trained train(const GraphDescription& d, const TrainerOptions& options, const Backend& backend,
              int64_t rows, int steps = 4) {
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, options, backend);
  std::vector<std::vector<float>> feeds;
  std::vector<const void*> inputs;
  for (const InputDescription& input : d.inputs) {
    int64_t count = rows;
    for (size_t i = 1; i < input.shape.size(); ++i) count *= input.shape[i];
    feeds.push_back(random_floats(count, static_cast<uint32_t>(feeds.size()) + 1));
    if (input.dtype == DType::kInt32) {
      for (float& x : feeds.back()) {
        const auto number = static_cast<int32_t>(std::floor((x + 1) * 10));
        std::memcpy(&x, &number, sizeof x);
      }
    }
    inputs.push_back(feeds.back().data());
  }
  Trained trained;
  for (int i = 0; i < steps; ++i) {
    double results[1 + Trainer::kStepResults];
    if (options.accumulates) {
      trainer.train(rows, inputs, 0.05, results, {1.0, true, false});
      trainer.train(rows, inputs, 0.05, results, {0.5, false, true});
    } else {
      trainer.train(rows, inputs, 0.05, results);
    }
    trained.results.insert(trained.results.end(), std::begin(results), std::end(results));
  }
  double loss = 0;
  trainer.evaluate(rows, inputs, &loss);
  trained.results.push_back(loss);
  trained.kernels = trainer.profile().kernels;
  trained.parameters = floats(store->memory());
  return trained;
}

bool same_bits(const Trained& a, const Trained& b) {
  return a.results == b.results &&
         std::memcmp(a.parameters.data(), b.parameters.data(), a.parameters.size() * 4) == 0;
}

TrainerOptions adam(Precision precision) {
  TrainerOptions options = adam_options();
  options.precision = precision;
  return options;
}

/// Products of matrices and of batches, reshapes, maps, sums and norms that read each other at
/// random.
class RandomGraph {
 public:
  explicit RandomGraph(uint32_t seed) : engine_(seed) {
    // nodes are numbered behind the inputs, which are as many for each graph
    for (int i = 0; i < kInputs; ++i) {
      const int64_t rows = one_of({1, 2, 4, 6});
      const int64_t columns = one_of({3, 5, 8, 12, 16});
      const Shape shape = i % 3 == 2 ? Shape{2, rows, columns} : Shape{rows, columns};
      description.inputs.push_back({std::to_string(i), shape, DType::kFloat32});
      shapes_.push_back(shape);
    }
    for (int i = 0; i < kNodes; ++i) add_node();
    const auto last = static_cast<int64_t>(shapes_.size()) - 1;
    description.outputs = {last, last - 1, last - kNodes / 2};
  }

  GraphDescription description;

 private:
  static constexpr int kInputs = 9;
  static constexpr int kNodes = 16;

  int64_t one_of(std::initializer_list<int64_t> values) {
    return values.begin()[engine_() % values.size()];
  }
  int64_t any() { return static_cast<int64_t>(engine_() % shapes_.size()); }
  const Shape& shape(int64_t id) const { return shapes_[static_cast<size_t>(id)]; }
  void add(const char* op, std::vector<int64_t> inputs, const Shape& result,
           AttributeList attributes = {}) {
    description.nodes.push_back({op, std::move(inputs), std::move(attributes)});
    shapes_.push_back(result);
  }

  void add_node() {
    const int64_t x = any();
    switch (engine_() % 7) {
      case 0:
        return add_product(x);
      case 1:
        return add_linear(x);
      case 2: {
        const char* const maps[] = {"tanh", "relu", "geluTanh", "silu", "neg"};
        return add(maps[engine_() % 5], {x}, shape(x));
      }
      case 3: {
        const int64_t y = partner(x);
        return add(engine_() % 2 == 0 ? "add" : "mul", {x, y}, shape(x));
      }
      case 4:
        return add(engine_() % 2 == 0 ? "layerNorm" : "rmsNorm", {x}, shape(x));
      default:
        return add_reshape(x);
    }
  }
  /// Another value of the shape of `x`, or itself.
  int64_t partner(int64_t x) {
    for (int i = 0; i < 8; ++i) {
      const int64_t y = any();
      if (shape(y) == shape(x)) return y;
    }
    return x;
  }
  void add_product(int64_t x) {
    for (int i = 0; i < 40; ++i) {
      const int64_t y = i == 39 ? x : any();
      const bool trans_a = engine_() % 2 == 0;
      const bool trans_b = i == 39 ? !trans_a : engine_() % 2 == 0;
      const Shape product = ops::MatMul::product_shape(shape(x), shape(y), trans_a, trans_b);
      if (product.empty()) continue;
      add("matmul", {x, y}, product, {{"transA", trans_a}, {"transB", trans_b}});
      return add("tanh", {static_cast<int64_t>(shapes_.size()) - 1}, product);
    }
  }
  void add_linear(int64_t x) {
    for (int i = 0; i < 40; ++i) {
      const int64_t w = any();
      if (shape(w).size() != 2 || shape(w)[1] != shape(x).back()) continue;
      Shape result = shape(x);
      result.back() = shape(w)[0];
      return add("linear", {x, w}, result);
    }
    add("tanh", {x}, shape(x));
  }
  void add_reshape(int64_t x) {
    const int64_t columns = shape(x).back();
    const int64_t rows = make_tensor(shape(x), DType::kFloat32).numel / columns;
    Shape result{rows, columns};
    const auto form = engine_() % 4;
    if (form == 1) result = {1, rows, columns};
    if (form == 2 && rows % 2 == 0) result = {2, rows / 2, columns};
    if (form == 3 && columns % 2 == 0) result = {rows * 2, columns / 2};
    const std::vector<double> numbers(result.begin(), result.end());
    add("reshape", {x}, result, {{"shape", numbers}});
  }

  std::mt19937 engine_;
  std::vector<Shape> shapes_;
};

/// Outputs and gradients of all inputs.
std::vector<float> differentiate(const GraphDescription& d, const Backend& backend) {
  std::vector<std::vector<float>> feeds;
  std::vector<const void*> inputs;
  std::vector<int64_t> wrt;
  for (const InputDescription& input : d.inputs) {
    const auto number = static_cast<uint32_t>(feeds.size());
    feeds.push_back(random_floats(make_tensor(input.shape, DType::kFloat32).numel, number + 1));
    inputs.push_back(feeds.back().data());
    wrt.push_back(number);
  }
  const EvaluateOptions options{true, 7, 1, Precision::kBf16Mixed};
  std::vector<std::vector<float>> dy;
  std::vector<const float*> cotangents;
  const std::vector<Tensor> outputs = evaluate(d, 1, inputs, options, cpu_backend()).tensors;
  dy.reserve(outputs.size());
  for (const Tensor& tensor : outputs)
    dy.push_back(random_floats(tensor.numel, static_cast<uint32_t>(dy.size()) + 50));
  cotangents.reserve(dy.size());
  for (const std::vector<float>& each : dy) cotangents.push_back(each.data());
  const Evaluation result = vjp(d, 1, inputs, cotangents, wrt, options, backend);
  std::vector<float> all;
  for (size_t i = 0; i < result.tensors.size(); ++i) {
    const auto* now = reinterpret_cast<const float*>(result.outputs[i].data.get());
    all.insert(all.end(), now, now + result.tensors[i].numel);
  }
  return all;
}

int64_t count(const std::vector<std::string>& names, const char* name) {
  return std::count_if(names.begin(), names.end(),
                       [name](const std::string& each) { return each.rfind(name, 0) == 0; });
}

}  // namespace

TEST(rounded_factors_train_to_the_same_bits) {
  const HalfDevice apart(false, false);
  for (const int form : {0, 1, 2, 3}) {
    TrainerOptions options = adam(Precision::kBf16Mixed);
    options.accumulates = form == 1;
    options.max_gradient_norm = form == 2 ? 0.05 : 0;
    options.check_numerics = form == 2;
    options.segments = form == 3 ? 3 : 0;
    for (const GraphDescription& d : {transformer(7, 24, 21), perceptron()}) {
      const Trained want = train(d, options, apart, 3);
      for (const bool merges : {false, true}) {
        const Trained got = train(d, options, HalfDevice(true, merges), 3);
        CHECK(same_bits(got, want));
        CHECK(count(got.kernels, "roundFactor") > 0 && count(want.kernels, "roundFactor") == 0);
      }
    }
  }
}

TEST(rounded_factors_of_any_graph_give_the_same_bits) {
  int finite = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const RandomGraph graph(seed);
    const std::vector<float> want = differentiate(graph.description, HalfDevice(false, false));
    if (!std::all_of(want.begin(), want.end(), [](float x) { return std::isfinite(x); })) continue;
    ++finite;
    for (const bool merges : {false, true}) {
      const std::vector<float> got = differentiate(graph.description, HalfDevice(true, merges));
      CHECK(got.size() == want.size() &&
            std::memcmp(got.data(), want.data(), want.size() * 4) == 0);
    }
  }
  CHECK(finite > 200);
}

TEST(rounded_factors_of_float16_train_to_the_same_bits) {
  // the CPU rounds factors of float16 as floats, before products
  struct : CpuDevice {
    [[nodiscard]] bool supports(Op op) const override { return op != Op::chain; }
    [[nodiscard]] bool updates_on_the_way() const override { return false; }
    [[nodiscard]] bool adds_in_products() const override { return false; }
  } const apart;
  for (const bool accumulates : {false, true}) {
    TrainerOptions options = adam(Precision::kFp16Mixed);
    options.accumulates = accumulates;
    options.max_gradient_norm = 0.1;
    const Trained want = train(perceptron(), options, apart, 9);
    for (const bool merges : {false, true})
      CHECK(same_bits(train(perceptron(), options, HalfDevice(true, merges), 9), want));
  }
}

TEST(rounded_factors_predict_the_same_bits) {
  GraphDescription d = transformer(7, 24, 21);
  d.inputs.pop_back();
  for (NodeDescription& node : d.nodes) {
    for (int64_t& input : node.inputs) input -= input > 1 ? 1 : 0;
  }
  d.nodes.resize(13);
  d.outputs = {28};
  const ParameterStore store(d.parameters, 4);
  std::vector<int32_t> tokens;
  tokens.reserve(70);
  for (int32_t i = 0; i < 70; ++i) tokens.push_back(i * 5 % 21);
  const auto predicted = [&](const Backend& backend) {
    Predictor predictor(store, d, 1, 4, backend, Precision::kBf16Mixed);
    Predictor::Session session(predictor);
    std::vector<float> logits(static_cast<size_t>(10 * 7 * 21));
    session.run(10, {tokens.data()}, {logits.data()});
    return logits;
  };
  const std::vector<float> want = predicted(HalfDevice(false, false));
  for (const bool merges : {false, true}) CHECK(predicted(HalfDevice(true, merges)) == want);
}
