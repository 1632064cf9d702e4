// Ranges of rows of floats, by which they become bytes: quantize_rows_u8() and quantize_rows_s8()
// of native/cpu/isa/convert.cpp, by a warp.
#pragma once

#include "cuda/device/bytes.cuh"
#include "cuda/device/fold.cuh"

namespace tandem::cuda {

/// The least and the largest number of a row, with 0 between them.
struct Extent {
  float low, high;
};

TANDEM_DEVICE Extent extent_of_row(const float* x, int64_t n) {
  Extent e{0.0F, 0.0F};
  for (int64_t i = threadIdx.x % 32; i < n; i += 32) {
    e.low = fminf(e.low, x[i]);
    e.high = fmaxf(e.high, x[i]);
  }
  const auto lesser = [](float a, float b) { return fminf(a, b); };
  const auto greater = [](float a, float b) { return fmaxf(a, b); };
  return {fold_warp(e.low, lesser), fold_warp(e.high, greater)};
}

/// What unsigned bytes of a row stand for.
struct RowSteps {
  float scale;
  int32_t zero;
};

TANDEM_DEVICE RowSteps unsigned_steps(const Extent& e) {
  // halves first, which cannot overflow
  const float scale = scale_of(e.high * 0.5F - e.low * 0.5F, 127.5F);
  return {scale, static_cast<int32_t>(rintf(-e.low / scale))};
}

/// Of signed bytes, whose zero is 0.
TANDEM_DEVICE float signed_steps(const Extent& e) {
  return scale_of(fmaxf(e.high, -e.low), 127.0F);
}

TANDEM_DEVICE int8_t to_signed_byte(float x, float scale) {
  return static_cast<int8_t>(to_byte(x / scale, -128, 127, 0));
}

}  // namespace tandem::cuda
