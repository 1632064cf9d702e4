#include "core/precision.h"

namespace tandem {

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

}  // namespace tandem
