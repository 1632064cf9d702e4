#include "cuda/host/rounded_results.h"

#include "core/ops/attention.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/row_norm.h"

namespace tandem::cuda {
namespace {

int64_t last_dim(const Tensor& tensor) { return tensor.dims[tensor.rank - 1]; }

/// Elements are walked side by side: no padding. Operands that broadcast have another kernel.
bool maps(const Graph& graph, const Node& node) {
  const int64_t n = graph.tensor(node.outputs[0]).numel;
  for (const ValueId id : node.inputs) {
    if (graph.tensor(id).numel != n) return false;
  }
  return true;
}

/// Without a residual's sum as an output, y holds it on the way.
bool norm_rounds(const Graph& graph, const Node& node, const RoundedResult& how) {
  const bool centered = node.op == Op::layerNorm;
  const bool keeps_sum = node.inputs.size() > ops::RowNormBase::kResidual &&
                         node.inputs[ops::RowNormBase::kResidual] != kNoValue &&
                         node.outputs.size() <= (centered ? 3U : 2U);
  if (how.alone && keeps_sum) return false;
  const Tensor& y = graph.tensor(node.outputs[0]);
  const int64_t rows = graph.tensor(node.outputs[1]).numel;
  return how.padding == 0 || y.numel / rows == last_dim(y);
}

bool norm_grad_rounds(const Graph& graph, const Node& node, const RoundedResult& how) {
  const int64_t length = node.attrs<ops::RowNormGradBase::Attributes>().length;
  return how.padding == 0 || length == last_dim(graph.tensor(node.outputs[0]));
}

/// An activation's pass over a product rounds, that of a derivative too.
bool product_rounds(const Node& node, const RoundedResult& how) {
  return how.padding == 0 && node.attrs<ops::FusedMatMul::Attributes>().activation >= 0;
}

}  // namespace

bool rounds_result(const Graph& graph, const Node& node, const RoundedResult& how) {
  switch (node.op) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case Op::name:                                                            \
  case Op::name##Grad:
#define BINARY(name, forward, gradient_a, gradient_b) case Op::name:
#include "core/elementwise.def"
    case Op::dropout:
      return how.padding == 0 && maps(graph, node);
    case Op::fusedMatmul:
      return product_rounds(node, how);
    case Op::layerNorm:
    case Op::rmsNorm:
      return norm_rounds(graph, node, how);
    case Op::layerNormGrad:
    case Op::rmsNormGrad:
      return norm_grad_rounds(graph, node, how);
    case Op::crossEntropyGrad:
    case Op::softmaxCrossEntropy:
      return true;
    case Op::attention:
    case Op::attentionGrad: {
      // kernels of floats do not
      const auto& attributes = node.attrs<ops::AttentionAttributes>();
      return how.padding == 0 && (attributes.bf16 || attributes.fp16);
    }
    default:
      return false;
  }
}

bool reads_rounded(const Graph& graph, const Node& node) {
  if (node.op != Op::sum) return false;
  const IntList& axes = node.attrs<ops::ReduceAttributes>().axes;
  return graph.tensor(node.inputs[0]).rank == 2 && axes.count == 1 && axes.values[0] == 0;
}

}  // namespace tandem::cuda
