// What convolution and pooling share: windows that slide over planes [height, width], or over
// lines, which are planes of height 1.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

/// Bounds of strides, paddings and dilations: what kernels compute with them fits their integers.
inline constexpr int64_t kLargestStep = int64_t{1} << 24;
/// Elements of a plane, so that a position in one fits an int32.
inline constexpr int64_t kLargestPlane = (int64_t{1} << 31) - 1;

inline void check_steps(const IntPair& pair, const char* name, int64_t smallest) {
  for (const int64_t value : {pair.height, pair.width}) {
    if (value >= smallest && value <= kLargestStep) continue;
    fail(ErrorCode::kArgument, "expected an integer from " + std::to_string(smallest) + " to " +
                                   std::to_string(kLargestStep) + " for `" + name + "`, received " +
                                   std::to_string(value));
  }
}

/// What a kernel of `size` reaches over: dilation * (size - 1) + 1.
inline int64_t reach_of(int64_t size, int64_t dilation) {
  return checked_add(checked_mul(dilation, size - 1), 1);
}

/// Positions of a window along an axis, 0 where it does not fit.
inline int64_t positions(int64_t size, int64_t reach, int64_t stride, int64_t padding) {
  const int64_t room = checked_add(size, 2 * padding) - reach;
  return room < 0 ? 0 : room / stride + 1;
}

/// Height and width of a tensor [n, c, w] or [n, c, h, w].
inline IntPair plane_of(const Shape& shape) {
  return {shape.size() == 4 ? shape[2] : 1, shape.back()};
}

/// Throws ERR_SHAPE for planes too large for the kernels' positions.
inline void check_plane(InferContext& context, const IntPair& plane) {
  if (checked_mul(plane.height, plane.width) > kLargestPlane)
    context.bad_shape("planes of fewer than 2^31 elements");
}

}  // namespace tandem::ops
