// Timing on the device.
#pragma once

#include "cuda/host/products.h"

namespace tandem::cuda {

/// Milliseconds of one product by a candidate's algorithm, on memory of its own; negative where it
/// fails. Where there is no memory to try in, 0, so that the first candidate is taken.
double measure_product(lt::Handle handle, ProductDescription& description, const Product& product,
                       const lt::HeuristicResult& candidate);

}  // namespace tandem::cuda
