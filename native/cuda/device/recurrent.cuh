// What lstm, gru and their gradients share: one kernel for each step of time, in which a block
// multiplies the states of 64 rows of the batch with some columns of the weights, 16 rows to a
// warp, and hands the sums, in registers, to what the step does with them. Sums and states are
// float32: an error in a state goes through all steps to come.
#pragma once

#include "cuda/device/tile_product.cuh"
#include "cuda/launch.h"

namespace tandem::cuda {

inline constexpr int kStepThreads = 128;
inline constexpr int kStepRows = 64;
inline constexpr int kStepUnits = 16;  ///< units of a block, with all their gates
inline constexpr int kStepDepth = 32;  ///< summands in shared memory at a time
inline constexpr int kStepAlong = kStepDepth + 4;

struct Recurrence {
  int64_t batch, time, units, gates;  ///< gates: all of them, a multiple of units
};

/// The product of a step: rows of `states` [batch, time, summands] at one time, by row, with a
/// column's weights at weights[column * column_step + k * summand_step].
struct StepProduct {
  const float* states;  ///< of the step's time; null in the first step: the sums are zero
  const float* weights;
  int64_t batch, row_step, summands, column_step, summand_step;
};

/// sums += states weights for the block's rows from `row` on. Column i of the block is column
/// column_of(i) of the weights, or none where that is negative.
template <Arithmetic kind, int tiles, typename ColumnOf>
TANDEM_DEVICE void add_states(Accumulators<tiles>& sums, const StepProduct& p, int64_t row,
                              const ColumnOf& column_of) {
  constexpr int kColumns = tiles * kTileColumns;
  __shared__ float states[kStepRows * kStepAlong];
  __shared__ float weights[kColumns * kStepAlong];
  if (p.states == nullptr) return;
  const int lane = static_cast<int>(threadIdx.x) % kStepDepth;
  constexpr int kTogether = kStepThreads / kStepDepth;
  for (int64_t first = 0; first < p.summands; first += kStepDepth) {
    const int64_t k = first + lane;
    __syncthreads();  // the product before still reads
    for (int i = static_cast<int>(threadIdx.x) / kStepDepth; i < kStepRows; i += kTogether) {
      const bool there = row + i < p.batch && k < p.summands;
      states[i * kStepAlong + lane] = there ? p.states[(row + i) * p.row_step + k] : 0.0F;
    }
    if (p.summand_step == 1) {
      for (int i = static_cast<int>(threadIdx.x) / kStepDepth; i < kColumns; i += kTogether) {
        const int64_t column = column_of(i);
        const bool there = column >= 0 && k < p.summands;
        weights[i * kStepAlong + lane] = there ? p.weights[column * p.column_step + k] : 0.0F;
      }
    } else {
      // neighbouring threads read neighbouring columns
      for (int i = static_cast<int>(threadIdx.x); i < kColumns * kStepDepth; i += kStepThreads) {
        const int64_t column = column_of(i % kColumns);
        const int64_t from = first + i / kColumns;
        const bool there = column >= 0 && from < p.summands;
        weights[i % kColumns * kStepAlong + i / kColumns] =
            there ? p.weights[column * p.column_step + from * p.summand_step] : 0.0F;
      }
    }
    __syncthreads();
    add_product<kind, kStepDepth, kStepAlong, 1, 1, kStepAlong>(
        sums, states + threadIdx.x / 32 * kTileRows * kStepAlong, weights);
  }
}

/// The sums of all gates of a block's kStepUnits units, and what to do with them.
template <Arithmetic kind, int gates, typename Visit>
TANDEM_DEVICE void step_units(const Recurrence& r, const StepProduct& product, const Visit& visit) {
  constexpr int kHalves = kStepUnits / kTileColumns;
  const int64_t unit_blocks = (r.units + kStepUnits - 1) / kStepUnits;
  const int64_t unit = blockIdx.x % unit_blocks * kStepUnits;
  const int64_t row = blockIdx.x / unit_blocks * kStepRows;
  Accumulators<gates * kHalves> sums;
  sums.clear();
  // gates of a unit are kStepUnits columns apart, so that one lane has them all
  add_states<kind>(sums, product, row, [&](int column) {
    const int64_t at = unit + column % kStepUnits;
    return at < r.units ? column / kStepUnits * r.units + at : int64_t{-1};
  });
  const int64_t first = row + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t at_row = first + row_of_element(e);
      const int64_t at_unit = unit + column_of_element(half, e);
      if (at_row >= r.batch || at_unit >= r.units) continue;
      float of_gates[gates];
#pragma unroll
      for (int gate = 0; gate < gates; ++gate) of_gates[gate] = sums.at[gate * kHalves + half][e];
      visit(at_row, at_unit, of_gates);
    }
  }
}

/// Blocks of a step.
inline int64_t step_blocks(const Recurrence& r) {
  return ceil_div(r.batch, kStepRows) * ceil_div(r.units, kStepUnits);
}

/// Of x or the gates [batch, time, gates] and the weights [gates, units].
inline Recurrence recurrence_of(const Tensor& gates, const Tensor& weights) {
  return {gates.dims[0], gates.dims[1], weights.dims[1], gates.dims[2]};
}

/// The states y before step `t` times the weights, by gate.
inline StepProduct forward_product(const Recurrence& r, const float* y, const float* weights,
                                   int64_t t) {
  return {t == 0 ? nullptr : y + (t - 1) * r.units,
          weights,
          r.batch,
          r.time * r.units,
          r.units,
          r.units,
          1};
}

/// The gates' gradients after step `t` times the weights, by unit.
inline StepProduct backward_product(const Recurrence& r, const float* gradients,
                                    const float* weights, int64_t t) {
  return {t + 1 == r.time ? nullptr : gradients + (t + 1) * r.gates,
          weights,
          r.batch,
          r.time * r.gates,
          r.gates,
          1,
          r.units};
}

/// A kernel for each step, in order: `states` is where they leave theirs.
template <typename Params>
void launch_forward(Launch& launch, void (*kernel)(Params, StepProduct, int64_t), const Params& p,
                    const float* states, const float* weights) {
  for (int64_t t = 0; t < p.r.time && !launch.measuring(); ++t) {
    launch.kernel(kernel, step_blocks(p.r), kStepThreads, p,
                  forward_product(p.r, states, weights, t), t);
  }
}

/// The same from the last step to the first: `gradients` of the gates.
template <typename Params>
void launch_backward(Launch& launch, void (*kernel)(Params, StepProduct, int64_t), const Params& p,
                     const float* gradients, const float* weights) {
  for (int64_t t = p.r.time - 1; t >= 0 && !launch.measuring(); --t) {
    launch.kernel(kernel, step_blocks(p.r), kStepThreads, p,
                  backward_product(p.r, gradients, weights, t), t);
  }
}

}  // namespace tandem::cuda
