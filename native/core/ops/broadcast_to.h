// broadcastTo(x, {shape}): x repeated along axes of length 1, as NumPy does.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct BroadcastTo : Base {
  struct Attributes {
    IntList shape{};
  };
  static constexpr AttributeField kFieldTable[] = {
      {"shape", AttributeType::kIntList, offsetof(Attributes, shape), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void infer(InferContext& context) {
    const Shape shape = to_shape(context.attributes<Attributes>().shape);
    if (broadcast_shapes(context.shape(0), shape) != shape) {
      context.bad_shape("a shape that broadcasts to " + to_string(shape));
    }
    context.output(shape);
  }

  static void grad(GradContext& context) {
    context.set(0, sum_to(context.dy(), shape_of(context.input(0).tensor())));
  }
};

}  // namespace tandem::ops
