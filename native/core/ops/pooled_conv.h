// pooledConv(x, w, bias?): maxPool2d with windows of 2 x 2 side by side of conv2d, or of relu of
// it, which has the same maxima. A pass makes it for inference, see core/fuse_pools.h.
#pragma once

#include "core/ops/conv.h"

namespace tandem::ops {

struct PooledConv : ConvBase {
  static constexpr uint32_t kFlags = kInternal;

  struct Attributes {
    ConvAttributes conv;
    bool relu = false;
  };

  /// Of the convolution, before its maxima are taken.
  static IntPair plane(const Shape& x, const Shape& w, const ConvAttributes& attributes) {
    const IntPair reached = reach(w, attributes);
    return {positions(x[2], reached.height, attributes.stride.height, attributes.padding.height),
            positions(x[3], reached.width, attributes.stride.width, attributes.padding.width)};
  }

  static void infer(InferContext& context) {
    const Shape y = check_conv(context, 4);
    if (y[2] < 2 || y[3] < 2) context.bad_shape("planes with a window of 2 x 2");
    context.output({y[0], y[1], y[2] / 2, y[3] / 2});
  }
};

}  // namespace tandem::ops
