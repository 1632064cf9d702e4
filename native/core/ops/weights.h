// What losses with weights have in common: how much elements or rows count, and the number that
// their weighted sum is divided by, which the graph computes and a trainer reads.
#pragma once

#include <algorithm>

#include "core/op.h"

namespace tandem::ops {

/// Throws ERR_SHAPE unless operand `i`, which may be left out, has the shape `like` or the first of
/// its axes.
inline void check_weights(InferContext& context, size_t i, const Shape& like) {
  if (!context.has_input(i)) return;
  const Shape shape = context.shape(i);
  if (shape.empty() || shape.size() > like.size() ||
      !std::equal(shape.begin(), shape.end(), like.begin())) {
    context.bad_shape("weights of the shape " + to_string(make_tensor(like, DType::kFloat32)) +
                          " or its first axes",
                      i + 1);
  }
}

/// Throws ERR_SHAPE unless operand `i` is one number.
inline void check_divisor(InferContext& context, size_t i) {
  if (!context.has_input(i) || context.input(i).numel != 1) context.bad_shape("one divisor");
}

}  // namespace tandem::ops
