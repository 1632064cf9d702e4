// Recurrences of bytes: weights by the scales of their rows, and the states of each step by the
// range of their row. Both are multiplied as whole numbers in floats, which bfloat16 holds up to
// 256, so that products are exact on tensor cores, too, and sums of up to 518 units.
#pragma once

#include "core/ops/quantized.h"
#include "cuda/device/recurrent.cuh"

namespace tandem::cuda {

/// What makes sums of whole numbers those of what they stand for.
struct SumScales {
  const float *rows, *columns;  ///< null: the sums are what they are

  TANDEM_DEVICE float apply(float sum, int64_t row, int64_t column) const {
    return rows == nullptr ? sum : sum * (rows[row] * columns[column]);
  }
};

/// Whole numbers, and what one of them stands for in each row.
struct WholeRows {
  float *numbers, *scales;
};

/// Weight input 1 of the node, frozen.
WholeRows whole_weight(Launch& launch, const ops::ByteWeight& weight);
/// The states y before step `t`.
void launch_states(Launch& launch, const Recurrence& r, const float* y, int64_t t,
                   const WholeRows& states);

/// A kernel for each step, behind one that makes bytes of the states before it. Params has `r`, `y`
/// and `scales`.
template <typename Params>
void launch_byte_forward(Launch& launch, void (*kernel)(Params, StepProduct, int64_t), Params p) {
  const Recurrence& r = p.r;
  const WholeRows weight = whole_weight(launch, launch.attributes<ops::ByteWeight>());
  const WholeRows states{launch.workspace<float>(r.batch * r.units),
                         launch.workspace<float>(r.batch)};
  for (int64_t t = 0; t < r.time && !launch.measuring(); ++t) {
    if (t > 0) launch_states(launch, r, p.y, t, states);
    p.scales = {t == 0 ? nullptr : states.scales, weight.scales};
    const StepProduct product{
        t == 0 ? nullptr : states.numbers, weight.numbers, r.batch, r.units, r.units, r.units, 1};
    launch.kernel(kernel, step_blocks(r), kStepThreads, p, product, t);
  }
}

}  // namespace tandem::cuda
