// Weights and results of quantized products, which quantizedLinear and quantizedConv share.
#pragma once

#include "core/ops/quantized.h"
#include "cuda/device/byte_result.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {

/// A weight [out, channels, taps] of floats as rows of bytes [out, taps * channels], with the
/// number of a column of bytes in front of that of its tap, filled up to `k` with zeros.
struct ByteWeight {
  const int8_t* bytes;
  const int32_t* sums;
  const float* scales;  ///< times the scale of x, where that is known
  int64_t k;
};

/// Weight input 1 of the node, frozen.
ByteWeight byte_weight(Launch& launch, const ops::QuantizedProduct& product, int64_t channels,
                       int64_t taps);
/// What follows the sums; the bias is input 2.
ByteResult byte_result(Launch& launch, const ops::QuantizedProduct& product,
                       const ByteWeight& weight);

}  // namespace tandem::cuda
