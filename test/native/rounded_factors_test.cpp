// Factors of 16-bit products that are rounded once: what the pass makes of graphs, and what that
// saves.
#include "core/rounded_factors.h"

#include "check.h"
#include "core/precision.h"
#include "core/profile.h"
#include "core/training_graph.h"
#include "half_device.h"
#include "half_models.h"

using namespace tandem;

namespace {

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

}  // namespace

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
    for (const size_t factor : {size_t{0}, size_t{1}})
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

TEST(sums_of_columns_read_what_products_round) {
  Graph graph;
  const ValueId x = graph.add_input(f32({4, 8}));
  const ValueId w = graph.add_parameter(f32({8, 6}));
  const ValueId dy = graph.apply(Op::neg, {graph.add_input(f32({4, 6}))});
  const AttributeStorage trans_a = make_attributes(Op::matmul, {{"transA", true}});
  const auto sum_of = [&](double axis) {
    const AttributeStorage axes = make_attributes(Op::sum, {{"axes", std::vector<double>{axis}}});
    return graph.apply(Op::sum, {dy}, axes);
  };
  const ValueId early = sum_of(0);
  const ValueId dw = graph.apply(Op::matmul, {dy, x}, trans_a);
  graph.outputs = {early, dw, sum_of(0), sum_of(1), w};
  const ValueId columns = graph.outputs[2];
  const ValueId rows = graph.outputs[3];
  share(graph, HalfDevice(true, true, false));
  const auto read_by = [&](ValueId id) { return graph.producer(id)->inputs[0]; };
  CHECK(read_by(early) == dy && read_by(rows) == dy);  // no copy is there, or it is not asked for
  CHECK(read_by(columns) == graph.producer(dw)->inputs[0]);
  CHECK(dtype_of(graph, read_by(columns)) == DType::kBFloat16);
  CHECK(graph.tensor(read_by(columns)).padding == 2);
}

TEST(logits_of_any_number_of_classes_lie_in_whole_rows) {
  constexpr int64_t kRows = 1024;
  constexpr int64_t kClasses = 1029;
  const auto logits = [&](int64_t rows, bool is_output, bool has_bias) {
    Graph graph;
    // its rounding moves into it, so that fewer nodes are left than there have been
    const ValueId x = graph.apply(Op::neg, {graph.add_input(f32({rows / 4, 4, 8}))});
    const ValueId targets = graph.add_input(make_tensor({rows}, DType::kInt32));
    std::vector<ValueId> factors{x, graph.add_parameter(f32({kClasses, 8}))};
    if (has_bias) factors.push_back(graph.add_parameter(f32({kClasses})));
    const ValueId y = graph.apply(Op::linear, factors);
    const ValueId flat = reshaped(graph, y, {static_cast<double>(rows), kClasses});
    const ValueId count = graph.apply(Op::countTargets, {targets});
    graph.outputs = {graph.apply(Op::crossEntropy, {flat, targets, kNoValue, kNoValue, count})};
    if (is_output) graph.outputs.push_back(flat);
    share(graph, HalfDevice(true, true, false));
    CHECK(graph.tensor(flat).padding == graph.tensor(y).padding);
    return graph.tensor(y);
  };
  const Tensor padded = logits(kRows, false, false);
  CHECK(padded.padding == 3 && byte_size(padded) == kRows * (kClasses + 3) * 4);
  CHECK(logits(kRows, true, false).padding == 0);
  CHECK(logits(kRows, false, true).padding == 0);
  CHECK(logits(8, false, false).padding == 0);  // too few to matter
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

TEST(rounded_factors_take_less_memory) {
  // of a device whose kernels need no workspace: what values take
  const auto bytes = [](const HalfDevice& device, int64_t rows) {
    const GraphDescription d = transformer(64, 64, 500);
    const ParameterLayout layout = make_layout(d.parameters);
    std::vector<Pin> pins;
    UpdateOptions update{};
    update.optimizer = Op::adam;
    update.groups = {make_attributes(Op::adam, {})};
    update.group_of.assign(d.parameters.size(), 0);
    Graph graph = training_graph(d, rows, layout, update, 0, device, pins);
    use_precision(graph, Precision::kBf16Mixed, device);
    share_rounded_factors(graph, pins, device, false);
    return make_plan(std::move(graph), layout, std::move(pins), device).arena_bytes;
  };
  const int64_t plain = bytes(HalfDevice(false, false, false), 32);
  const int64_t shared = bytes(HalfDevice(true, false, false), 32);
  const int64_t merged = bytes(HalfDevice(true, true, false), 32);
  CHECK(static_cast<double>(shared) < 0.95 * static_cast<double>(plain));
  CHECK(static_cast<double>(merged) < 0.85 * static_cast<double>(plain));
}
