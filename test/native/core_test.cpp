// The core without a device: shapes, op names, gradients, fusion, planning and descriptions.
#include <cstring>
#include <set>

#include "check.h"
#include "core/autodiff.h"
#include "core/fuse.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/profile.h"
#include "core/random.h"
#include "cpu_device.h"

using namespace tandem;

namespace {

Tensor f32(const Shape& shape) { return make_tensor(shape, DType::kFloat32); }

template <typename Body>
ErrorCode code_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  CHECK(!"expected an Error");
  return ErrorCode::kArgument;
}

/// input -> linear -> relu -> linear -> gelu -> linear -> crossEntropy
GraphDescription mlp(int64_t in, int64_t hidden, int64_t classes) {
  GraphDescription d;
  d.inputs = {{"x", {-1, in}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.3, 0.3};
  d.parameters = {
      {"a.weight", {hidden, in}, true, uniform},      {"a.bias", {hidden}, true, uniform},
      {"b.weight", {hidden, hidden}, true, uniform},  {"b.bias", {hidden}, true, uniform},
      {"c.weight", {classes, hidden}, true, uniform}, {"c.bias", {classes}, true, uniform}};
  d.nodes = {{"linear", {0, 2, 3}, {}},
             {"relu", {8}, {}},
             {"linear", {9, 4, 5}, {}},
             {"gelu", {10}, {}},
             {"linear", {11, 6, 7}, {}},
             {"countTargets", {1}, {}},
             {"crossEntropy", {12, 1, -1, -1, 13}, {}}};
  d.outputs = {14};
  return d;
}

/// Forward and backward, unfused; the outputs are the loss and every gradient.
Graph with_gradients(const GraphDescription& d, int64_t batch) {
  Graph graph = instantiate(d, batch, true);
  const auto gradients =
      add_gradients(graph, {{graph.outputs[0], graph.scalar(1.0F)}}, graph.parameters);
  for (const ValueId id : gradients) graph.outputs.push_back(id);
  return graph;
}

std::multiset<std::string> op_names(const Graph& graph) {
  std::multiset<std::string> names;
  for (const Node& node : graph.nodes) names.insert(name(node.op));
  return names;
}

}  // namespace

TEST(core_philox_known_answers) {
  // Random123's kat_vectors for philox4x32-10
  const Philox zero = philox(0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5U && zero.word[1] == 0xe169c58dU && zero.word[2] == 0xbc57ac4cU &&
        zero.word[3] == 0x9b00dbd8U);
  const Philox ones = philox(~0ULL, ~0ULL, ~0ULL);
  CHECK(ones.word[0] == 0x408f276dU && ones.word[1] == 0x41c83b0eU && ones.word[2] == 0xa20bc7c6U &&
        ones.word[3] == 0x6d5451fdU);
  CHECK(unit_float(0) == 0.0F && unit_float(~0U) < 1.0F);
}

TEST(core_shapes_are_checked) {
  CHECK(broadcast_shapes({2, 1, 3}, {4, 1}) == (Shape{2, 4, 3}));
  CHECK(!broadcast_shapes({2}, {3}));
  CHECK(code_of([] { (void)f32({1LL << 40, 1LL << 40}); }) == ErrorCode::kShape);
  // also where there are no elements: strides are products of the other axes
  CHECK(code_of([] { (void)f32({0, 1LL << 40, 1LL << 40}); }) == ErrorCode::kShape);
  CHECK(code_of([] { (void)f32({1LL << 40, 1LL << 40, 0}); }) == ErrorCode::kShape);
  CHECK(f32({0, 1LL << 29, 1LL << 30}).numel == 0);
  CHECK(code_of([] { (void)f32({1, 1, 1, 1, 1, 1, 1, 1, 1}); }) == ErrorCode::kShape);
  CHECK(code_of([] { (void)f32({-2}); }) == ErrorCode::kShape);
}

TEST(core_ops_have_distinct_names) {
  std::set<std::string> names;
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    CHECK(names.insert(name(op)).second);
    CHECK(find_op(name(op)) == op);
  }
  CHECK(!find_op("nonsense"));
  CHECK(grad_op(Op::relu) == Op::reluGrad && unary_of_grad(Op::reluGrad) == Op::relu &&
        !unary_of_grad(Op::add));
}

TEST(core_attributes_are_checked) {
  CHECK(code_of([] { (void)make_attributes(Op::softmax, {{"axes", 1.0}}); }) ==
        ErrorCode::kArgument);
  CHECK(code_of([] { (void)make_attributes(Op::softmax, {{"axis", 0.5}}); }) ==
        ErrorCode::kArgument);
  CHECK(code_of([] { (void)make_attributes(Op::softmax, {{"axis", true}}); }) ==
        ErrorCode::kArgument);
  CHECK(code_of([] { (void)make_attributes(Op::reshape, {}); }) == ErrorCode::kArgument);
  CHECK(code_of([] { (void)make_attributes(Op::softmax, {{"axis", 1e300}}); }) ==
        ErrorCode::kArgument);
  // numbers that float32 does not hold, also where they are kept in double
  for (const double number : {1e39, -1e39, 1e-60, -1e-60}) {
    CHECK(code_of([&] { (void)make_attributes(Op::leakyRelu, {{"alpha", number}}); }) ==
          ErrorCode::kArgument);
    CHECK(code_of([&] { (void)make_attributes(Op::adam, {{"eps", number}}); }) ==
          ErrorCode::kArgument);
  }
  for (const double number : {0.0, 3e38, 1e-45, HUGE_VAL})
    (void)make_attributes(Op::leakyRelu, {{"alpha", number}});
  Graph graph;
  const ValueId x = graph.add_input(f32({2, 3}));
  CHECK_THROWS(graph.apply(Op::dropout, {x}, make_attributes(Op::dropout, {{"rate", 1.0}})));
  CHECK_THROWS(graph.apply(Op::add, {x}));
}

TEST(core_description_is_not_trusted) {
  CHECK(code_of([] {
          GraphDescription d = mlp(4, 5, 3);
          d.nodes[0].inputs[0] = 10;  // reads a later value: a cycle
          (void)instantiate(d, 2, true);
        }) == ErrorCode::kArgument);
  CHECK(code_of([] {
          GraphDescription d = mlp(4, 5, 3);
          d.nodes[1].op = "reluGrad";  // internal
          (void)instantiate(d, 2, true);
        }) == ErrorCode::kArgument);
  CHECK(code_of([] {
          GraphDescription d = mlp(4, 5, 3);
          d.outputs = {99};
          (void)instantiate(d, 2, true);
        }) == ErrorCode::kArgument);
  CHECK(code_of([] {
          GraphDescription d = mlp(4, 5, 3);
          d.parameters[1].shape = {6};
          (void)instantiate(d, 2, true);
        }) == ErrorCode::kShape);
  CHECK(code_of([] {
          GraphDescription d = mlp(4, 5, 3);
          d.inputs[0].shape = {2, -1};
          (void)instantiate(d, 2, true);
        }) == ErrorCode::kShape);
}

TEST(core_fusion_moves_work_into_products) {
  Graph graph = with_gradients(mlp(8, 16, 5), 4);
  fuse(graph, cpu_backend());
  const auto names = op_names(graph);
  CHECK(names.count("relu") == 0 && names.count("gelu") == 0);
  CHECK(names.count("reluGrad") == 0 && names.count("geluGrad") == 0);
  CHECK(names.count("crossEntropy") == 0 && names.count("crossEntropyGrad") == 0);
  CHECK(names.count("softmaxCrossEntropy") == 1);
  CHECK(names.count("fusedMatmul") == 4);  // two forward, two backward
  CHECK(names.count("linear") == 1);
  CHECK(names.count("matmul") == 3);  // the weights' gradients
  CHECK(names.count("sum") == 3);     // the biases'
}

/// The CPU, but products add nothing: what stays an op of its own there.
struct PlainProducts final : CpuDevice {
  [[nodiscard]] bool adds_in_products() const override { return false; }
};

TEST(core_fusion_leaves_to_a_device_what_its_products_do_not_add) {
  const PlainProducts plain;
  for (const bool adds : {false, true}) {
    Graph residual;
    const ValueId x = residual.add_input(f32({4, 6}));
    const ValueId w = residual.add_parameter(f32({6, 6}));
    residual.outputs = {residual.apply(Op::add, {x, residual.apply(Op::linear, {x, w})})};
    fuse(residual, adds ? cpu_backend() : plain);
    CHECK(op_names(residual) == (adds ? std::multiset<std::string>{"fusedMatmul"}
                                      : std::multiset<std::string>{"add", "linear"}));
  }
}

TEST(core_products_take_residuals_that_no_norm_adds) {
  Graph graph;
  const ValueId x = graph.add_input(f32({4, 6}));
  const ValueId w = graph.add_parameter(f32({6, 6}));
  const ValueId scale = graph.add_parameter(f32({6}));
  const ValueId a = graph.apply(Op::add, {graph.apply(Op::linear, {x, w}), x});
  const ValueId b = graph.apply(Op::relu, {a});
  const ValueId c = graph.apply(Op::add, {b, graph.apply(Op::matmul, {b, w})});
  const ValueId wide = graph.add_input(f32({6}));
  const ValueId d = graph.apply(Op::add, {graph.apply(Op::linear, {c, w}), wide});
  const ValueId e = graph.apply(Op::add, {d, graph.apply(Op::linear, {d, w})});
  graph.outputs = {graph.apply(Op::rmsNorm, {e, scale})};
  fuse(graph, cpu_backend());
  // relu(linear + x) and matmul + b; not what is broadcast, nor what the norm adds
  CHECK((op_names(graph) == std::multiset<std::string>{"fusedMatmul", "fusedMatmul", "linear",
                                                       "add", "linear", "rmsNorm"}));
}

TEST(core_plan_keeps_a_factor_that_is_the_residual_too) {
  for (const bool own : {false, true}) {
    Graph graph;
    const ValueId x = graph.add_input(f32({40, 40}));
    const ValueId w = graph.add_parameter(f32({40, 40}));
    const ValueId h = graph.apply(Op::exp, {x});
    const ValueId r = own ? graph.apply(Op::sin, {x}) : h;
    const ValueId sum = graph.apply(Op::add, {graph.apply(Op::linear, {h, w}), r});
    graph.outputs = {graph.apply(Op::softmax, {sum})};
    fuse(graph, cpu_backend());
    ParameterLayout layout;
    layout.offsets = {0};
    const Plan plan = make_plan(graph, layout, {}, cpu_backend());
    const Node& product = *plan.graph.producer(plan.graph.nodes.back().inputs[0]);
    CHECK(product.op == Op::fusedMatmul);
    const auto place = [&](ValueId id) { return plan.places[static_cast<size_t>(id)].offset; };
    CHECK(place(product.outputs[0]) != place(h));
    CHECK((place(product.outputs[0]) == place(r)) == own);
  }
}

TEST(core_fusion_keeps_a_cotangent_that_is_not_one) {
  Graph graph = instantiate(mlp(8, 16, 5), 4, true);
  const ValueId half = graph.scalar(0.5F);
  const auto gradients = add_gradients(graph, {{graph.outputs[0], half}}, graph.parameters);
  for (const ValueId id : gradients) graph.outputs.push_back(id);
  fuse(graph, cpu_backend());
  CHECK(op_names(graph).count("crossEntropyGrad") == 1);
}

TEST(core_plan_never_overlaps_live_values) {
  for (const int64_t batch : {1, 3, 64}) {
    for (const bool fused : {false, true}) {
      Graph graph = with_gradients(mlp(7, 33, 10), batch);
      if (fused) fuse(graph, cpu_backend());
      const GraphDescription d = mlp(7, 33, 10);
      const Plan plan = make_plan(graph, make_layout(d.parameters), {}, cpu_backend());
      // what each byte range holds, replayed node by node with the graph alone
      const auto& nodes = plan.graph.nodes;
      std::vector<int> last(plan.graph.values.size(), -1);
      for (size_t i = 0; i < nodes.size(); ++i) {
        for (const ValueId id : nodes[i].inputs) {
          if (id != kNoValue) last[static_cast<size_t>(id)] = static_cast<int>(i);
        }
      }
      int in_place = 0;
      for (size_t i = 0; i < nodes.size(); ++i) {
        for (const ValueId out : nodes[i].outputs) {
          const Place& place = plan.places[static_cast<size_t>(out)];
          if (place.space != Space::kArena) continue;
          const int64_t end = place.offset + byte_size(plan.graph.tensor(out));
          CHECK(place.offset % kAlignment == 0 && end <= plan.arena_bytes);
          for (size_t j = 0; j < i; ++j) {
            for (const ValueId other : nodes[j].outputs) {
              const Place& held = plan.places[static_cast<size_t>(other)];
              if (held.space != Space::kArena ||
                  last[static_cast<size_t>(other)] < static_cast<int>(i))
                continue;
              const bool apart =
                  held.offset + byte_size(plan.graph.tensor(other)) <= place.offset ||
                  end <= held.offset;
              if (apart) continue;
              // only an operand of this very node that dies here may be overwritten
              CHECK(last[static_cast<size_t>(other)] == static_cast<int>(i) &&
                    held.offset == place.offset);
              CHECK(info(nodes[i].op).in_place != 0);
              ++in_place;
            }
          }
        }
      }
      CHECK(fused || in_place > 0);
    }
  }
}

TEST(core_plan_copies_outputs_that_have_no_memory_of_their_own) {
  Graph graph;
  const ValueId x = graph.add_input(f32({2, 3}));
  const ValueId y = graph.apply(Op::relu, {x});
  const ValueId z = graph.apply(Op::flatten, {y});
  graph.outputs = {x, y, z, y};
  const Plan plan = make_plan(graph, {}, {}, cpu_backend());
  std::set<int32_t> indices;
  for (const ValueId id : plan.graph.outputs) (void)id;
  int copies = 0;
  for (const Node& node : plan.graph.nodes) copies += node.op == Op::copy ? 1 : 0;
  CHECK(copies == 3);
}

TEST(core_inference_uses_less_memory_than_training) {
  const GraphDescription d = mlp(64, 256, 10);
  Graph training = with_gradients(d, 128);
  fuse(training, cpu_backend());
  Graph inference = instantiate(d, 128, false);
  fuse(inference, cpu_backend());
  const auto layout = make_layout(d.parameters);
  const int64_t a = make_plan(training, layout, {}, cpu_backend()).arena_bytes;
  const int64_t b = make_plan(inference, layout, {}, cpu_backend()).arena_bytes;
  CHECK(b < a);
}

TEST(core_flops_count_products) {
  const GraphDescription d = mlp(10, 20, 5);
  const double products = 2.0 * 3 * (10 * 20 + 20 * 20 + 20 * 5);
  const double counted = count_flops(instantiate(d, 3, false));
  CHECK(counted > products && counted < products * 1.2);
}

TEST(core_initializers_are_seeded_by_name) {
  std::vector<ParameterDescription> two = {
      {"w", {100, 100}, true, {InitializerKind::kNormal, 1.0, 2.0}},
      {"u", {5000}, true, {InitializerKind::kTruncatedNormal, 0.0, 1.0}}};
  const ParameterStore a(two, 7);
  std::swap(two[0], two[1]);
  const ParameterStore b(two, 7);
  const auto* wa = reinterpret_cast<const float*>(a.memory().data.get() + a.layout().offsets[0]);
  const auto* wb = reinterpret_cast<const float*>(b.memory().data.get() + b.layout().offsets[1]);
  CHECK(std::memcmp(wa, wb, 40000) == 0);
  double sum = 0;
  double square = 0;
  for (int i = 0; i < 10000; ++i) {
    sum += wa[i];
    square += wa[i] * wa[i];
  }
  CHECK_NEAR(sum / 10000, 1.0, 0.1);
  CHECK_NEAR(square / 10000, 5.0, 0.1);
  const auto* u = reinterpret_cast<const float*>(a.memory().data.get() + a.layout().offsets[1]);
  for (int i = 0; i < 5000; ++i) CHECK(u[i] >= -2.0F && u[i] <= 2.0F);
  const ParameterStore c(two, 8);
  CHECK(std::memcmp(wb, c.memory().data.get() + c.layout().offsets[1], 400) != 0);
}
