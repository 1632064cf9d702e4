// What fp16-mixed adds to a training step: see core/precision.h and core/loss_scaler.h.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

/// x as the nearest number of float16 (halves to even, infinity beyond 65504), held in float32. In
/// front of products where a device's kernels do not round their factors themselves.
struct RoundToFloat16 : Base {
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;
  static void infer(InferContext& context) { context.output(context.shape(0)); }
};

/// x * StepState::loss_scale: what the gradients of a loss begin with.
struct LossScale : Base {
  static constexpr uint32_t kFlags = kInternal;
  static void infer(InferContext& context) { context.output(context.shape(0)); }
};

/// (gradients [n]): each by StepState::loss_scale, in place. NaN and infinities stay.
struct UnscaleGradients : Base {
  static constexpr uint32_t kFlags = kEffect | kInternal;
  static constexpr uint32_t kWrites = 1;
  static void infer(InferContext& /*context*/) {}
};

}  // namespace tandem::ops
