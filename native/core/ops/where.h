// where(c, a, b): a where c is not zero (NaN is not), b elsewhere; the three broadcast. a and b are
// both float32 or both int32.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Where : Base {
  static constexpr uint32_t kAnyDType = 7;
  static constexpr uint32_t kInPlace = 7;
  static constexpr std::string_view kInputNames = "condition a b";
  static constexpr int kMinInputs = 3;
  static constexpr int kMaxInputs = 3;

  static void infer(InferContext& context) {
    const DType dtype = context.input(1).dtype;
    if (dtype != DType::kInt32) context.expect_dtype(1, DType::kFloat32);
    context.expect_dtype(2, dtype);
    context.output(
        context.broadcast(context.shape(0), context.broadcast(context.shape(1), context.shape(2))),
        dtype);
  }

  static void grad(GradContext& context) {
    const Expr c = context.input(0);
    const Expr zero(context.graph(), context.graph().scalar(0.0F));
    if (context.wants(1)) {
      const Expr da = apply(Op::where, {c, context.dy(), zero});
      context.set(1, sum_to(da, shape_of(context.input(1).tensor())));
    }
    if (context.wants(2)) {
      const Expr db = apply(Op::where, {c, zero, context.dy()});
      context.set(2, sum_to(db, shape_of(context.input(2).tensor())));
    }
  }
};

}  // namespace tandem::ops
