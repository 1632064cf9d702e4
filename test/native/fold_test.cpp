// Batch norms that become part of the weights before them, against double precision.
#include <cmath>

#include "check.h"
#include "core/fold.h"
#include "core/predictor.h"

using namespace tandem;

namespace {

constexpr int64_t kIn = 5;
constexpr Initializer kAny{InitializerKind::kUniform, -1, 1};
constexpr Initializer kPositive{InitializerKind::kUniform, 0.2, 3};

void add_norm_parameters(GraphDescription& d, const std::string& name, int64_t channels) {
  for (const char* of : {".weight", ".bias", ".mean"})
    d.parameters.push_back({name + of, {channels}, true, kAny});
  d.parameters.push_back({name + ".variance", {channels}, false, kPositive});
}

/// x w^T behind two norms: values 0 (x), 1 (w), 2 to 5 and 6 to 9 (norms), 10 to 12 (nodes).
GraphDescription two_norms(int64_t channels) {
  GraphDescription d;
  d.inputs = {{"x", {-1, kIn}, DType::kFloat32}};
  d.parameters = {{"w", {channels, kIn}, true, kAny}};
  add_norm_parameters(d, "one", channels);
  add_norm_parameters(d, "two", channels);
  d.nodes = {{"linear", {0, 1}, {}},
             {"batchNorm", {10, 2, 3, 4, 5}, {}},
             {"batchNorm", {11, 6, 7, 8, 9}, {}}};
  d.outputs = {12};
  return d;
}

float* numbers(const ParameterStore& store, const Memory& memory, int64_t value) {
  const auto offset = store.layout().offsets[static_cast<size_t>(value - 1)];
  return reinterpret_cast<float*>(memory.data.get() + offset);
}

Memory copy_of(const ParameterStore& store) {
  Memory copy = cpu_backend().allocate(store.layout().bytes);
  cpu_backend().copy(copy.data.get(), store.memory().data.get(), store.layout().bytes,
                     CopyKind::kWithinDevice);
  return copy;
}

void fold_one(GraphDescription& d, const ParameterStore& store, const Memory& memory) {
  std::vector<GraphDescription> graphs = {d};
  fold_norms(graphs, store.layout(), memory.data.get());
  d = graphs[0];
}

/// Whether Predictor refuses `d` with ERR_ARGUMENT.
bool is_refused(const GraphDescription& d) {
  const ParameterStore store(d.parameters, 1);
  try {
    const Predictor predictor(store, d, 1, 4, cpu_backend());
  } catch (const Error& error) {
    return error.code() == ErrorCode::kArgument;
  }
  return false;
}

}  // namespace

TEST(fold_norms_one_after_the_other) {
  constexpr int64_t kChannels = 3;
  GraphDescription d = two_norms(kChannels);
  const ParameterStore store(d.parameters, 7);
  const Memory memory = copy_of(store);
  fold_one(d, store, memory);
  CHECK(d.nodes.size() == 1);
  CHECK(d.nodes[0].op == "linear");
  CHECK(d.nodes[0].inputs == (std::vector<int64_t>{0, 1, 3}));
  CHECK(d.outputs == std::vector<int64_t>{10});
  const auto was = [&](int64_t value, int64_t i) {
    return static_cast<double>(numbers(store, store.memory(), value)[i]);
  };
  for (int64_t c = 0; c < kChannels; ++c) {
    const double one = was(2, c) / std::sqrt(was(5, c) + 1e-5);
    const double two = was(6, c) / std::sqrt(was(9, c) + 1e-5);
    const double bias = (was(3, c) - was(4, c) * one - was(8, c)) * two + was(7, c);
    CHECK_NEAR(numbers(store, memory, 3)[c], bias, 1e-6);
    for (int64_t i = c * kIn; i < (c + 1) * kIn; ++i)
      CHECK_NEAR(numbers(store, memory, 1)[i], was(1, i) * one * two, 1e-6);
  }
}

TEST(fold_norms_leaves_what_others_read) {
  const GraphDescription whole = two_norms(3);
  const ParameterStore store(whole.parameters, 7);
  for (const int64_t other : {1, 3, 10}) {  // the weight, the bias to be, the product
    GraphDescription d = whole;
    d.outputs.push_back(other);
    const Memory memory = copy_of(store);
    fold_one(d, store, memory);
    CHECK(d.nodes.size() == 3);
    CHECK(std::memcmp(memory.data.get(), store.memory().data.get(),
                      static_cast<size_t>(store.layout().bytes)) == 0);
  }
}

TEST(fold_norms_of_all_graphs_or_of_none) {
  const GraphDescription whole = two_norms(3);
  const ParameterStore store(whole.parameters, 7);
  const Memory alone = copy_of(store), shared = copy_of(store), kept = copy_of(store);
  GraphDescription d = whole;
  fold_one(d, store, alone);
  std::vector<GraphDescription> graphs = {whole, whole, whole};
  fold_norms(graphs, store.layout(), shared.data.get());
  const auto size = static_cast<size_t>(store.layout().bytes);
  CHECK(std::memcmp(alone.data.get(), shared.data.get(), size) == 0);
  for (const GraphDescription& graph : graphs) CHECK(graph.nodes.size() == 1);
  // the second one reads what the first norm gives, and so needs it
  graphs = {whole, whole, whole};
  graphs[1].outputs.push_back(10);
  fold_norms(graphs, store.layout(), kept.data.get());
  for (const GraphDescription& graph : graphs) CHECK(graph.nodes.size() == 3);
  CHECK(std::memcmp(kept.data.get(), store.memory().data.get(), size) == 0);
  // the second norm alone cannot go
  graphs = {whole, whole};
  graphs[1].outputs.push_back(11);
  fold_norms(graphs, store.layout(), kept.data.get());
  for (const GraphDescription& graph : graphs) CHECK(graph.nodes.size() == 2);
  CHECK(graphs[0].nodes[1].op == "batchNorm" && graphs[1].nodes[1].op == "batchNorm");
  CHECK(graphs[0].nodes[1].inputs == (std::vector<int64_t>{10, 6, 7, 8, 9}));
}

TEST(fold_norms_without_channels) {
  GraphDescription d = two_norms(0);
  const ParameterStore store(d.parameters, 7);
  const Memory memory = copy_of(store);
  fold_one(d, store, memory);
  CHECK(d.nodes.size() == 3);
}

TEST(fold_norms_checks_the_graph_first) {
  CHECK(!is_refused(two_norms(3)));
  for (const int64_t number : {-2, 11, 13, 1 << 30}) {
    GraphDescription d = two_norms(3);
    d.nodes[1].inputs[0] = number;
    CHECK(is_refused(d));
    d = two_norms(3);
    d.nodes[0].inputs[1] = number;
    CHECK(is_refused(d));
    d = two_norms(3);
    d.outputs[0] = number == 11 ? -1 : number;
    CHECK(is_refused(d));
  }
  GraphDescription d = two_norms(3);
  d.nodes[2].op = "noSuchOp";
  CHECK(is_refused(d));
}
