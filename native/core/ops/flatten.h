// flatten(x): [n, ...] -> [n, the rest].
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Flatten : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr uint32_t kFlags = kAlias;

  static void infer(InferContext& context) {
    const Shape shape = context.shape(0);
    if (shape.empty()) context.bad_shape("x of at least one dimension");
    int64_t rest = 1;
    for (size_t i = 1; i < shape.size(); ++i) rest = checked_mul(rest, shape[i]);
    context.output({shape[0], rest}, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    context.set(0, reshape(context.dy(), shape_of(context.input(0).tensor())));
  }
};

}  // namespace tandem::ops
