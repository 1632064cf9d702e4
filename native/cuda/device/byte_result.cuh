// What becomes of the exact sums of a product of bytes: scales, bias, activation, and bytes again
// where those who read want them. The order of rounding is that of native/cpu/isa/gemm_finish.h.
#pragma once

#include "cuda/byte_product.h"
#include "cuda/device/bytes.cuh"

namespace tandem::cuda {

/// Any unary op of elementwise.def.
__device__ __noinline__ inline float activate(int32_t op, float x, float a, float b) {
  switch (static_cast<Op>(op)) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case Op::name:                                                            \
    return forward;
#include "core/elementwise.def"
    default:
      return x;
  }
}

/// What a thread knows of a column.
struct ByteColumn {
  float scale, bias;
  int32_t weight_sum;
};

/// Whether sums are scaled to steps of y at once: nothing but a bound lies between.
TANDEM_DEVICE bool goes_to_steps(const ByteResult& r) {
  return r.to_bytes && (r.activation < 0 || r.activation == static_cast<int32_t>(Op::relu));
}

TANDEM_DEVICE ByteColumn byte_column(const ByteResult& r, int64_t column) {
  const float unit = goes_to_steps(r) ? r.inverse : 1.0F;
  return {r.scales[column] * unit, r.bias == nullptr ? 0.0F : r.bias[column] * unit,
          r.weight_sums[column]};
}

TANDEM_DEVICE void finish_sum(const ByteResult& r, const ByteColumn& column, int32_t sum,
                              int64_t row, int64_t at_column) {
  const int32_t zero = r.x_zero + (r.row_zeros == nullptr ? 0 : r.row_zeros[row]);
  const auto exact =
      static_cast<int32_t>(static_cast<uint32_t>(sum) -
                           static_cast<uint32_t>(zero) * static_cast<uint32_t>(column.weight_sum));
  const float row_scale = r.row_scales == nullptr ? 1.0F : r.row_scales[row];
  float v = fmaf(static_cast<float>(exact), column.scale * row_scale, column.bias);
  if (r.activation == static_cast<int32_t>(Op::relu)) {
    v = fmaxf(v, 0.0F);
  } else if (r.activation >= 0) {
    v = activate(r.activation, v, r.a, r.b);
  }
  const int64_t at = row * r.columns + at_column;
  if (!r.to_bytes) {
    static_cast<float*>(r.y)[at] = v;
    return;
  }
  const float steps = goes_to_steps(r) ? v : v * r.inverse;
  static_cast<uint8_t*>(r.y)[at] = static_cast<uint8_t>(to_byte(steps, 0, 255, r.y_zero));
}

}  // namespace tandem::cuda
