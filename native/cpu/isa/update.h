// The optimizers' update rules for kernels that compute gradients in pieces.
#pragma once

#include "core/op_list.h"
#include "core/step_state.h"
#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// `n` parameters with their gradients and state, whose slots are `slot` floats apart.
struct UpdateSpan {
  float* parameters;
  const float* gradients;
  float* state;
  int64_t slot;
  int64_t n;
};

/// Updates a span; returns the sum of the squares of its gradients. `attributes`: the optimizer's.
using UpdateFn = float (*)(const void* attributes, const StepState& step, const UpdateSpan& span);
UpdateFn update_function(Op optimizer, const void* attributes);

}  // namespace tandem::cpu::TANDEM_ISA_NS
