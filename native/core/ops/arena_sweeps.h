// What else a training step does to whole arenas, element by element, in place.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

/// (mean [n], gradients [n]): mean += weight * (gradients - mean), so that it is the mean of the
/// micro-batches so far, weighted by what their losses divide by. The first one of a step, which
/// StepState says, replaces what was there; one of weight 0 has nothing to say, not even NaN.
struct AccumulateGradients : Base {
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kEffect | kInternal;
  static constexpr uint32_t kWrites = 1;
  static void infer(InferContext& /*context*/) {}
};

/// (gradients [n]): each between -maxValue and maxValue, as torch.nn.utils.clip_grad_value_. NaN
/// stays NaN.
struct ClipGradients : Base {
  struct Attributes {
    double max_value = 0.0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"maxValue", AttributeType::kDouble, offsetof(Attributes, max_value), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr int kMinInputs = 1;
  static constexpr int kMaxInputs = 1;
  static constexpr uint32_t kFlags = kEffect | kInternal;
  static constexpr uint32_t kWrites = 1;
  static void infer(InferContext& /*context*/) {}
};

/// (averages [n], parameters [n]): averages += (1 - decay) * (parameters - averages); in the first
/// step a copy, as torch.optim.swa_utils.AveragedModel begins with. A skipped step changes nothing.
struct AverageParameters : Base {
  struct Attributes {
    double decay = 0.999;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"decay", AttributeType::kDouble, offsetof(Attributes, decay), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kEffect | kInternal | kReadsState;
  static constexpr uint32_t kWrites = 1;
  static void infer(InferContext& /*context*/) {}
};

}  // namespace tandem::ops
