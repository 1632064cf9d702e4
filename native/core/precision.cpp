#include "core/precision.h"

#include <map>

#include "core/backend.h"

namespace tandem {
namespace {

/// The inputs of a node that it multiplies with each other.
std::vector<size_t> factors_of(const Node& node) {
  if (info(node.op).fp16 == nullptr) return {};
  switch (node.op) {
    case Op::attention:
      return {0, 1, 2};
    case Op::attentionGrad:
      return {0, 1, 2, 6};
    case Op::lstm:
    case Op::gru:
      return {1};
    case Op::lstmGrad:
      return {2};
    case Op::gruGrad:
      return {3};
    default:
      return {0, 1};
  }
}

/// Puts a rounded copy of each factor in its place, made once, before the first that reads it.
void round_factors(Graph& graph) {
  const size_t count = graph.nodes.size();
  std::vector<size_t> order;
  std::map<ValueId, ValueId> rounded;
  for (size_t i = 0; i < count; ++i) {
    for (const size_t factor : factors_of(graph.nodes[i])) {
      const std::vector<ValueId>& inputs = graph.nodes[i].inputs;
      const ValueId id = factor < inputs.size() ? inputs[factor] : kNoValue;
      if (id == kNoValue) continue;
      const auto [copy, is_new] = rounded.try_emplace(id, kNoValue);
      if (is_new) {
        copy->second = graph.apply(Op::roundToFloat16, {id});
        order.push_back(graph.nodes.size() - 1);
      }
      graph.nodes[i].inputs[factor] = copy->second;
    }
    order.push_back(i);
  }
  graph.reorder(order);
}

void use_fp16(Graph& graph) {
  for (Node& node : graph.nodes) {
    const OpInfo& op = info(node.op);
    if (op.fp16 != nullptr) op.fp16(node.attributes) = true;
  }
}

}  // namespace

void use_bf16(Graph& graph) {
  for (Node& node : graph.nodes) {
    const OpInfo& op = info(node.op);
    if (op.bf16 != nullptr) op.bf16(node.attributes) = true;
  }
}

bool uses_bf16(const Node& node) {
  const OpInfo& op = info(node.op);
  if (op.bf16 == nullptr) return false;
  AttributeStorage attributes = node.attributes;
  return op.bf16(attributes);
}

void use_precision(Graph& graph, Precision precision, const Backend& backend) {
  switch (precision) {
    case Precision::kFloat32:
      return;
    case Precision::kBf16Mixed:
      return use_bf16(graph);
    case Precision::kFp16Mixed:
      return backend.supports(Op::roundToFloat16) ? round_factors(graph) : use_fp16(graph);
  }
}

}  // namespace tandem
