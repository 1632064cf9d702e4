// What a graph of inference computes once instead of again and again.
#pragma once

#include "core/model.h"

namespace tandem {

/// Nodes that compute the same of the same values become one.
void share_equal_nodes(Graph& graph);

/// Nodes that depend on nothing but parameters and constants are computed now: what other nodes
/// read of them becomes a parameter, in memory of the host that `layout` and `host` describe
/// afterwards. Nodes whose results take far more memory than what they read stay. `graphs` have the
/// same parameters, before and after; numbers that several of them compute are there once.
void fold_constants(std::vector<GraphDescription>& graphs, ParameterLayout& layout, Memory& host);

}  // namespace tandem
