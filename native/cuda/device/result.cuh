// Results of kernels: floats, numbers of 16 bits for products that read them, or both. What a plan
// asks for is the same for all threads, so that they take the same way.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/device/scalar.cuh"
#include "cuda/launch.h"

namespace tandem::cuda {

/// To nearest even.
TANDEM_DEVICE uint16_t round_to_16(float x, bool bfloat16) {
  return bfloat16 ? __bfloat16_as_ushort(__float2bfloat16_rn(x))
                  : __half_as_ushort(__float2half_rn(x));
}
TANDEM_DEVICE uint32_t round_pair(float low, float high, bool bfloat16) {
  return round_to_16(low, bfloat16) | static_cast<uint32_t>(round_to_16(high, bfloat16)) << 16;
}

/// Two neighbours of 16 bits as floats.
TANDEM_DEVICE float2 widen_pair(uint32_t pair, bool bfloat16) {
  if (bfloat16)
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000U));
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

/// Element `i` of a result without padding.
TANDEM_DEVICE void store(const Result& to, int64_t i, float value) {
  if (to.y != nullptr) to.y[i] = value;
  if (to.rounded != nullptr) to.rounded[i] = round_to_16(value, to.bfloat16);
}

/// Two neighbours from `i` on, a multiple of 2.
TANDEM_DEVICE void store2(const Result& to, int64_t i, float left, float right) {
  if (to.y != nullptr) *reinterpret_cast<float2*>(to.y + i) = make_float2(left, right);
  if (to.rounded != nullptr)
    *reinterpret_cast<uint32_t*>(to.rounded + i) = round_pair(left, right, to.bfloat16);
}

/// Four neighbours from `i` on, a multiple of 4.
TANDEM_DEVICE void store4(const Result& to, int64_t i, float4 values) {
  if (to.y != nullptr) *reinterpret_cast<float4*>(to.y + i) = values;
  if (to.rounded == nullptr) return;
  *reinterpret_cast<uint2*>(to.rounded + i) = make_uint2(
      round_pair(values.x, values.y, to.bfloat16), round_pair(values.z, values.w, to.bfloat16));
}

/// A row of `columns` numbers of a result, with its padding.
struct ResultRow {
  float* y;
  uint16_t* rounded;
  bool bfloat16;

  TANDEM_DEVICE ResultRow(const Result& result, int64_t row, int64_t columns)
      : y(result.y == nullptr ? nullptr : result.y + row * columns),
        rounded(result.rounded == nullptr ? nullptr
                                          : result.rounded + row * (columns + result.padding)),
        bfloat16(result.bfloat16) {}
  TANDEM_DEVICE void store(int64_t i, float value) const {
    if (y != nullptr) y[i] = value;
    if (rounded != nullptr) rounded[i] = round_to_16(value, bfloat16);
  }
  /// Four neighbours from `i` on, where rows are multiples of 4.
  TANDEM_DEVICE void store4(int64_t i, float4 values) const {
    cuda::store4({y, rounded, 0, bfloat16}, i, values);
  }
  /// What follows the row, by thread `thread` of those that have it.
  TANDEM_DEVICE void pad(const Result& result, int64_t columns, unsigned thread) const {
    if (rounded != nullptr && static_cast<int>(thread) < result.padding)
      rounded[columns + thread] = 0;
  }
};

}  // namespace tandem::cuda
