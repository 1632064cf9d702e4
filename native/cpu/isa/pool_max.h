// Maxima of the windows of a plane with their places, and gradients on their way back there. Of
// equal elements the first one of a window counts, a NaN always does, as in PyTorch.
#pragma once

#include "cpu/isa/pool.h"

namespace tandem::cpu::TANDEM_ISA_NS {

struct MaxPooling : Pooling {
  bool pairs;  ///< windows of 2 x 2 side by side, which most networks have
};
MaxPooling max_pooling_of(const ops::PoolAttributes& attributes, const Tensor& x, const Tensor& y);

/// `at`: places in the plane; null where they are not wanted.
void max_of_plane(const MaxPooling& p, const float* x, float* y, int32_t* at);

/// Zeros, and at each place the sum of the dy that belong there, in their order.
void spread_plane(const MaxPooling& p, const float* dy, const int32_t* at, float* dx);

/// x where its maxima are.
void find_values(const MaxPooling& p, const float* x, const int32_t* at, float* values);

/// What the planes cost together, for emit_step().
double max_cost(const MaxPooling& p);
double spread_cost(const MaxPooling& p);

}  // namespace tandem::cpu::TANDEM_ISA_NS
