// Which kernels round their result for products that read it: those that have it as a Result
// (launch.h).
#pragma once

#include "core/backend.h"

namespace tandem::cuda {

/// See Backend::rounds_result.
bool rounds_result(const Graph& graph, const Node& node, const RoundedResult& how);
/// See Backend::reads_rounded: sums of the columns of a matrix, as gradients of biases are.
bool reads_rounded(const Graph& graph, const Node& node);
/// See Backend::reads_padded: losses, which logits of a product of any width go to.
constexpr bool reads_padded(Op op) {
  return op == Op::crossEntropy || op == Op::crossEntropyGrad || op == Op::softmaxCrossEntropy;
}

}  // namespace tandem::cuda
