// The recurrences of lstm and gru with frozen weights, and their gradients; rows of a table and the
// gradient of that.
#include <algorithm>

#include "core/autodiff.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Sequence {
  int64_t batch, time, units;
  bool quick;
};

constexpr Sequence kSequences[] = {
    {1, 50, 128, false}, {64, 50, 128, true}, {64, 50, 256, false}, {16, 24, 32, true}};

/// The states, or what the gradient of the gates takes besides them.
Graph recurrence(Op op, const Sequence& sizes, bool backward) {
  const int64_t gates = (op == Op::lstm ? 4 : 3) * sizes.units;
  Graph graph;
  const ValueId x = graph.add_input(make_tensor({sizes.batch, sizes.time, gates}, DType::kFloat32));
  std::vector<ValueId> operands{
      x, graph.add_parameter(make_tensor({gates, sizes.units}, DType::kFloat32))};
  if (op == Op::gru) operands.push_back(graph.add_parameter(make_tensor({gates}, DType::kFloat32)));
  const ValueId y = graph.apply(op, operands);
  graph.outputs = {y};
  if (backward) {
    const ValueId dy = graph.add_input(graph.tensor(y));
    graph.outputs = add_gradients(graph, {{y, dy}}, {x});
  }
  graph.remove_dead_nodes();
  return graph;
}

void measure_recurrence(const Suite& suite, Op op, const Sequence& sizes, bool backward) {
  const double steps = static_cast<double>(sizes.batch) * static_cast<double>(sizes.time);
  const double units = static_cast<double>(sizes.units);
  const double operations =
      (backward ? 2.0 : 1.0) * 2.0 * (op == Op::lstm ? 4.0 : 3.0) * steps * units * units;
  for (const int threads : suite.options().threads) {
    const Case c{"recurrent",
                 std::string(name(op)) + (backward ? " with gradient " : " ") +
                     joined({sizes.batch, sizes.time, sizes.units}),
                 "f32", threads, "GFLOP/s"};
    if (!suite.wants(c) || (threads > 1 && sizes.batch == 1)) continue;
    std::vector<Side> sides{
        our_program(recurrence(op, sizes, backward), operations, threads, !backward)};
    if (auto roof = peak("f32", threads)) sides.push_back(std::move(*roof));
    suite.measure(c, sides);
  }
}

struct Table {
  int64_t rows, count, dim;
};

Graph lookup(const Table& table, bool backward) {
  Graph graph;
  const ValueId index = graph.add_input(make_tensor({table.rows}, DType::kInt32));
  const ValueId weight = graph.add_input(make_tensor({table.count, table.dim}, DType::kFloat32));
  const ValueId y = graph.apply(Op::embedding, {index, weight});
  graph.outputs = {y};
  if (backward) {
    const ValueId dy = graph.add_input(graph.tensor(y));
    graph.outputs = add_gradients(graph, {{y, dy}}, {weight});
  }
  graph.remove_dead_nodes();
  return graph;
}

void measure_lookup(const Suite& suite, const Table& table, bool backward) {
  // Rows of the table that are asked for again come from a nearer place.
  const int64_t rows = table.rows + (backward ? table.count : std::min(table.rows, table.count));
  const int64_t bytes = rows * table.dim * static_cast<int64_t>(sizeof(float));
  for (const int threads : suite.options().threads) {
    const Case c{"embedding",
                 std::string(backward ? "embeddingGrad " : "embedding ") +
                     std::to_string(table.rows) + " of " + std::to_string(table.count) + "x" +
                     std::to_string(table.dim),
                 "f32", threads, "GB/s"};
    if (!suite.wants(c)) continue;
    Side ours = our_program(lookup(table, backward), static_cast<double>(bytes), threads, false,
                            table.count);
    suite.measure(c, under_roof({std::move(ours)}, {1, 1, false}, bytes, threads));
  }
}

}  // namespace

void run_recurrent(const Suite& suite) {
  for (const Op op : {Op::lstm, Op::gru}) {
    for (const Sequence& sizes : kSequences) {
      if (suite.options().quick && !sizes.quick) continue;
      for (const bool backward : {false, true}) measure_recurrence(suite, op, sizes, backward);
    }
  }
  for (const Table& table : {Table{768, 65, 128}, Table{4096, 50000, 256}}) {
    if (suite.options().quick && table.count > 65) continue;
    for (const bool backward : {false, true}) measure_lookup(suite, table, backward);
  }
}

}  // namespace tandem::bench
