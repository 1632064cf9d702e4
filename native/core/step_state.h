// What changes from step to step while a plan stays the same. Kernels read and write it in place
// (on a GPU it lies in device memory), so that a step needs no new arguments. Plain data.
#pragma once

#include <cstdint>

namespace tandem {

struct StepState {
  double learning_rate;
  uint64_t step;            ///< optimizer steps but for skipped ones, with this one: 1 in the first
  uint64_t seed;            ///< of dropout's random numbers
  float gradient_norm;      ///< written by gradientNorm
  float clip;               ///< factor on every gradient; 1 when nothing is clipped
  uint32_t skip;            ///< not 0: the optimizer must leave parameters and its state alone
  uint32_t part;            ///< micro-batches of this step before this one
  float weight = 1.0F;      ///< share of this micro-batch in the mean of those so far
  float loss_scale = 1.0F;  ///< factor on the gradients until the optimizer reads them
};

}  // namespace tandem
