// Small products of floats by a kernel of our own, and its launcher.
#pragma once

#include <cuda_runtime.h>

#include "cuda/host/float_ways.h"
#include "cuda/host/products.h"

namespace tandem::cuda {

/// What the kernel may ask of a device: nothing below compute capability 8.0. Throws ERR_DEVICE for
/// one that nothing here was compiled for.
FloatDevice float_device(int device);

/// Computes y in one of the ways of float_ways(), without workspace. All that Product can say is
/// computed, but for other types than kFloat32. Throws ERR_DEVICE.
void launch_float_product(const Product& product, const ProductOperands& operands, FloatWay way,
                          cudaStream_t stream);

}  // namespace tandem::cuda
