// Gradient checkpointing: Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory
// Cost" (2016).
#pragma once

#include "core/graph.h"

namespace tandem {

/// Nodes of the forward pass of a graph with gradients: those that its outputs depend on.
size_t count_forward_nodes(const Graph& graph);

/// Cuts the forward pass into `segments` at places that few bytes cross. What the backward pass
/// reads of a segment, other than the last one and what crosses its borders, is computed anew just
/// before, by copies of the nodes: the same numbers, as ops are functions of their operands and of
/// the step. To be called when gradients are there and fused, before the optimizer is.
void recompute_activations(Graph& graph, int segments);

}  // namespace tandem
