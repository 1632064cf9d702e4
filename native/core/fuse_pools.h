// Convolutions that are computed together with the maxima of their pixels.
#pragma once

#include "core/graph.h"

namespace tandem {

/// conv2d, maybe with relu, and the maxPool2d of 2 x 2 that alone reads it become pooledConv, which
/// writes a quarter of the pixels. For graphs without gradients, after fuse() and quantize().
void fuse_pools(Graph& graph);

}  // namespace tandem
