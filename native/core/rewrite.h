// How passes change single nodes of a graph.
#pragma once

#include <utility>

#include "core/graph.h"

namespace tandem {

/// `node` takes the place of the one at `at`, and gives all its outputs.
inline void put_node(Graph& graph, size_t at, Node node) {
  graph.nodes[at] = std::move(node);
  for (const ValueId id : graph.nodes[at].outputs)
    graph.values[static_cast<size_t>(id)].index = static_cast<int32_t>(at);
}

/// A node without outputs and effects is dead; its values now belong to another node.
inline void retire_node(Graph& graph, size_t at) {
  Node& node = graph.nodes[at];
  node.op = Op::copy;
  node.inputs.clear();
  node.outputs.clear();
}

}  // namespace tandem
