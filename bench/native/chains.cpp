// Chains of elementwise ops in one pass, beside the same ops one at a time. Bytes are those that a
// chain reads and writes at least, so that the sides compare as times do.
#include <functional>

#include "core/chains.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Chained {
  const char* name;
  Traffic traffic;  // operands of the whole shape
  std::function<Graph(const Shape& shape)> graph;
};

ValueId whole(Graph& graph, const Shape& shape) {
  return graph.add_input(make_tensor(shape, DType::kFloat32));
}

/// z * sigmoid(z) * v: a gated unit in three ops.
Graph gated(const Shape& shape) {
  Graph graph;
  const ValueId z = whole(graph, shape), v = whole(graph, shape);
  const ValueId gate = graph.apply(Op::mul, {z, graph.apply(Op::sigmoid, {z})});
  graph.outputs = {graph.apply(Op::mul, {gate, v})};
  return graph;
}

/// (x - mean) * factor * gain + bias, as a normalisation of rows ends.
Graph normalised(const Shape& shape) {
  Graph graph;
  const ValueId x = whole(graph, shape);
  const ValueId mean = whole(graph, {shape[0], 1}), factor = whole(graph, {shape[0], 1});
  const ValueId gain = whole(graph, {shape[1]}), bias = whole(graph, {shape[1]});
  const ValueId centred = graph.apply(Op::sub, {x, mean});
  const ValueId scaled = graph.apply(Op::mul, {graph.apply(Op::mul, {centred, factor}), gain});
  graph.outputs = {graph.apply(Op::add, {scaled, bias})};
  return graph;
}

/// x / 2 * (1 + tanh(0.797 * (x + 0.0447 * x^3))): GELU as papers write it.
Graph gelu_of_primitives(const Shape& shape) {
  Graph graph;
  const auto scaled = [&](ValueId of, double factor, double offset) {
    return graph.apply(Op::scale, {of},
                       make_attributes(Op::scale, {{"factor", factor}, {"offset", offset}}));
  };
  const ValueId x = whole(graph, shape);
  const ValueId cube = graph.apply(Op::mul, {graph.apply(Op::square, {x}), x});
  const ValueId inner = graph.apply(Op::add, {x, scaled(cube, 0.044715, 0)});
  const ValueId curve = graph.apply(Op::tanh, {scaled(inner, 0.7978845608, 0)});
  graph.outputs = {graph.apply(Op::mul, {scaled(x, 0.5, 0), scaled(curve, 1, 1)})};
  return graph;
}

}  // namespace

void run_chains(const Suite& suite) {
  constexpr int64_t kColumns = 512;
  const CacheSizes sizes = working_sets();
  const Chained all[] = {{"gated unit", {2, 1, false}, gated},
                         {"normalised rows", {1, 1, false}, normalised},
                         {"GELU of primitives", {1, 1, false}, gelu_of_primitives}};
  for (const Chained& entry : all) {
    const int streams = entry.traffic.reads + entry.traffic.writes;
    for (const int threads : suite.options().threads) {
      const auto measure = [&](const char* place, int64_t bytes) {
        const Case c{"chain", std::string(entry.name) + ", " + place, "f32", threads, "GB/s"};
        if (!suite.wants(c)) return;
        const int64_t rows = bytes / streams / 4 / kColumns;
        const Graph graph = entry.graph({rows, kColumns});
        const auto moved = static_cast<double>(rows * kColumns * streams * 4);
        Graph chained = graph;
        fuse_chains(chained);
        Side apart = our_program(graph, moved, threads);
        apart.name = "op by op";
        Side ours = our_program(std::move(chained), moved, threads);
        suite.measure(
            c, under_roof({std::move(ours), std::move(apart)}, entry.traffic, bytes, threads));
      };
      if (threads == 1) measure("L2", sizes.l2);
      const bool wanted = !suite.options().quick || &entry == all;
      if (wanted && suite.goes_to_memory(threads)) measure("memory", sizes.memory);
    }
  }
}

}  // namespace tandem::bench
