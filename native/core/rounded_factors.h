// Factors of 16-bit products, rounded once. Products that round their factors themselves do so for
// every product anew: x for y = x w^T and again for the gradient of w, dy twice, and a float32 x is
// kept from the forward pass to the backward pass for the product alone. Where a device's products
// take numbers of 16 bits (Backend::factor_row), a value is rounded once, by a node of its own
// (roundFactor) before the first product that reads it, or by the kernel that computes it
// (Backend::rounds_result): beside the floats, or in their place where nothing else reads these.
// The numbers are the same, and plans keep two bytes of them instead of four. Other nodes may read
// a copy that is there (Backend::reads_rounded). Rows of a product's float32 result, which nothing
// but losses reads, get padding where they would not begin at whole 16 bytes
// (Backend::reads_padded).
#pragma once

#include <vector>

#include "core/plan.h"

namespace tandem {

class Backend;

/// Which output of an op is what Backend::rounds_result is asked about.
constexpr size_t result_of(Op op) { return op == Op::softmaxCrossEntropy ? 1 : 0; }

/// Makes the factors of linear, matmul and fusedMatmul values of 16 bits, as use_precision() has
/// said which; to be called behind it, and before the graph is planned. Rows of a factor are padded
/// with zeros to Backend::factor_row() where a product is one of two matrices; products of batches
/// have rows as they come, so a value may have a copy of either kind. Left to the product are
/// numbers that some node changes in place, and, where parameters are `frozen`, parameters, of
/// which devices keep a rounded copy for good. `pins` are read beyond what the graph says.
void share_rounded_factors(Graph& graph, const std::vector<Pin>& pins, const Backend& backend,
                           bool frozen);

}  // namespace tandem
