// fusedMatmul(a, b, bias?, saved?, residual?): a matrix product with its epilogue. The fusion pass
// makes it.
//   y = act(a * b + residual + bias), and the value before the activation as output 1 when
//   `save_pre`;
//   or y = act'(a * b + residual; saved): the derivative of an activation at `saved`, times the
//   sum.
#pragma once

#include "core/ops/matmul.h"

namespace tandem::ops {

struct FusedMatMul : Base {
  static constexpr uint32_t kFlags = kInternal;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 5;
  static constexpr size_t kResidual = 4;  ///< input
  static constexpr uint32_t kInPlace = 1U << kResidual;

  struct Attributes {
    ElementwiseAttributes activation_attributes{0.0F, 0.0F};
    int32_t activation = -1;  ///< a unary Op, with `gradient` a gradient's Op, or -1
    bool gradient = false;    ///< the epilogue is a derivative that reads input `saved`
    bool trans_a = false;
    bool trans_b = false;
    bool linear = false;  ///< a is [..., k], flattened to rows, and b is one [n, k] matrix
    bool save_pre = false;
    bool bf16 = false;  ///< see core/precision.h
    bool fp16 = false;  ///< the same
  };

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    Shape shape;
    if (attributes.linear) {
      shape = context.shape(0);
      shape.back() = context.shape(1)[0];
    } else {
      shape = MatMul::product_shape(context.shape(0), context.shape(1), attributes.trans_a,
                                    attributes.trans_b);
    }
    if (context.has_input(kResidual) && context.shape(kResidual) != shape)
      context.bad_shape("a residual of y's shape");
    context.output(shape);
    if (attributes.save_pre) context.output(shape);
  }
};

}  // namespace tandem::ops
