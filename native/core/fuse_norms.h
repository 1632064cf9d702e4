// Normalisations with the residuals before them and the activations behind as one pass over memory.
#pragma once

#include "core/graph.h"

namespace tandem {

/// A sum that layerNorm or rmsNorm reads is computed by it: x + r is written once, for whoever else
/// reads it, and normalised while it is in the cache. In the backward pass the gradient that
/// reaches the sum along the residual is added by the gradient of the norm. batchNorm applies the
/// activation that alone reads its result.
void fuse_norms(Graph& graph);

}  // namespace tandem
