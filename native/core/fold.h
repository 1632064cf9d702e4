// What becomes part of the weights when they never change again.
#pragma once

#include "core/model.h"

namespace tandem {

/// A batchNorm by running statistics is a scale and a shift for each channel: where it alone reads
/// a product or a convolution whose weight nobody else uses, both go into that weight and its bias.
/// The node disappears from each of `graphs`, which have the same parameters, and stays where one
/// of them could not do without it; `parameters` is the arena that `layout` describes. Throws as
/// instantiate() does, with nothing changed.
void fold_norms(std::vector<GraphDescription>& graphs, const ParameterLayout& layout,
                std::byte* parameters);

}  // namespace tandem
