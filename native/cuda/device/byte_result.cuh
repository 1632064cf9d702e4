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

/// The same of several numbers at a time, in place, where no function may be called.
template <int n>
TANDEM_DEVICE void activate_here(int32_t op, float (&all)[n], float a, float b) {
  const auto each = [&](const auto& function) {
#pragma unroll
    for (int i = 0; i < n; ++i) all[i] = function(all[i]);
  };
  switch (static_cast<Op>(op)) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case Op::name:                                                            \
    return each([&](float x) { return forward; });
#include "core/elementwise.def"
    default:
      return;
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

/// What a thread knows of a row.
struct ByteRow {
  int32_t zero;
  float scale;
};

TANDEM_DEVICE ByteRow byte_row(const ByteResult& r, int64_t row) {
  return {r.x_zero + (r.row_zeros == nullptr ? 0 : r.row_zeros[row]),
          r.row_scales == nullptr ? 1.0F : r.row_scales[row]};
}

/// A sum as a number, before the activation.
TANDEM_DEVICE float scaled_sum(const ByteColumn& column, const ByteRow& row, int32_t sum) {
  const auto exact = static_cast<int32_t>(static_cast<uint32_t>(sum) -
                                          static_cast<uint32_t>(row.zero) *
                                              static_cast<uint32_t>(column.weight_sum));
  return fmaf(static_cast<float>(exact), column.scale * row.scale, column.bias);
}

/// What comes of the activation, as a byte.
TANDEM_DEVICE uint8_t result_byte(const ByteResult& r, float v) {
  const float steps = goes_to_steps(r) ? v : v * r.inverse;
  return static_cast<uint8_t>(to_byte(steps, 0, 255, r.y_zero));
}

TANDEM_DEVICE void finish_sum(const ByteResult& r, const ByteColumn& column, int32_t sum,
                              int64_t row, int64_t at_column) {
  float v = scaled_sum(column, byte_row(r, row), sum);
  if (r.activation == static_cast<int32_t>(Op::relu)) {
    v = fmaxf(v, 0.0F);
  } else if (r.activation >= 0) {
    v = activate(r.activation, v, r.a, r.b);
  }
  const int64_t at = row * r.columns + at_column;
  if (r.to_bytes) {
    static_cast<uint8_t*>(r.y)[at] = result_byte(r, v);
  } else {
    static_cast<float*>(r.y)[at] = v;
  }
}

}  // namespace tandem::cuda
