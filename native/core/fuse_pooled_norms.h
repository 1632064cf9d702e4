// Normalised planes that are computed together with the maxima of their windows.
#pragma once

#include "core/graph.h"

namespace tandem {

/// batchNorm and the maxPool2d that alone reads it become pooledNorm, and the gradients of the two
/// pooledNormGrad: what is as large as the planes is neither written nor read between them. After
/// fuse(), which leaves the derivative of an activation with the maxima.
void fuse_pooled_norms(Graph& graph);

}  // namespace tandem
