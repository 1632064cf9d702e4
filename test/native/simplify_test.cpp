// What inference computes once: equal nodes, and nodes of parameters and constants alone.
#include <cstring>

#include "check.h"
#include "core/predictor.h"
#include "core/simplify.h"

using namespace tandem;

namespace {

constexpr Initializer kAny{InitializerKind::kUniform, -1, 1};

Constant number(float value) {
  Constant constant{make_tensor({}, DType::kFloat32), std::vector<std::byte>(sizeof value)};
  std::memcpy(constant.data.data(), &value, sizeof value);
  return constant;
}

/// relu(x) * (w + w * 2) + relu(x): values 0 (x), 1 (w), 2 (the constant), 3 to 8 (nodes).
GraphDescription description() {
  GraphDescription d;
  d.inputs = {{"x", {-1, 3}, DType::kFloat32}};
  d.parameters = {{"w", {3}, true, kAny}};
  d.constants = {number(2.0F)};
  d.nodes = {{"mul", {1, 2}, {}}, {"add", {1, 3}, {}}, {"relu", {0}, {}},
             {"mul", {5, 4}, {}}, {"relu", {0}, {}},   {"add", {6, 7}, {}}};
  d.outputs = {8};
  return d;
}

void fold_one(GraphDescription& d, ParameterLayout& layout, Memory& host) {
  std::vector<GraphDescription> graphs = {d};
  fold_constants(graphs, layout, host);
  d = graphs[0];
}

TEST(equal_nodes_are_computed_once) {
  Graph graph = instantiate(description(), 2, false);
  share_equal_nodes(graph);
  CHECK(graph.nodes.size() == 5);
  CHECK(graph.nodes.back().op == Op::add);
  CHECK(graph.nodes.back().inputs[1] == graph.nodes[2].outputs[0]);
}

TEST(nodes_that_read_equal_constants_are_equal) {
  GraphDescription d = description();
  d.constants.push_back(number(2.0F));
  d.constants.push_back(number(3.0F));
  // 0 x, 1 w, 2 to 4 constants, then nodes
  d.nodes = {{"mul", {0, 2}, {}},
             {"mul", {0, 3}, {}},
             {"mul", {0, 4}, {}},
             {"add", {5, 6}, {}},
             {"add", {8, 7}, {}}};
  d.outputs = {9};
  Graph graph = instantiate(d, 2, false);
  share_equal_nodes(graph);
  CHECK(graph.nodes.size() == 4);
  CHECK(graph.nodes[2].inputs[0] == graph.nodes[2].inputs[1]);
}

TEST(nodes_with_other_attributes_or_operands_stay) {
  GraphDescription d = description();
  d.nodes[4] = {"leakyRelu", {0}, {{"alpha", 0.5}}};
  d.nodes.push_back({"leakyRelu", {0}, {{"alpha", 0.25}}});
  d.outputs.push_back(9);
  Graph graph = instantiate(d, 2, false);
  share_equal_nodes(graph);
  CHECK(graph.nodes.size() == 7);
}

TEST(nodes_of_parameters_become_parameters) {
  GraphDescription d = description();
  const ParameterStore store(d.parameters, 1);
  ParameterLayout layout = store.layout();
  Memory host = store.memory();
  fold_one(d, layout, host);
  CHECK(d.parameters.size() == 2);
  CHECK(d.nodes.size() == 4);
  CHECK(d.nodes[0].op == "relu" && d.nodes[1].op == "mul");
  // x is 0, w 1, what is folded 2, the constant 3
  CHECK(d.nodes[1].inputs[0] == 4 && d.nodes[1].inputs[1] == 2);
  CHECK(d.outputs[0] == 7);
  const auto* w = reinterpret_cast<const float*>(store.memory().data.get());
  const auto* now = reinterpret_cast<const float*>(host.data.get() + layout.offsets[0]);
  const auto* folded = reinterpret_cast<const float*>(host.data.get() + layout.offsets[1]);
  for (int i = 0; i < 3; ++i) {
    CHECK(now[i] == w[i]);
    CHECK(folded[i] == w[i] + w[i] * 2.0F);
  }
}

TEST(graphs_share_what_is_folded) {
  GraphDescription other = description();
  // the same sum, another product, and a part of the parameter
  other.nodes = {{"mul", {1, 2}, {}}, {"add", {1, 3}, {}}, {"mul", {1, 1}, {}},
                 {"mul", {0, 4}, {}}, {"add", {6, 5}, {}}, {"slice", {1}, {{"end", 2.0}}},
                 {"sum", {8}, {}},    {"add", {7, 9}, {}}};
  other.outputs = {10};
  std::vector<GraphDescription> graphs = {description(), other};
  const ParameterStore store(other.parameters, 1);
  ParameterLayout layout = store.layout();
  Memory host = store.memory();
  fold_constants(graphs, layout, host);
  for (const GraphDescription& graph : graphs) CHECK(graph.parameters.size() == 3);
  CHECK(graphs[0].nodes.size() == 4 && graphs[1].nodes.size() == 5);
  CHECK(graphs[1].nodes[2].op == "slice");
  const auto* w = reinterpret_cast<const float*>(store.memory().data.get());
  const auto* sum = reinterpret_cast<const float*>(host.data.get() + layout.offsets[1]);
  const auto* square = reinterpret_cast<const float*>(host.data.get() + layout.offsets[2]);
  for (int i = 0; i < 3; ++i) {
    CHECK(sum[i] == w[i] + w[i] * 2.0F);
    CHECK(square[i] == w[i] * w[i]);
  }
  Predictor predictor({store.memory(), store.layout(), nullptr}, {description(), other}, 1, 8,
                      cpu_backend());
  const float x[] = {1, -2, 3};
  float y[3];
  float z[3];
  Predictor::Session(predictor, 0).run(1, {x}, {y});
  Predictor::Session(predictor, 1).run(1, {x}, {z});
  for (int i = 0; i < 3; ++i) {
    const float rectified = x[i] > 0 ? x[i] : 0;
    CHECK_NEAR(y[i], rectified * (3 * w[i]) + rectified, 1e-5);
    CHECK_NEAR(z[i], x[i] * 3 * w[i] + w[i] * w[i] + w[0] + w[1], 1e-5);
  }
}

TEST(a_predictor_folds_and_computes_the_same) {
  GraphDescription d = description();
  d.outputs.push_back(4);  // what is folded, as an output
  const ParameterStore store(d.parameters, 1);
  Predictor predictor(store, d, 1, 8, cpu_backend());
  Predictor::Session session(predictor);
  const float x[] = {1, -2, 3, -4, 5, 6};
  float y[6];
  float sum[3];
  session.run(2, {x}, {y, sum});
  const auto* w = reinterpret_cast<const float*>(store.memory().data.get());
  for (int i = 0; i < 6; ++i) {
    const float rectified = x[i] > 0 ? x[i] : 0;
    CHECK_NEAR(y[i], rectified * (3 * w[i % 3]) + rectified, 1e-5);
    CHECK_NEAR(sum[i % 3], 3 * w[i % 3], 1e-5);
  }
  CHECK(predictor.profile().memory.parameters == 12);
}

TEST(results_much_larger_than_what_they_read_stay) {
  GraphDescription d;
  d.inputs = {{"x", {-1, 300, 300}, DType::kFloat32}};
  d.parameters = {{"a", {300, 1}, true, kAny}, {"b", {1, 300}, true, kAny}};
  d.nodes = {{"mul", {1, 2}, {}}, {"add", {0, 3}, {}}};
  d.outputs = {4};
  const ParameterStore store(d.parameters, 1);
  ParameterLayout layout = store.layout();
  Memory host = store.memory();
  fold_one(d, layout, host);
  CHECK(d.nodes.size() == 2 && d.parameters.size() == 2);
}

}  // namespace
