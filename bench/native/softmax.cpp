// softmax, logSoftmax, their gradients, and cross-entropy over the last axis.
#include "core/op.h"
#include "program.h"
#include "roofs.h"
#include "suite.h"

namespace tandem::bench {
namespace {

constexpr int64_t kTooSmallToShare = 64 << 10;

struct Rows {
  int64_t count, length;
  bool quick;
};

constexpr Rows kRows[] = {
    {128, 10, true}, {128, 128, false}, {3072, 64, true}, {256, 1000, true}, {2048, 4096, false}};

struct SoftmaxOp {
  Op op;
  int inputs;
  bool targets;  ///< the second input is class numbers, by row
  Traffic traffic;
};

constexpr SoftmaxOp kOps[] = {
    {Op::softmax, 1, false, {1, 1, false}},     {Op::softmaxGrad, 2, false, {2, 1, false}},
    {Op::logSoftmax, 1, false, {1, 1, false}},  {Op::logSoftmaxGrad, 2, false, {2, 1, false}},
    {Op::crossEntropy, 2, true, {1, 0, false}}, {Op::softmaxCrossEntropy, 2, true, {1, 1, false}}};

Graph single_node(const SoftmaxOp& entry, const Rows& rows) {
  Graph graph;
  const Tensor tensor = make_tensor({rows.count, rows.length}, DType::kFloat32);
  std::vector<ValueId> operands{graph.add_input(tensor)};
  if (entry.targets) {
    operands.push_back(graph.add_input(make_tensor({rows.count}, DType::kInt32)));
    operands.push_back(kNoValue);  // no class weights
    operands.push_back(kNoValue);  // nor weights of rows
    operands.push_back(graph.scalar(static_cast<float>(rows.count)));
  } else if (entry.inputs == 2) {
    operands.push_back(graph.add_input(tensor));
  }
  const ValueId result = graph.apply(entry.op, operands);
  graph.outputs = graph.producer(result)->outputs;
  return graph;
}

}  // namespace

void run_softmax(const Suite& suite) {
  for (const SoftmaxOp& entry : kOps) {
    for (const Rows& rows : kRows) {
      if (suite.options().quick && !rows.quick) continue;
      for (const int threads : suite.options().threads) {
        const Case c{"softmax",
                     std::string(name(entry.op)) + " " + std::to_string(rows.count) + "x" +
                         std::to_string(rows.length),
                     "f32", threads, "GB/s"};
        const int streams = entry.traffic.reads + entry.traffic.writes;
        const auto bytes = static_cast<int64_t>(sizeof(float)) * rows.count * rows.length * streams;
        if (!suite.wants(c) || (threads > 1 && bytes < kTooSmallToShare)) continue;
        Side ours = our_program(single_node(entry, rows), static_cast<double>(bytes), threads);
        suite.measure(c, under_roof({std::move(ours)}, entry.traffic, bytes, threads));
      }
    }
  }
}

}  // namespace tandem::bench
