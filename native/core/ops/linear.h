// linear(x, w, b?): y = x * w^T + b over the last axis of x; w is [out, in], b is [out].
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Linear : Base {
  struct Attributes {
    bool bf16 = false;  ///< see core/precision.h
    bool fp16 = false;  ///< the same
  };
  static constexpr std::string_view kInputNames = "x w b";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 3;

  static void infer(InferContext& context) {
    Shape shape = context.shape(0);
    const Shape weight = context.shape(1);
    if (shape.empty() || weight.size() != 2 || weight[1] != shape.back()) {
      context.bad_shape("x [..., in] and w [out, in]");
    }
    if (context.has_input(2) && context.shape(2) != Shape{weight[0]}) context.bad_shape("b [out]");
    shape.back() = weight[0];
    context.output(shape);
  }

  static void grad(GradContext& context) {
    const Expr x = context.input(0);
    const Expr w = context.input(1);
    const Expr dy = context.dy();
    const Shape weight = shape_of(w.tensor());
    const int64_t rows = weight[0] == 0 ? 0 : dy.tensor().numel / weight[0];
    const Expr dy2 = reshape(dy, {rows, weight[0]});
    if (context.wants(0)) {
      context.set(0, reshape(apply(Op::matmul, {dy2, w}), shape_of(x.tensor())));
    }
    if (context.wants(1)) {
      context.set(1, apply(Op::matmul, {dy2, reshape(x, {rows, weight[1]})}, {{"transA", true}}));
    }
    if (context.wants(2)) context.set(2, sum(dy2, make_list({0}), false));
  }
};

}  // namespace tandem::ops
