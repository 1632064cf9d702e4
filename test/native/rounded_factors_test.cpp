// Factors of 16-bit products that are rounded once: the pass, what it saves, and whole steps of a
// device that asks for it against those of one whose products round their factors themselves.
#include "core/rounded_factors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "core/ops/round_factor.h"
#include "core/precision.h"
#include "core/predictor.h"
#include "core/profile.h"
#include "core/trainer.h"
#include "core/training_graph.h"
#include "cpu/half_rows.h"
#include "cpu_device.h"
#include "cuda/host/rounded_results.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

/// Plans as for a GPU, run on the CPU.
struct HalfDevice final : CpuDevice {
  [[nodiscard]] bool supports(Op op) const override {
    return op != Op::chain && op != Op::roundToFloat16;
  }
  [[nodiscard]] bool updates_on_the_way() const override { return false; }
  [[nodiscard]] bool adds_in_products() const override { return false; }
  [[nodiscard]] int64_t factor_row() const override { return shares ? 8 : 0; }
  [[nodiscard]] bool rounds_result(const Graph& graph, const Node& node,
                                   const RoundedResult& how) const override {
    return merges && cuda::rounds_result(graph, node, how);
  }
  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    // numbers of 16 bits cost a device with kernels for them nothing
    return runs ? CpuDevice::workspace_bytes(graph, node, frozen) : 0;
  }

  bool shares = true, merges = true, runs = true;
  HalfDevice() = default;
  HalfDevice(bool shares_factors, bool merges_rounding, bool can_run = true)
      : shares(shares_factors), merges(merges_rounding), runs(can_run) {}
};

Tensor f32(const Shape& shape) { return make_tensor(shape, DType::kFloat32); }

ValueId reshaped(Graph& graph, ValueId id, const std::vector<double>& shape) {
  return graph.apply(Op::reshape, {id}, make_attributes(Op::reshape, {{"shape", shape}}));
}

std::vector<Op> ops_of(const Graph& graph) {
  std::vector<Op> ops;
  for (const Node& node : graph.nodes) ops.push_back(node.op);
  return ops;
}

void share(Graph& graph, const Backend& backend, bool frozen = false,
           const std::vector<Pin>& pins = {}) {
  use_bf16(graph);
  share_rounded_factors(graph, pins, backend, frozen);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId id : graph.nodes[i].outputs)
      CHECK(graph.value(id).index == static_cast<int32_t>(i));
    for (const ValueId id : graph.nodes[i].inputs) {
      if (id != kNoValue && graph.value(id).kind == ValueKind::kNode)
        CHECK(graph.value(id).index < static_cast<int32_t>(i));
    }
  }
}

DType dtype_of(const Graph& graph, ValueId id) { return graph.tensor(id).dtype; }

/// Tokens -> embedding -> attention and a layer of two products, with norms and residuals -> logits
/// of classes that are no multiple of 8 -> crossEntropy.
GraphDescription transformer(int64_t time, int64_t width, int64_t classes) {
  GraphDescription d;
  d.inputs = {{"x", {-1, time}, DType::kInt32}, {"t", {-1, time}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.3, 0.3};
  const Initializer near_one{InitializerKind::kUniform, 0.8, 1.2};
  const int64_t hidden = 3 * width;
  d.parameters = {{"embedding", {classes, width}, true, uniform},      // 2
                  {"a.weight", {width}, true, near_one},               // 3
                  {"a.bias", {width}, true, uniform},                  // 4
                  {"qkv.weight", {3 * width, width}, true, uniform},   // 5
                  {"qkv.bias", {3 * width}, true, uniform},            // 6
                  {"out.weight", {width, width}, true, uniform},       // 7
                  {"out.bias", {width}, true, uniform},                // 8
                  {"b.weight", {width}, true, near_one},               // 9
                  {"b.bias", {width}, true, uniform},                  // 10
                  {"up.weight", {hidden, width}, true, uniform},       // 11
                  {"up.bias", {hidden}, true, uniform},                // 12
                  {"down.weight", {width, hidden}, true, uniform},     // 13
                  {"down.bias", {width}, true, uniform},               // 14
                  {"c.weight", {width}, true, near_one},               // 15
                  {"head.weight", {classes, width}, true, uniform}};   // 16
  d.nodes = {{"embedding", {0, 2}, {}},                                // 17
             {"layerNorm", {17, 3, 4}, {}},                            // 18
             {"linear", {18, 5, 6}, {}},                               // 19
             {"attention", {19}, {{"heads", 2.0}, {"causal", true}}},  // 20
             {"linear", {20, 7, 8}, {}},                               // 21
             {"add", {17, 21}, {}},                                    // 22
             {"layerNorm", {22, 9, 10}, {}},                           // 23
             {"linear", {23, 11, 12}, {}},                             // 24
             {"geluTanh", {24}, {}},                                   // 25
             {"linear", {25, 13, 14}, {}},                             // 26
             {"add", {22, 26}, {}},                                    // 27
             {"rmsNorm", {27, 15}, {}},                                // 28
             {"linear", {28, 16}, {}},                                 // 29
             {"countTargets", {1}, {}},                                // 30
             {"crossEntropy", {29, 1, -1, -1, 30}, {}}};               // 31
  d.outputs = {31};
  return d;
}

/// Layers whose widths are no multiples of 8, and activations that keep x, y or nothing.
GraphDescription perceptron() {
  GraphDescription d;
  d.inputs = {{"x", {-1, 13}, DType::kFloat32}, {"t", {-1, 5}, DType::kFloat32}};
  const Initializer uniform{InitializerKind::kUniform, -0.4, 0.4};
  d.parameters = {{"a.weight", {24, 13}, true, uniform}, {"a.bias", {24}, true, uniform},
                  {"b.weight", {11, 24}, true, uniform}, {"b.bias", {11}, true, uniform},
                  {"c.weight", {16, 11}, true, uniform}, {"d.weight", {5, 16}, true, uniform}};
  d.nodes = {{"linear", {0, 2, 3}, {}}, {"silu", {8}, {}},       {"linear", {9, 4, 5}, {}},
             {"relu", {10}, {}},        {"linear", {11, 6}, {}}, {"tanh", {12}, {}},
             {"mul", {13, 12}, {}},     {"linear", {14, 7}, {}}, {"mse", {15, 1}, {}}};
  d.outputs = {16};
  return d;
}

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
  const auto* now = reinterpret_cast<const float*>(store->memory().data.get());
  trained.parameters.assign(now, now + store->memory().bytes / 4);
  return trained;
}

bool same_bits(const Trained& a, const Trained& b) {
  return a.results == b.results &&
         std::memcmp(a.parameters.data(), b.parameters.data(), a.parameters.size() * 4) == 0;
}

TrainerOptions adam(Precision precision) {
  TrainerOptions options;
  options.optimizer = Op::adam;
  options.optimizer_attributes = make_attributes(Op::adam, {});
  options.precision = precision;
  return options;
}

int64_t count(const std::vector<std::string>& names, const char* name) {
  return std::count_if(names.begin(), names.end(),
                       [name](const std::string& each) { return each.rfind(name, 0) == 0; });
}

}  // namespace

TEST(half_rows_round_to_nearest_even_and_back) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    // every number of 16 bits is itself as a float
    std::vector<uint16_t> all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    std::vector<float> floats(all.size());
    std::vector<uint16_t> back(all.size());
    const Tensor whole = make_tensor({256, 256}, dtype);
    const HalfRows rows = half_rows(whole, 0, 1);
    for (int64_t row = 0; row < rows.rows; ++row) {
      void* widen[] = {all.data(), floats.data()};
      widen_rows(&rows, widen, row, {});
      void* narrow[] = {back.data(), floats.data()};
      narrow_rows(&rows, narrow, row, {});
    }
    for (size_t i = 0; i < all.size(); ++i)
      CHECK(std::isnan(floats[i]) ? std::isnan(floats[i]) && (back[i] & 0x7fff) > 0x7c00
                                  : back[i] == all[i]);
    // and others become the nearest, by two rows of 3 with padding
    const int bits = dtype == DType::kBFloat16 ? 8 : 11;
    Tensor padded = make_tensor({2, 3}, dtype);
    padded.padding = 5;
    CHECK(byte_size(padded) == 2 * 8 * 2);
    const HalfRows few = half_rows(padded, 0, 1);
    for (const float scale : {1.0F, 0x1p-20F, 1000.0F}) {
      std::vector<float> x = random_floats(6, 7, -scale, scale);
      x[1] = 1.0F + 0x1p-8F;  // a tie
      std::vector<uint16_t> y(16 + 1, 0xabcd);
      void* operands[] = {y.data(), x.data()};
      for (int64_t row = 0; row < 2; ++row) narrow_rows(&few, operands, row, {});
      CHECK(y[16] == 0xabcd);
      std::vector<float> again(6);
      void* widened[] = {y.data(), again.data()};
      for (int64_t row = 0; row < 2; ++row) widen_rows(&few, widened, row, {});
      for (size_t i = 0; i < 6; ++i) {
        int exponent = 0;
        (void)std::frexp(x[i], &exponent);
        if (dtype == DType::kFloat16) exponent = std::max(exponent, -13);
        const double step = std::ldexp(1.0, exponent - bits);
        CHECK(static_cast<double>(again[i]) ==
              std::nearbyint(static_cast<double>(x[i]) / step) * step);
      }
      for (const size_t i : {3, 4, 5, 6, 7, 11, 15}) CHECK(y[i] == 0);
    }
  }
}

TEST(factors_are_rounded_once_for_all_products) {
  Graph graph;
  const ValueId x = graph.add_input(f32({2, 4, 8}));
  const ValueId w = graph.add_parameter(f32({16, 8}));
  const ValueId b = graph.add_parameter(f32({16}));
  const ValueId rows = reshaped(graph, x, {8, 8});
  const ValueId y = graph.apply(Op::linear, {x, w, b});
  const ValueId dy = reshaped(graph, y, {8, 16});
  const AttributeStorage trans_a = make_attributes(Op::matmul, {{"transA", true}});
  const ValueId dw = graph.apply(Op::matmul, {dy, rows}, trans_a);
  const ValueId dx = graph.apply(Op::matmul, {dy, w});
  graph.outputs = {dw, dx, y};
  Graph plain = graph;
  share(plain, HalfDevice(false, false));
  CHECK(ops_of(plain) == ops_of(graph));
  share(graph, HalfDevice(true, false));
  // x in the shape of either reader, and reshapes of floats that nothing reads are gone
  CHECK((ops_of(graph) == std::vector<Op>{Op::roundFactor, Op::roundFactor, Op::linear,
                                          Op::roundFactor, Op::reshape, Op::reshape, Op::matmul,
                                          Op::matmul}));
  const Node& linear = graph.nodes[2];
  CHECK(linear.inputs[0] == graph.nodes[0].outputs[0] && linear.inputs[2] == b);
  CHECK(graph.nodes[0].inputs[0] == x && graph.nodes[1].inputs[0] == w);
  CHECK(graph.nodes[3].inputs[0] == y);
  const Node& by_rows = graph.nodes[6];
  const Node& by_columns = graph.nodes[7];
  CHECK(by_rows.inputs[0] == by_columns.inputs[0] && by_columns.inputs[1] == linear.inputs[1]);
  CHECK(shape_of(graph.tensor(by_rows.inputs[1])) == (Shape{8, 8}));
  for (const Node* node : {&linear, &by_rows, &by_columns}) {
    for (const size_t factor : {0, 1})
      CHECK(dtype_of(graph, node->inputs[factor]) == DType::kBFloat16);
  }
  CHECK(byte_size(graph.tensor(linear.inputs[0])) == 64 * 2);
  CHECK(count_flops(graph) > count_flops(plain));  // what rounding takes, and the same products
}

TEST(rows_of_rounded_factors_are_padded_for_products_of_two_matrices) {
  Graph graph;
  const ValueId x = graph.add_input(f32({3, 5, 6}));
  const ValueId w = graph.add_parameter(f32({7, 6}));
  const AttributeStorage trans_b = make_attributes(Op::matmul, {{"transB", true}});
  const ValueId scores = graph.apply(Op::matmul, {x, x}, trans_b);
  graph.outputs = {graph.apply(Op::linear, {x, w}), scores, reshaped(graph, scores, {75})};
  share(graph, HalfDevice(true, false));
  CHECK((ops_of(graph) == std::vector<Op>{Op::roundFactor, Op::matmul, Op::roundFactor,
                                          Op::roundFactor, Op::linear, Op::reshape}));
  // a batch of products has rows as they come, one copy for both factors
  const Node& batches = graph.nodes[1];
  CHECK(batches.inputs[0] == batches.inputs[1] && graph.tensor(batches.inputs[0]).padding == 0);
  const Node& linear = graph.nodes[4];
  CHECK(graph.tensor(linear.inputs[0]).padding == 2);
  CHECK(shape_of(graph.tensor(linear.inputs[0])) == (Shape{3, 5, 6}));
  CHECK(byte_size(graph.tensor(linear.inputs[0])) == 15 * 8 * 2);
  CHECK(graph.tensor(linear.inputs[1]).padding == 2);
}

TEST(padded_rows_stay_rows) {
  Graph graph;
  const ValueId x = graph.add_input(f32({4, 6}));
  const ValueId turned = reshaped(graph, x, {8, 3});
  const ValueId w = graph.add_parameter(f32({16, 3}));
  const ValueId v = graph.add_parameter(f32({16, 6}));
  graph.outputs = {graph.apply(Op::linear, {turned, w}), graph.apply(Op::linear, {x, v})};
  share(graph, HalfDevice(true, false));
  // rows of 3 and of 6 are padded differently
  CHECK((ops_of(graph) == std::vector<Op>{Op::reshape, Op::roundFactor, Op::roundFactor, Op::linear,
                                          Op::roundFactor, Op::roundFactor, Op::linear}));
  CHECK(graph.nodes[1].inputs[0] == turned && graph.tensor(graph.nodes[1].outputs[0]).padding == 5);
  CHECK(graph.nodes[4].inputs[0] == x && graph.tensor(graph.nodes[4].outputs[0]).padding == 2);
}

TEST(factors_that_products_keep) {
  Graph graph;
  const ValueId x = graph.add_input(f32({4, 8}));
  const ValueId none = graph.add_input(f32({0, 8}));
  const ValueId w = graph.add_parameter(f32({8, 8}));
  const ValueId y = graph.apply(Op::linear, {x, w});
  graph.outputs = {y, graph.apply(Op::linear, {none, w})};
  Graph frozen = graph;
  share(frozen, HalfDevice(true, false), true);
  // parameters that never change are rounded once and for all
  CHECK((ops_of(frozen) == std::vector<Op>{Op::roundFactor, Op::linear, Op::linear}));
  CHECK(frozen.nodes[1].inputs[1] == w && frozen.nodes[2].inputs[0] == none);
  // what a node changes in place is another number for the next product
  Graph changing;
  const ValueId qkv = changing.add_input(f32({1, 1, 24}));
  const ValueId cache = changing.add_input(f32({1, 4, 16}));
  const ValueId slot = changing.add_input(make_tensor({1, 1}, DType::kInt32));
  const ValueId at = changing.add_input(make_tensor({1, 1}, DType::kInt32));
  const ValueId v = changing.add_parameter(f32({8, 16}));
  const ValueId before = changing.apply(Op::linear, {cache, v});
  AttributeStorage one = make_attributes(Op::cachedAttention, {{"heads", 1.0}});
  const ValueId attended = changing.apply(Op::cachedAttention, {qkv, cache, slot, at}, one);
  changing.outputs = {before, attended, changing.apply(Op::linear, {cache, v})};
  share(changing, HalfDevice(true, false));
  CHECK((ops_of(changing) ==
         std::vector<Op>{Op::roundFactor, Op::linear, Op::cachedAttention, Op::linear}));
  CHECK(changing.nodes[1].inputs[0] == cache && changing.nodes[3].inputs[0] == cache);
  CHECK(changing.nodes[1].inputs[1] == changing.nodes[3].inputs[1]);
  // products of floats
  Graph exact;
  const ValueId a = exact.add_input(f32({4, 8}));
  exact.outputs = {exact.apply(Op::matmul, {a, exact.add_parameter(f32({8, 8}))})};
  share_rounded_factors(exact, {}, HalfDevice(true, true), false);
  CHECK(exact.nodes.size() == 1);
}

TEST(kernels_round_what_they_compute) {
  const HalfDevice device(true, true);
  Graph graph;
  const ValueId x = graph.add_input(f32({4, 6}));
  const ValueId w = graph.add_parameter(f32({8, 6}));
  const ValueId normal = graph.apply(Op::layerNorm, {x});
  const ValueId once = graph.apply(Op::linear, {normal, w});
  const ValueId summed = graph.apply(Op::add, {once, once});
  const ValueId v = graph.add_parameter(f32({8, 8}));
  const ValueId twice = graph.apply(Op::linear, {summed, v});
  const ValueId sums =
      graph.apply(Op::sum, {summed}, make_attributes(Op::sum, {{"axes", std::vector<double>{0}}}));
  graph.outputs = {twice, sums};
  Graph pinned = graph;
  share(graph, device);
  // the norm's floats are not written at all; those of the sum have a second reader
  CHECK((ops_of(graph) == std::vector<Op>{Op::layerNorm, Op::roundFactor, Op::linear, Op::add,
                                          Op::roundFactor, Op::linear, Op::sum}));
  const Node& norm = graph.nodes[0];
  CHECK(norm.outputs[0] == normal && !norm.rounds_too && norm.outputs.size() == 3);
  CHECK(dtype_of(graph, normal) == DType::kBFloat16 && graph.tensor(normal).padding == 2);
  CHECK(graph.nodes[2].inputs[0] == normal);
  const Node& add = graph.nodes[3];
  CHECK(add.rounds_too && add.outputs.size() == 2 && add.outputs[0] == summed);
  CHECK(dtype_of(graph, summed) == DType::kFloat32);
  CHECK(dtype_of(graph, add.outputs[1]) == DType::kBFloat16);
  CHECK(graph.nodes[5].inputs[0] == add.outputs[1] && graph.nodes[6].inputs[0] == summed);
  // a gradient that is stored is read by the optimizer
  share(pinned, device, false, {{normal, {Space::kGradients, 0, 0}}});
  CHECK(dtype_of(pinned, normal) == DType::kFloat32 && pinned.nodes[0].rounds_too);
}

TEST(results_in_place_have_numbers_of_one_size) {
  Graph graph;
  const ValueId x = graph.add_input(f32({1, 8}));
  const ValueId w = graph.add_parameter(f32({8, 8}));
  const ValueId y = graph.apply(Op::tanh, {graph.apply(Op::neg, {x})});
  graph.outputs = {graph.apply(Op::linear, {y, w})};
  const HalfDevice device(true, true, false);
  share(graph, device);
  CHECK(dtype_of(graph, y) == DType::kBFloat16);
  const Plan plan = make_plan(std::move(graph), make_layout({{"w", {8, 8}, true, {}}}), {}, device);
  const Place& before = plan.places[static_cast<size_t>(plan.graph.nodes[0].outputs[0])];
  const Place& after = plan.places[static_cast<size_t>(y)];
  CHECK(before.space == Space::kArena && after.space == Space::kArena);
  CHECK(before.offset != after.offset);
}

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

TEST(rounded_factors_take_less_memory) {
  // of a device whose kernels need no workspace: what values take
  const auto bytes = [](const HalfDevice& device, int64_t rows) {
    const GraphDescription d = transformer(64, 64, 500);
    auto store = std::make_shared<ParameterStore>(d.parameters, 3);
    TrainerOptions options = adam(Precision::kBf16Mixed);
    std::vector<Pin> pins;
    UpdateOptions update{};
    update.optimizer = options.optimizer;
    update.groups = {options.optimizer_attributes};
    update.group_of.assign(d.parameters.size(), 0);
    Graph graph = training_graph(d, rows, store->layout(), update, 0, device, pins);
    use_precision(graph, Precision::kBf16Mixed, device);
    share_rounded_factors(graph, pins, device, false);
    return make_plan(std::move(graph), store->layout(), std::move(pins), device).arena_bytes;
  };
  const int64_t plain = bytes(HalfDevice(false, false, false), 32);
  const int64_t shared = bytes(HalfDevice(true, false, false), 32);
  const int64_t merged = bytes(HalfDevice(true, true, false), 32);
  CHECK(static_cast<double>(shared) < 0.95 * static_cast<double>(plain));
  CHECK(static_cast<double>(merged) < 0.85 * static_cast<double>(plain));
}
