// Chains of elementwise ops: what the other passes have left of them is computed in one pass over
// memory. Results are the same bit for bit.
#pragma once

#include <string>

#include "core/graph.h"

namespace tandem {

/// Merges elementwise ops of one shape that read each other into `chain` nodes, whose
/// intermediate values that others read, too, become further outputs. Nodes may move behind others,
/// never past one that changes what they read. To be run when every value that counts is an output
/// of the graph or read by a node.
void fuse_chains(Graph& graph);

/// The name under which a node appears in a profile: a chain's with the ops that it is made of, and
/// `fusedMatmul(residual)`.
std::string kernel_name(const Node& node);

}  // namespace tandem
