// Passes over a whole graph, gradients included, before it is planned.
#pragma once

#include "core/graph.h"

namespace tandem {

class Backend;

/// Bias and activation move into the epilogue of the matrix product before them, the derivative of
/// an activation into that of the product whose result it scales, and a cross-entropy and its
/// gradient become one pass over the logits; residuals are added by the norms that read the sum, or
/// by the convolution or, where the device's products do so (Backend::adds_in_products), by the
/// product before it. The derivative of relu is taken of the maxima that maxPool2d finds, and not
/// of what they are maxima of. Dead nodes are removed.
void fuse(Graph& graph, const Backend& backend);

}  // namespace tandem
