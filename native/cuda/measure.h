// Timing on the device.
#pragma once

#include "cuda/product_runner.h"

namespace tandem::cuda {

/// Milliseconds of one product by a candidate's algorithm, on memory of its own; negative where it
/// fails, and infinity where there is no memory to try in.
double measure_product(lt::Handle handle, ProductDescription& description, const Product& product,
                       const lt::HeuristicResult& candidate);
/// The same of a product of floats by a kernel of our own.
double measure_floats(const Product& product, FloatWay way);
/// The same of a product of bytes. Rows that are windows of images are measured as rows in memory:
/// what a way costs beyond that is the same for all.
double measure_bytes(ProductRunner& products, const ByteShape& shape, ByteWay way);

}  // namespace tandem::cuda
