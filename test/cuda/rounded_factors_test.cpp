// Factors of products that are rounded once, and by the kernels that compute them, on a GPU: steps
// and predictions against the same GPU with products that round their factors themselves, and
// results of kernels, rounded, against the same results as floats.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/precision.h"
#include "core/predictor.h"
#include "core/rounded_factors.h"
#include "core/trainer.h"
#include "parity.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::check;

namespace {

/// The GPU, asked for less.
class Gpu final : public Backend {
 public:
  Gpu(bool shares, bool merges) : shares_(shares), merges_(merges) {}
  [[nodiscard]] const char* name() const override { return gpu().name(); }
  [[nodiscard]] bool supports(Op op) const override { return gpu().supports(op); }
  [[nodiscard]] bool shares_host_memory() const override { return gpu().shares_host_memory(); }
  void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind kind) const override {
    gpu().copy(to, from, bytes, kind);
  }
  [[nodiscard]] bool updates_on_the_way() const override { return gpu().updates_on_the_way(); }
  [[nodiscard]] bool adds_in_products() const override { return gpu().adds_in_products(); }
  [[nodiscard]] int64_t factor_row() const override { return shares_ ? gpu().factor_row() : 0; }
  [[nodiscard]] bool rounds_result(const Graph& graph, const Node& node,
                                   const RoundedResult& how) const override {
    return merges_ && gpu().rounds_result(graph, node, how);
  }
  [[nodiscard]] Memory allocate(int64_t bytes) const override { return gpu().allocate(bytes); }
  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    return gpu().workspace_bytes(graph, node, frozen);
  }
  [[nodiscard]] std::unique_ptr<FrozenWeights> make_frozen_weights() const override {
    return gpu().make_frozen_weights();
  }
  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    return gpu().compile(request);
  }

 private:
  bool shares_, merges_;
};

constexpr int64_t kTime = 9;
constexpr int64_t kRows = 5;

/// Tokens through attention and a layer of two products to logits of `classes`; without biases and
/// with an activation that cuBLASLt does not know, steps are the same bits however factors are
/// rounded.
GraphDescription transformer(int64_t width, int64_t classes, bool plain, bool loss = true) {
  GraphDescription d;
  const Initializer uniform{InitializerKind::kUniform, -0.2, 0.2};
  const Initializer near_one{InitializerKind::kUniform, 0.8, 1.2};
  d.inputs = {{"x", {-1, kTime}, DType::kInt32}};
  if (loss) d.inputs.push_back({"t", {-1, kTime}, DType::kInt32});
  const auto add_parameter = [&](const char* name, const Shape& shape, const Initializer& from) {
    d.parameters.push_back({name, shape, true, from});
    return static_cast<int64_t>(d.inputs.size() + d.parameters.size()) - 1;
  };
  const int64_t table = add_parameter("table", {classes, width}, uniform);
  const int64_t scale = add_parameter("norm.weight", {width}, near_one);
  const int64_t shift = add_parameter("norm.bias", {width}, uniform);
  const int64_t qkv = add_parameter("qkv", {3 * width, width}, uniform);
  const int64_t qkv_bias = add_parameter("qkv.bias", {3 * width}, uniform);
  const int64_t out = add_parameter("out", {width, width}, uniform);
  const int64_t up = add_parameter("up", {2 * width, width}, uniform);
  const int64_t up_bias = add_parameter("up.bias", {2 * width}, uniform);
  const int64_t down = add_parameter("down", {width, 2 * width}, uniform);
  const int64_t last = add_parameter("last.weight", {width}, near_one);
  const int64_t head = add_parameter("head", {classes, width}, uniform);
  const auto add = [&](const char* op, std::vector<int64_t> inputs, AttributeList attributes = {}) {
    d.nodes.push_back({op, std::move(inputs), std::move(attributes)});
    return static_cast<int64_t>(d.inputs.size() + d.parameters.size() + d.nodes.size()) - 1;
  };
  const auto linear = [&](int64_t x, int64_t w, int64_t b) {
    return plain ? add("linear", {x, w}) : add("linear", {x, w, b});
  };
  const int64_t x = add("embedding", {0, table});
  const int64_t normal = add("layerNorm", {x, scale, shift});
  const int64_t attended =
      add("attention", {linear(normal, qkv, qkv_bias)}, {{"heads", 2.0}, {"causal", true}});
  const int64_t more = add("add", {x, add("linear", {attended, out})});
  const int64_t again = add("layerNorm", {more, scale, shift});
  const int64_t hidden = add(plain ? "silu" : "geluTanh", {linear(again, up, up_bias)});
  const int64_t sum = add("add", {more, add("linear", {hidden, down})});
  const int64_t logits = add("linear", {add("rmsNorm", {sum, last}), head});
  d.outputs = {logits};
  if (loss) {
    const int64_t count = add("countTargets", {1});
    d.outputs = {add("crossEntropy", {logits, 1, -1, -1, count})};
  }
  return d;
}

std::vector<int32_t> tokens(int64_t count, int32_t classes, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<int32_t> all;
  for (int64_t i = 0; i < count; ++i)
    all.push_back(static_cast<int32_t>(engine() % static_cast<uint32_t>(classes)));
  return all;
}

struct Trained {
  std::vector<float> parameters;
  std::vector<double> losses;
};

Trained train(const GraphDescription& d, const TrainerOptions& options, const Backend& backend,
              int32_t classes, int steps = 4, double rate = 0.01) {
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  Trainer trainer(store, d, options, backend);
  const std::vector<int32_t> x = tokens(kRows * kTime, classes, 1);
  const std::vector<int32_t> t = tokens(kRows * kTime, classes, 2);
  Trained trained;
  for (int i = 0; i < steps; ++i) {
    double results[1 + Trainer::kStepResults];
    if (options.accumulates) {
      trainer.train(2, {x.data(), t.data()}, rate, results, {1.0, true, false});
      trainer.train(kRows, {x.data(), t.data()}, rate, results, {0.5, false, true});
    } else {
      trainer.train(kRows, {x.data(), t.data()}, rate, results);
    }
    trained.losses.push_back(results[0]);
  }
  double loss = 0;
  trainer.evaluate(kRows, {x.data(), t.data()}, &loss);
  trained.losses.push_back(loss);
  trainer.sync();
  trained.parameters = floats(store->memory());
  return trained;
}

TrainerOptions adam(Precision precision) {
  TrainerOptions options = adam_options();
  options.precision = precision;
  return options;
}

double far(const std::vector<float>& a, const std::vector<float>& b) {
  return distance(a.data(), b.data(), static_cast<int64_t>(b.size()));
}

constexpr Precision kMixed[] = {Precision::kBf16Mixed, Precision::kFp16Mixed};

}  // namespace

TEST(gpu_rounds_factors_once_to_the_same_bits) {
  for (const Precision precision : kMixed) {
    for (const int64_t classes : {int64_t{64}, int64_t{51}}) {
      for (const bool accumulates : {false, true}) {
        TrainerOptions options = adam(precision);
        options.accumulates = accumulates;
        options.max_gradient_norm = 0.5;
        const GraphDescription d = transformer(48, classes, true);
        const auto trained = [&](bool shares, bool merges) {
          return train(d, options, Gpu(shares, merges), static_cast<int32_t>(classes));
        };
        const Trained want = trained(false, false);
        for (const bool merges : {false, true}) {
          const Trained got = trained(true, merges);
          CHECK(got.losses == want.losses);
          CHECK(std::memcmp(got.parameters.data(), want.parameters.data(),
                            want.parameters.size() * 4) == 0);
        }
      }
    }
  }
}

TEST(gpu_rounds_factors_once_with_epilogues) {
  for (const Precision precision : kMixed) {
    for (const int64_t width : {48, 36}) {
      const GraphDescription d = transformer(width, 77, false);
      // adam would move parameters whose gradient is zero but for rounding, such as biases of keys
      const TrainerOptions options = sgd_options(precision);
      constexpr double kRate = 0.5;
      const Trained start = train(d, options, gpu(), 77, 3, 0.0);
      const Trained want = train(d, options, Gpu(false, false), 77, 3, kRate);
      const Trained got = train(d, options, gpu(), 77, 3, kRate);
      const double moved = far(want.parameters, start.parameters);
      const double apart = far(got.parameters, want.parameters);
      if (!(apart < 1e-2 * moved)) std::printf("  %g, moved %g\n", apart, moved);
      CHECK(apart < 1e-2 * moved);
      for (size_t i = 0; i < want.losses.size(); ++i)
        CHECK_NEAR(got.losses[i], want.losses[i], 1e-3);
      const Trained same = train(d, options, gpu(), 77, 3, kRate);
      CHECK(same.parameters == got.parameters);
    }
  }
}

TEST(gpu_rounds_factors_once_and_predicts) {
  const GraphDescription d = transformer(48, 51, false, false);
  const ParameterStore store(d.parameters, 4);
  const std::vector<int32_t> x = tokens(kRows * kTime, 51, 5);
  for (const Precision precision : kMixed) {
    const auto predicted = [&](const Backend& backend) {
      Predictor predictor(store, d, 0, 4, backend, precision);
      Predictor::Session session(predictor);
      std::vector<float> logits(static_cast<size_t>(kRows * kTime * 51));
      session.run(kRows, {x.data()}, {logits.data()});
      return logits;
    };
    CHECK(far(predicted(gpu()), predicted(Gpu(false, false))) < 1e-4);
    CHECK(far(predicted(gpu()), predicted(cpu_backend())) < 1e-2);
  }
}

/// Logits whose rows have padding, products in parts, sums of columns of 16 bits, and rows of the
/// loss in shared memory; and logits without padding, which are an output, too.
TEST(gpu_trains_and_predicts_classes_of_any_number) {
  constexpr int64_t kMany = 600;
  constexpr int64_t kClasses = 10007;
  constexpr int64_t kWidth = 256;
  constexpr int64_t kHidden = 250;  // so that sums of its columns meet padding
  GraphDescription d;
  const Initializer uniform{InitializerKind::kUniform, -0.1, 0.1};
  d.inputs = {{"x", {-1, kWidth}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  d.parameters = {{"w", {kHidden, kWidth}, true, uniform},
                  {"b", {kHidden}, true, uniform},
                  {"head", {kClasses, kHidden}, true, uniform}};
  const std::vector<int64_t> offsets = make_layout(d.parameters).offsets;
  d.nodes = {{"linear", {0, 2, 3}, {}},
             {"silu", {5}, {}},
             {"linear", {6, 4}, {}},
             {"countTargets", {1}, {}},
             {"crossEntropy", {7, 1, -1, -1, 8}, {}}};
  std::vector<float> x(static_cast<size_t>(kMany * kWidth));
  std::mt19937 engine(6);
  for (float& value : x) value = static_cast<float>(engine() >> 8) * 0x1p-23F - 1.0F;
  const std::vector<int32_t> t = tokens(kMany, kClasses, 7);
  for (const Precision precision : kMixed) {
    const auto trained = [&](const Backend& backend, double rate) {
      d.outputs = {9};
      auto store = std::make_shared<ParameterStore>(d.parameters, 3);
      Trainer trainer(store, d, sgd_options(precision), backend);
      double results[1 + Trainer::kStepResults];
      for (int i = 0; i < 3; ++i) trainer.train(kMany, {x.data(), t.data()}, rate, results);
      trainer.sync();
      return floats(store->memory());
    };
    const std::vector<float> start = trained(cpu_backend(), 0.0);
    const std::vector<float> want = trained(cpu_backend(), 4.0);
    const std::vector<float> got = trained(gpu(), 4.0);
    for (size_t i = 0; i < offsets.size(); ++i) {  // they move by amounts of their own
      const auto begin = static_cast<size_t>(offsets[i]) / sizeof(float);
      int64_t count = 1;
      for (const int64_t size : d.parameters[i].shape) count *= size;
      const double moved = distance(want.data() + begin, start.data() + begin, count);
      const double apart = distance(got.data() + begin, want.data() + begin, count);
      if (!(apart < 1e-2 * moved))
        std::printf("  %s: %g of %g\n", d.parameters[i].name.c_str(), apart, moved);
      CHECK(apart < 1e-2 * moved);
    }
    CHECK(trained(gpu(), 4.0) == got);
    const auto predicted = [&](const Backend& backend) {
      d.outputs = {7};
      const ParameterStore store(d.parameters, 4);
      Predictor predictor(store, d, 0, 4, backend, precision);
      Predictor::Session session(predictor);
      std::vector<float> logits(static_cast<size_t>(kMany * kClasses));
      session.run(kMany, {x.data(), t.data()}, {logits.data()});
      return logits;
    };
    CHECK(far(predicted(gpu()), predicted(cpu_backend())) < 4e-3);
  }
}

TEST(gpu_kernels_round_their_results) {
  // f(x) w^T, where f rounds, for rows with and without padding, and y beside it or not; and maps
  // behind a product and before none, so that a kernel of its own computes the derivative, which
  // rounds it for the gradients of that product: alone, and beside the floats that a sum reads
  struct Form {
    const char* name;
    std::vector<NodeDescription> nodes;  // of x: value 0
    bool square = false;                 // with the weights of another product: value 2
  };
  const std::vector<Form> forms = {
      {"map", {{"tanh", {0}, {}}}},
      {"dropout", {{"dropout", {0}, {{"rate", 0.25}, {"seed", 3.0}}}}},
      {"numbers times others", {{"geluTanh", {0}, {}}, {"mul", {2, 0}, {}}}},
      {"derivative", {{"linear", {0, 2}, {}}, {"tanh", {3}, {}}, {"mul", {4, 0}, {}}}, true},
      {"derivative of a sum",
       {{"linear", {0, 2}, {}}, {"add", {3, 0}, {}}, {"tanh", {4}, {}}, {"mul", {5, 0}, {}}},
       true},
      {"layerNorm", {{"layerNorm", {0}, {}}}},
      {"rmsNorm of a sum", {{"tanh", {0}, {}}, {"add", {0, 2}, {}}, {"rmsNorm", {3}, {}}}},
  };
  for (const Precision precision : kMixed) {
    for (const Form& form : forms) {
      for (const int64_t columns : {8, 13, 36, 1029, 1032}) {
        for (const bool beside : {false, true}) {
          Case c{std::string(form.name) + " of " + std::to_string(columns) +
                     (beside ? ", beside" : ""),
                 {{{7, columns}}, {{9, columns}}},
                 form.nodes};
          // so small that of sums of as many products not all derivatives are near zero
          if (form.square) c.feeds.push_back({{columns, columns}, -0.1, 0.1});
          const auto y = static_cast<int64_t>(c.feeds.size() + c.nodes.size()) - 1;
          c.nodes.push_back({"linear", {y, 1}, {}});
          if (beside) {
            c.nodes.push_back({"max", {y}, {{"axes", std::vector<double>{1}}, {"keepDims", true}}});
            c.nodes.push_back({"mul", {y + 1, y + 2}, {}});
          }
          c.tolerance = 4e-3;
          c.precision = precision;
          compare(c);
        }
      }
    }
  }
}
