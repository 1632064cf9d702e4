// fusedConv(x, w, bias?): a convolution with its epilogue, y = act(x * w + bias), and the value
// before the activation as output 1 when `save_pre`. The fusion pass makes it.
#pragma once

#include "core/ops/conv.h"

namespace tandem::ops {

struct FusedConv : ConvBase {
  static constexpr uint32_t kFlags = kInternal;

  struct Attributes {
    ConvAttributes conv;
    ElementwiseAttributes activation_attributes{0.0F, 0.0F};
    int32_t activation = -1;  ///< a unary Op, or -1
    bool save_pre = false;
  };

  static void infer(InferContext& context) {
    const bool save_pre = context.attributes<Attributes>().save_pre;
    infer_conv(context, context.shape(0).size() == 3 ? 3 : 4);
    if (save_pre) context.output(shape_of(context.outputs()[0]));
  }
};

}  // namespace tandem::ops
