// Reductions over all of a tensor, over its rows and over its columns.
#include "core/op.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Reduction {
  const char* over;
  std::vector<double> axes;
};

struct Matrix {
  int64_t rows, columns;
};

Graph single_node(Op op, const Reduction& reduction, const Matrix& matrix) {
  Graph graph;
  const ValueId x = graph.add_input(make_tensor({matrix.rows, matrix.columns}, DType::kFloat32));
  graph.outputs = {graph.apply(op, {x}, make_attributes(op, {{"axes", reduction.axes}}))};
  return graph;
}

}  // namespace

void run_reductions(const Suite& suite) {
  const Reduction reductions[] = {{"all", {0, 1}}, {"rows", {1}}, {"columns", {0}}};
  const Matrix matrices[] = {{128, 512}, {1024, 4096}};
  for (const Op op : {Op::sum, Op::mean, Op::max, Op::variance}) {
    if (suite.options().quick && op != Op::sum && op != Op::variance) continue;
    for (const Reduction& reduction : reductions) {
      for (const Matrix& matrix : matrices) {
        for (const int threads : suite.options().threads) {
          const Case c{"reduction",
                       std::string(name(op)) + " over " + reduction.over + ", " +
                           std::to_string(matrix.rows) + "x" + std::to_string(matrix.columns),
                       "f32", threads, "GB/s"};
          if (!suite.wants(c)) continue;
          const auto bytes = static_cast<int64_t>(sizeof(float)) * matrix.rows * matrix.columns;
          Side ours =
              our_program(single_node(op, reduction, matrix), static_cast<double>(bytes), threads);
          suite.measure(c, under_roof({std::move(ours)}, {1, 0, false}, bytes, threads));
        }
      }
    }
  }
}

}  // namespace tandem::bench
