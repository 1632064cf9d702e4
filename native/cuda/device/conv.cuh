// What the kernels of convolution share: tiles of 64 x 64 of a product, whose sums run in pieces of
// 32 through shared memory, and declarations of those that need no product.
#pragma once

#include "cuda/device/tile_product.cuh"
#include "cuda/host/conv_shape.h"
#include "cuda/kernels.h"
#include "cuda/product_runner.h"

namespace tandem::cuda {

inline constexpr int kConvThreads = 128;
inline constexpr int kConvTile = 64;   ///< rows, and columns, of a block
inline constexpr int kConvDepth = 32;  ///< summands in shared memory at a time

/// Floats between rows in shared memory: of summands, and of columns.
inline constexpr int kConvAlong = kConvDepth + 4;
inline constexpr int kConvAcross = kConvTile + 8;

/// A warp's 16 rows of a block's columns.
using ConvSums = Accumulators<kConvTile / kTileColumns>;

/// How a convolution multiplies.
inline Arithmetic conv_arithmetic(Launch& launch, bool bf16, bool fp16) {
  if (bf16) return Arithmetic::kBfloat16;
  if (fp16) return Arithmetic::kFloat16;
  return launch.products().type() == ProductType::kTf32 ? Arithmetic::kTf32 : Arithmetic::kFloat32;
}

/// y = x * w + bias where each group has one channel of x; `bias` may be null.
void launch_depthwise(Launch& launch, const ConvShape& shape, const float* x, const float* w,
                      const float* bias, float* y);
/// dx, plus a bias of dx's channels, from dy and w.
void launch_depthwise_data(Launch& launch, const ConvShape& shape, const float* dy, const float* w,
                           const float* bias, float* dx);
/// dw from x and dy.
void launch_depthwise_weight(Launch& launch, const ConvShape& shape, const float* x,
                             const float* dy, float* dw);

}  // namespace tandem::cuda
