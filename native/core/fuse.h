// Passes over a whole graph, gradients included, before it is planned.
#pragma once

#include "core/graph.h"

namespace tandem {

/// Bias and activation move into the epilogue of the matrix product before them, the derivative of
/// an activation into that of the product whose result it scales, and a cross-entropy and its
/// gradient become one pass over the logits; residuals are added by the norms that read the sum.
/// Dead nodes are removed.
void fuse(Graph& graph);

}  // namespace tandem
