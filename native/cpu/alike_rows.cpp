#include "cpu/alike_rows.h"

#include <algorithm>

#include "core/ops/fused_matmul.h"
#include "core/ops/linear.h"
#include "core/ops/softmax.h"

namespace tandem::cpu {
namespace {

bool has_rows(const Tensor& tensor, int64_t rows) {
  return tensor.rank > 0 && tensor.dims[0] == rows;
}

/// A row times a matrix that is packed when the plan is made: see kAlikeRows.
bool is_alike_product(const Graph& graph, const Node& node, bool plain) {
  const Value& weights = graph.value(node.inputs[1]);
  return plain && graph.tensor(node.inputs[0]).rank == 2 && weights.tensor.rank == 2 &&
         weights.kind == ValueKind::kParameter;
}

bool is_alike(const Graph& graph, const Node& node) {
  switch (node.op) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) case Op::name:
#include "core/elementwise.def"
    case Op::reshape:
    case Op::flatten:
      return true;
    case Op::linear:
      return is_alike_product(graph, node, !node.attrs<ops::Linear::Attributes>().bf16);
    case Op::matmul: {
      const auto& attributes = node.attrs<ops::MatMul::Attributes>();
      return is_alike_product(graph, node, !attributes.bf16 && !attributes.trans_a);
    }
    case Op::fusedMatmul: {
      const auto& attributes = node.attrs<ops::FusedMatMul::Attributes>();
      return is_alike_product(graph, node, !attributes.bf16 && !attributes.trans_a);
    }
    case Op::softmax:
    case Op::logSoftmax:
      // by rows of neighbours in memory
      return node.attrs<ops::SoftmaxAttributes>().axis + 1 == graph.tensor(node.inputs[0]).rank;
    default:
      return false;
  }
}

}  // namespace

bool are_rows_alike(const Graph& graph) {
  const int64_t rows = graph.tensor(graph.inputs.front()).dims[0];
  const auto leads = [&](ValueId id) { return has_rows(graph.tensor(id), rows); };
  const bool nodes = std::all_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    return is_alike(graph, node) && !node.rounds_too && leads(node.inputs[0]) &&
           leads(node.outputs[0]);
  });
  return nodes && std::all_of(graph.outputs.begin(), graph.outputs.end(), [&](ValueId id) {
           return leads(id) && graph.value(id).kind == ValueKind::kNode;
         });
}

}  // namespace tandem::cpu
