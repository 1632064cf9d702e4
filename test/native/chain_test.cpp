// Elementwise ops in one pass give the bits that they give one at a time, whatever broadcasts; and
// the pass that chains them keeps the order of everything else.
#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"
#include "core/backend.h"
#include "core/chains.h"
#include "core/ops/chain.h"
#include "core/predictor.h"
#include "cpu_device.h"
#include "node_runner.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::cpu;
using tandem::ops::Chain;
using tandem::ops::ChainStep;

namespace {

using Dims = std::vector<int64_t>;

AttributeStorage number(Op op, const char* name, double value) {
  return make_attributes(op, {{name, value}});
}

/// What a graph gives for inputs of noise, on the instruction set in use.
std::vector<std::vector<float>> run(const Graph& graph, int threads = 2) {
  const Plan plan = make_plan(graph, {}, {}, cpu_backend());
  const auto executable = cpu_backend().compile({plan, {nullptr, nullptr, nullptr}, threads});
  const Memory arena = cpu_backend().allocate(plan.arena_bytes);
  executable->bind_arena(arena.data.get());
  std::vector<std::vector<float>> inputs, outputs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Tensor& tensor = graph.tensor(graph.inputs[i]);
    inputs.push_back(random_floats(tensor.numel, static_cast<uint32_t>(i), -2.0F, 2.0F));
    if (tensor.dtype == DType::kInt32) {
      for (float& x : inputs.back()) {
        const int32_t whole = x > 0 ? 1 : 0;
        std::memcpy(&x, &whole, 4);
      }
    }
  }
  for (const ValueId id : graph.outputs)
    outputs.emplace_back(static_cast<size_t>(graph.tensor(id).numel));
  for (size_t i = 0; i < inputs.size(); ++i) executable->bind_input(i, inputs[i].data());
  for (size_t i = 0; i < outputs.size(); ++i) executable->bind_output(i, outputs[i].data());
  StepState state{};
  executable->run(state);
  return outputs;
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    // of nothing there may be no address
    if (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * 4) != 0) return false;
  }
  return true;
}

size_t count(const Graph& graph, Op op) {
  size_t n = 0;
  for (const Node& node : graph.nodes) n += node.op == op ? 1 : 0;
  return n;
}

ValueId input(Graph& graph, const Dims& dims, DType dtype = DType::kFloat32) {
  return graph.add_input(make_tensor(dims, dtype));
}

/// Shapes of an operand that broadcast to `whole`.
Dims narrowed(const Dims& whole, std::mt19937& random) {
  Dims dims = whole;
  for (int64_t& dim : dims) dim = random() % 3 == 0 ? 1 : dim;
  if (random() % 4 == 0) dims.erase(dims.begin());
  return dims;
}

/// A graph of elementwise ops, and sums that others subtract, over one shape; all that nothing
/// reads, and some that is read, is an output.
Graph random_graph(uint32_t seed, const Dims& whole) {
  constexpr Op kBinary[] = {Op::add, Op::sub, Op::mul, Op::maximum, Op::greater, Op::div};
  constexpr Op kUnary[] = {Op::relu, Op::sigmoid, Op::square, Op::neg,  Op::tanh,
                           Op::exp,  Op::clamp,   Op::scale,  Op::gelu, Op::sin};
  std::mt19937 random(seed);
  Graph graph;
  std::vector<ValueId> values;
  values.reserve(40);
  for (int i = 0; i < 3; ++i) values.push_back(input(graph, whole));
  std::vector<ValueId> narrow;
  narrow.reserve(40);
  for (int i = 0; i < 3; ++i) narrow.push_back(input(graph, narrowed(whole, random)));
  const ValueId condition = input(graph, narrowed(whole, random), DType::kInt32);
  const auto any = [&] { return values[random() % values.size()]; };
  const auto other = [&] { return random() % 3 == 0 ? narrow[random() % narrow.size()] : any(); };
  for (int i = 0; i < 24; ++i) {
    const uint32_t kind = random() % 16;
    const Op unary = kUnary[random() % std::size(kUnary)];
    if (kind == 0) {
      const ValueId mean = graph.apply(
          Op::mean, {any()},
          make_attributes(Op::mean, {{"axes", std::vector<double>{-1}}, {"keepDims", true}}));
      narrow.push_back(mean);
    } else if (kind == 1) {
      values.push_back(
          graph.apply(Op::where, {random() % 2 == 0 ? condition : any(), any(), any()}));
    } else if (kind == 2) {
      const Op op = Op::siluGrad;
      values.push_back(graph.apply(op, {any(), any()}));
    } else if (kind < 7) {
      values.push_back(graph.apply(unary, {any()}));
    } else {
      const Op op = kBinary[random() % std::size(kBinary)];
      const bool first = random() % 2 == 0;
      const ValueId a = any(), b = other();
      values.push_back(first ? graph.apply(op, {a, b}) : graph.apply(op, {b, a}));
    }
  }
  const std::vector<int> uses = graph.count_uses();
  for (const ValueId id : values) {
    if (graph.value(id).kind != ValueKind::kNode) continue;
    if (uses[static_cast<size_t>(id)] == 0 || random() % 8 == 0) graph.outputs.push_back(id);
  }
  return graph;
}

TEST(chains_give_the_bits_of_single_ops) {
  const Dims shapes[] = {{1},          {7},      {3000},      {5, 3},
                         {260, 4, 31}, {3, 700}, {2, 3, 128}, {40, 1, 513}};
  size_t chains = 0;
  for (uint32_t seed = 0; seed < 160; ++seed) {
    const Graph graph = random_graph(seed, shapes[seed % std::size(shapes)]);
    Graph chained = graph;
    fuse_chains(chained);
    chains += count(chained, Op::chain);
    CHECK(chained.nodes.size() < graph.nodes.size());
    CHECK(same_bits(run(chained), run(graph)));
    CHECK(same_bits(run(chained, 1), run(chained, 2)));
  }
  CHECK(chains > 160);
}

/// sigmoid(a * x + b) * x, with `x` whole and the others broadcasting.
Chain::Attributes gate() {
  Chain::Attributes chain{};
  chain.steps[0] = {Op::mul, {-1, -2, 0}};
  chain.steps[1] = {Op::add, {0, -3, 0}};
  chain.steps[2] = {Op::sigmoid, {1, 0, 0}};
  chain.steps[3] = {Op::mul, {2, -1, 0}};
  chain.count = 4;
  chain.outputs = 0b1001;
  return chain;
}

/// The same one op at a time.
std::vector<std::vector<float>> gate_by_ops(const Isa& isa, const Dims& whole, const Dims& a_dims,
                                            const Dims& b_dims, const std::vector<float>& x,
                                            const std::vector<float>& a,
                                            const std::vector<float>& b) {
  const auto binary = [&](Op op, const std::vector<float>& left, const Dims& dims,
                          const std::vector<float>& right) {
    NodeRunner node(op, ElementwiseAttributes{});
    node.input(whole, left).input(dims, right).output(whole);
    node.run(isa);
    return node.result();
  };
  const std::vector<float> scaled = binary(Op::mul, x, a_dims, a);
  const std::vector<float> sum = binary(Op::add, scaled, b_dims, b);
  NodeRunner sigmoid(Op::sigmoid, ElementwiseAttributes{});
  sigmoid.input(whole, sum).output(whole);
  sigmoid.run(isa);
  return {binary(Op::mul, sigmoid.result(), whole, x), scaled};
}

TEST(chain_kernels_stay_within_their_operands) {
  struct Shapes {
    Dims whole, a, b;
  };
  const Shapes cases[] = {
      {{1}, {1}, {}},        {{1031}, {1031}, {}},        {{37, 5}, {5}, {37, 1}},
      {{9, 600}, {600}, {}}, {{40, 130}, {40, 1}, {130}}, {{3, 50, 11}, {3, 1, 11}, {50, 1}},
      {{0, 4}, {4}, {}},
  };
  for (const Isa& isa : isas()) {
    for (const Shapes& c : cases) {
      const std::vector<float> x = random_floats(count_of(c.whole), 1, -3, 3);
      const std::vector<float> a = random_floats(count_of(c.a), 2),
                               b = random_floats(count_of(c.b), 3);
      const auto expected = gate_by_ops(isa, c.whole, c.a, c.b, x, a, b);
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::chain, gate());
        node.input(c.whole, x, over == 0).input(c.a, a).input(c.b, b);
        node.output(c.whole, over).output(c.whole);
        node.run(isa);
        CHECK(same_bits({node.result(0), node.result(1)}, expected));
      }
    }
  }
}

TEST(chains_leave_values_that_others_read) {
  Graph graph;
  const ValueId x = input(graph, {6, 40}), gain = input(graph, {40});
  const auto axes =
      make_attributes(Op::mean, {{"axes", std::vector<double>{-1}}, {"keepDims", true}});
  const ValueId centred = graph.apply(Op::sub, {x, graph.apply(Op::mean, {x}, axes)});
  const ValueId square = graph.apply(Op::square, {centred});
  const ValueId variance = graph.apply(Op::mean, {square}, axes);
  const ValueId factor = graph.apply(
      Op::rsqrt, {graph.apply(Op::scale, {variance}, number(Op::scale, "offset", 1e-5))});
  const ValueId normal = graph.apply(Op::mul, {centred, factor});
  graph.outputs = {graph.apply(Op::mul, {normal, gain})};
  Graph chained = graph;
  fuse_chains(chained);
  // (sub, square), (scale, rsqrt) and (mul, mul), with the means between them
  CHECK(chained.nodes.size() == 5 && count(chained, Op::chain) == 3);
  CHECK(chained.nodes[1].outputs.size() == 2);
  CHECK(kernel_name(chained.nodes[1]) == "chain(sub square)");
  CHECK(same_bits(run(chained), run(graph)));
}

TEST(what_a_chain_would_have_to_wait_for_stays_outside) {
  Graph graph;
  const ValueId x = input(graph, {4, 8});
  const ValueId a = graph.apply(Op::exp, {x});
  const ValueId total = graph.apply(
      Op::sum, {a},
      make_attributes(Op::sum, {{"axes", std::vector<double>{-1}}, {"keepDims", true}}));
  graph.outputs = {graph.apply(Op::div, {a, total})};
  Graph chained = graph;
  fuse_chains(chained);
  CHECK(count(chained, Op::chain) == 0 && chained.nodes.size() == 3);
}

TEST(where_of_integers_is_no_part_of_a_chain) {
  Graph graph;
  const ValueId x = input(graph, {5, 7}), n = input(graph, {5, 7}, DType::kInt32);
  const ValueId chosen = graph.apply(Op::where, {x, n, n});
  const ValueId y = graph.apply(Op::where, {chosen, x, graph.apply(Op::neg, {x})});
  graph.outputs = {graph.apply(Op::exp, {y})};
  Graph chained = graph;
  fuse_chains(chained);
  CHECK(count(chained, Op::where) == 1 && count(chained, Op::chain) == 1);
  CHECK(same_bits(run(chained), run(graph)));
}

/// The CPU as a device that computes no chains.
class WithoutChains final : public CpuDevice {
 public:
  [[nodiscard]] bool supports(Op op) const override {
    return op != Op::chain && CpuDevice::supports(op);
  }
};

/// A layer, a gate of primitives with batchNorm behind it, and the mean of squares of the rest.
GraphDescription gated_model(bool loss) {
  const Initializer uniform{InitializerKind::kUniform, -0.5, 0.5};
  GraphDescription d;
  d.inputs = {{"x", {-1, 19}, DType::kFloat32}, {"t", {-1, 33}, DType::kFloat32}};
  d.parameters = {{"w", {33, 19}, true, uniform}, {"gain", {33}, true, uniform},
                  {"gamma", {33}, true, uniform}, {"beta", {33}, true, uniform},
                  {"mean", {33}, false, {}},      {"variance", {33}, false, {}},
                  {"power", {33}, true, uniform}};
  // 0 x, 1 t, 2 to 8 parameters, then nodes
  d.nodes = {{"linear", {0, 2}, {}},
             {"sigmoid", {9}, {}},
             {"mul", {9, 10}, {}},
             {"mul", {11, 3}, {}},
             {"batchNorm", {12, 4, 5, 6, 7}, {}},
             {"square", {13}, {}},
             {"scale", {14}, {{"factor", 0.5}, {"offset", 1.0}}},
             {"mul", {15, 8}, {}},
             {"tanh", {16}, {}},
             {"sub", {17, 1}, {}}};
  d.outputs = {18};
  if (!loss) return d;
  d.nodes.push_back({"mse", {17, 1}, {}});
  d.outputs = {19};
  return d;
}

bool lists_a_chain(const Profile& profile) {
  return std::any_of(profile.kernels.begin(), profile.kernels.end(),
                     [](const std::string& name) { return name.rfind("chain(", 0) == 0; });
}

TEST(training_with_chains_gives_the_same_bits) {
  const WithoutChains apart;
  const auto x = random_floats(24 * 19, 1), t = random_floats(24 * 33, 2);
  for (const int segments : {0, 3}) {
    std::vector<std::vector<float>> results;
    for (const Backend* backend : {&cpu_backend(), static_cast<const Backend*>(&apart)}) {
      const GraphDescription d = gated_model(true);
      const auto store = std::make_shared<ParameterStore>(d.parameters, 3);
      TrainerOptions options = adam_options();
      options.segments = segments;
      Trainer trainer(store, d, options, *backend);
      double numbers[3];
      for (int step = 0; step < 5; ++step) trainer.train(24, {x.data(), t.data()}, 1e-2, numbers);
      CHECK(lists_a_chain(trainer.profile()) == (backend != &apart));
      results.push_back(floats(store->memory()));
    }
    CHECK(same_bits({results[0]}, {results[1]}));
  }
}

TEST(predictions_with_chains_give_the_same_bits) {
  const WithoutChains apart;
  const auto x = random_floats(50 * 19, 1), t = random_floats(50 * 33, 2);
  const GraphDescription d = gated_model(false);
  const ParameterStore store(d.parameters, 3);
  std::vector<std::vector<float>> results;
  for (const Backend* backend : {&cpu_backend(), static_cast<const Backend*>(&apart)}) {
    Predictor predictor(store, d, 2, 64, *backend);
    Predictor::Session session(predictor);
    results.emplace_back(50 * 33);
    session.run(50, {x.data(), t.data()}, {results.back().data()});
    CHECK(lists_a_chain(predictor.profile()) == (backend != &apart));
  }
  CHECK(same_bits({results[0]}, {results[1]}));
}

/// How the op answers to a program: nothing where it takes it.
std::optional<ErrorCode> refusal(const Chain::Attributes& chain, const std::vector<Dims>& inputs) {
  AttributeStorage storage = make_attributes(Op::chain, {});
  *reinterpret_cast<Chain::Attributes*>(storage.bytes.data()) = chain;
  std::vector<std::optional<Tensor>> tensors;
  tensors.reserve(inputs.size());
  for (const Dims& dims : inputs) tensors.emplace_back(make_tensor(dims, DType::kFloat32));
  try {
    infer(Op::chain, tensors, storage);
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

TEST(chains_refuse_programs_that_make_no_sense) {
  const std::vector<Dims> inputs = {{2, 3}, {3}, {}};
  const auto changed = [&](auto change) {
    Chain::Attributes chain = gate();
    change(chain);
    return refusal(chain, inputs);
  };
  CHECK(!refusal(gate(), inputs));
  CHECK(refusal({}, inputs) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.count = 11; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.count = -1; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.outputs = 1; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.outputs = 0x18; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.steps[1].operands[0] = 1; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.steps[1].operands[0] = -9; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.steps[2].op = Op::softmax; }) == ErrorCode::kArgument);
  CHECK(changed([](auto& c) { c.steps[2].op = static_cast<Op>(60000); }) == ErrorCode::kArgument);
  CHECK(refusal(gate(), {{2, 3}, {4}, {}}) == ErrorCode::kShape);
  CHECK(refusal(gate(), {{3}, {3}, {2, 3}}) == ErrorCode::kShape);
}

}  // namespace
