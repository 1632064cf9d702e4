// Every elementwise op of core/elementwise.def and its gradient, where its operands lie in the
// first and the second cache and in memory. The roof is a sweep with the same streams that computes
// next to nothing.
#include <iterator>

#include "core/op.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

struct Elementwise {
  Op op;
  Traffic traffic;
};

constexpr Traffic kUnary{1, 1, false};
constexpr Traffic kBinary{2, 1, false};
constexpr Traffic kLoss{2, 0, false};

constexpr Elementwise kOps[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  {Op::name, kUnary}, {Op::name##Grad, Saved::SAVED == Saved::kNone ? kUnary : kBinary},
#define BINARY(name, forward, gradient_a, gradient_b) {Op::name, kBinary},
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  {Op::name, kLoss}, {Op::name##Grad, kBinary}, {Op::name##GradTarget, kBinary},
#include "core/elementwise.def"
};

/// In memory nearly all ops are as fast as it is: a quick run looks at these.
bool stands_for_all(Op op) { return op == Op::relu || op == Op::gelu || op == Op::geluGrad; }

/// One node: x or (x, y), for gradients of losses also the scalar dy.
Graph single_node(Op op, int streams, int64_t n) {
  Graph graph;
  const Tensor tensor = make_tensor({n}, DType::kFloat32);
  std::vector<ValueId> operands;
  operands.reserve(static_cast<size_t>(streams) + 1);
  for (int i = 0; i < streams; ++i) operands.push_back(graph.add_input(tensor));
  if (info(op).min_inputs > streams)
    operands.push_back(graph.add_input(make_tensor({}, DType::kFloat32)));
  graph.outputs = {graph.apply(op, operands)};
  return graph;
}

void measure_op(const Suite& suite, const Case& c, const Elementwise& entry, int64_t bytes) {
  const int streams = entry.traffic.reads + entry.traffic.writes;
  const int64_t n = bytes / streams / static_cast<int64_t>(sizeof(float)) / 128 * 128;
  const double moved = static_cast<double>(sizeof(float)) * static_cast<double>(n) * streams;
  Side ours = our_program(single_node(entry.op, entry.traffic.reads, n), moved, c.threads);
  suite.measure(c, under_roof({std::move(ours)}, entry.traffic, bytes, c.threads));
}

}  // namespace

void run_elementwise(const Suite& suite) {
  const CacheSizes sizes = working_sets();
  for (const Elementwise& entry : kOps) {
    // A quick run looks at the first few and at each kind of the others.
    const auto index = static_cast<size_t>(&entry - kOps);
    if (suite.options().quick && index >= 12 && index % 9 != 0) continue;
    for (const int threads : suite.options().threads) {
      const auto measure = [&](const char* place, int64_t bytes) {
        const Case c{"elementwise", std::string(name(entry.op)) + ", " + place, "f32", threads,
                     "GB/s"};
        if (suite.wants(c)) measure_op(suite, c, entry, bytes);
      };
      // What fits in a core's own cache is too little to share.
      if (threads == 1) {
        measure("L1", sizes.l1);
        measure("L2", sizes.l2);
      }
      const bool wanted = !suite.options().quick || stands_for_all(entry.op);
      if (wanted && suite.goes_to_memory(threads)) measure("memory", sizes.memory);
    }
  }
}

}  // namespace tandem::bench
