// From float to bytes and back, as native/cpu/isa has it: to nearest even, saturated; NaN becomes
// the lowest value.
#pragma once

#include <cstdint>

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// `steps` is a value in units of the scale; bounds are those of the byte less `zero`.
TANDEM_DEVICE int32_t to_byte(float steps, int32_t low, int32_t high, int32_t zero) {
  const float bounded =
      fminf(fmaxf(steps, static_cast<float>(low - zero)), static_cast<float>(high - zero));
  return static_cast<int32_t>(rintf(bounded)) + zero;
}

/// An unsigned byte: saturate(round(x / scale) + zero).
TANDEM_DEVICE uint8_t to_unsigned_byte(float x, float scale, int32_t zero) {
  return static_cast<uint8_t>(to_byte(x / scale, 0, 255, zero));
}

/// A weight as a signed byte in [-127, 127]: both signs reach equally far.
TANDEM_DEVICE int8_t to_weight_byte(float x, float scale) {
  return static_cast<int8_t>(to_byte(x / scale, -127, 127, 0));
}

/// The scale by which values reach `steps`; 1 where they are too small to have one.
TANDEM_DEVICE float scale_of(float reach, float steps) {
  const float scale = reach / steps;
  return scale >= 0x1p-120F ? scale : 1.0F;
}

}  // namespace tandem::cuda
