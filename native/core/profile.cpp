#include "core/profile.h"

#include <algorithm>
#include <cmath>

#include "core/ops/fused_matmul.h"

namespace tandem {
namespace {

double product_flops(const Graph& graph, const Node& node) {
  const Tensor& a = graph.tensor(node.inputs[0]);
  const Tensor& y = graph.tensor(node.outputs[0]);
  bool trans_a = false;
  if (node.op == Op::matmul) trans_a = node.attrs<ops::MatMul::Attributes>().trans_a;
  if (node.op == Op::fusedMatmul) trans_a = node.attrs<ops::FusedMatMul::Attributes>().trans_a;
  const auto inner = static_cast<double>(a.dims[trans_a ? a.rank - 2 : a.rank - 1]);
  return 2.0 * static_cast<double>(y.numel) * inner;
}

}  // namespace

double count_flops(const Graph& graph) {
  double total = 0;
  for (const Node& node : graph.nodes) {
    if ((info(node.op).flags & kAlias) != 0) continue;
    if (node.op == Op::linear || node.op == Op::matmul || node.op == Op::fusedMatmul) {
      total += product_flops(graph, node);
    }
    // one operation an element of the largest operand for everything else, epilogues included
    int64_t largest = 0;
    for (const ValueId id : node.outputs) largest = std::max(largest, graph.tensor(id).numel);
    if (node.op != Op::linear && node.op != Op::matmul && node.op != Op::fusedMatmul) {
      for (const ValueId id : node.inputs) {
        if (id != kNoValue) largest = std::max(largest, graph.tensor(id).numel);
      }
    }
    total += static_cast<double>(largest);
  }
  return total;
}

void LatencyWindow::add(double milliseconds) {
  constexpr size_t kWindow = 1024;
  if (samples_.size() < kWindow) {
    samples_.push_back(static_cast<float>(milliseconds));
    return;
  }
  samples_[next_] = static_cast<float>(milliseconds);
  next_ = (next_ + 1) % kWindow;
}

double LatencyWindow::percentile(double p) const {
  if (samples_.empty()) return 0;
  std::vector<float> sorted = samples_;
  const auto rank = static_cast<size_t>(std::min(std::floor(p * static_cast<double>(sorted.size())),
                                                 static_cast<double>(sorted.size() - 1)));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                   sorted.end());
  return sorted[rank];
}

}  // namespace tandem
