// Declares the launchers: from this list come the table that the backend looks up, and a declared
// but missing kernel is a link error, unless missing.def says that it is still to be written.
#pragma once

#include "cuda/launch.h"

namespace tandem::cuda {

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  void launch_##name(Launch& launch);                                       \
  void launch_##name##Grad(Launch& launch);
#define BINARY(name, forward, gradient_a, gradient_b) void launch_##name(Launch& launch);
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  void launch_##name(Launch& launch);                           \
  void launch_##name##Grad(Launch& launch);                     \
  void launch_##name##GradTarget(Launch& launch);
#include "core/elementwise.def"
#define OP(name, Type) void launch_##name(Launch& launch);
#include "core/ops.def"

/// The launcher of an op, or null where missing.def names it.
LaunchFn launcher(Op op) noexcept;

/// What follows a matrix product z of `rows` x `columns`: y = act(z + bias), the value before the
/// activation to `pre`; or, for an activation's gradient, y = act'(z; saved). y and pre may lie on
/// z.
struct Epilogue {
  const float* z;
  Result y;
  int64_t rows, columns;
  const float* bias;   ///< null for none
  const float* saved;  ///< null for none
  float* pre;          ///< null for none
  int32_t activation;  ///< an Op; -1 for none
  bool gradient;
  float a, b;  ///< the activation's attributes
};
void launch_epilogue(Launch& launch, const Epilogue& epilogue);

/// Numbers of 16 bits of which rows of factors are a multiple.
inline constexpr int64_t kFactorRow = 8;

/// y[i] = x[i], rounded to nearest even, to bfloat16 or to float16, whose numbers beyond 65504 are
/// infinities.
/// x: rows of `columns`; y: rows of `along`, not less, whose ends are zeros.
struct Rounding {
  const float* x;
  void* y;
  int64_t rows, columns, along;
  bool bfloat16;
};
void launch_round(Launch& launch, const Rounding& rounding);

/// Rows of `columns` floats, `along` apart in `from`, side by side in `to`.
void launch_pack_rows(Launch& launch, const float* from, float* to, int64_t rows, int64_t columns,
                      int64_t along);

/// The optimizer's sweep over parts of the arenas; `squares` null where the norm is known before.
struct SweepOperands {
  float* parameters;
  const float* gradients;
  float* state;    ///< slots, each of `n`
  float* squares;  ///< a sum for each ops::kSweepTile elements
  int64_t n;
};
void launch_sweep(Launch& launch, Op optimizer, const void* attributes,
                  const SweepOperands& operands);

}  // namespace tandem::cuda
