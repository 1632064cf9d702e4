// fusedConv(x, w, bias?, residual?): a convolution, or a transposed one, with its epilogue, y =
// act(x
// * w + bias + residual), and the value before the activation as output 1 when `save_pre`, which
// goes without a residual. The fusion pass makes it.
#pragma once

#include "core/ops/conv.h"

namespace tandem::ops {

struct FusedConv : ConvBase {
  static constexpr uint32_t kFlags = kInternal;
  static constexpr int kMaxInputs = 4;
  static constexpr size_t kResidual = 3;  ///< input

  struct Attributes {
    ConvAttributes conv;
    ElementwiseAttributes activation_attributes{0.0F, 0.0F};
    int32_t activation = -1;  ///< a unary Op, or -1
    bool save_pre = false;
    bool transposed = false;  ///< what convTranspose2d computes
  };

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    const bool save_pre = attributes.save_pre;
    if (attributes.transposed) {
      infer_transposed(context, 4);
    } else {
      infer_conv(context, context.shape(0).size() == 3 ? 3 : 4);
    }
    const Shape y = shape_of(context.outputs()[0]);
    if (context.has_input(kResidual) && (save_pre || context.shape(kResidual) != y))
      context.bad_shape("a residual of y's shape");
    if (save_pre) context.output(y);
  }
};

}  // namespace tandem::ops
