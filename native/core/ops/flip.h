// flip(x, {axis}): the elements along an axis in reverse order, which is its own gradient.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Flip : Base {
  static constexpr uint32_t kAnyDType = 1;
  struct Attributes {
    int64_t axis = -1;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    const Shape shape = context.shape(0);
    attributes.axis = context.axis(attributes.axis);
    context.output(shape, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    context.set(0, apply(Op::flip, {context.dy()}, context.node().attributes));
  }
};

}  // namespace tandem::ops
