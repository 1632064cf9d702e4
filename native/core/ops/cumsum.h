// cumsum(x, {axis}): the sums of all elements up to each one along an axis; from the other end when
// `reverse`, which is the gradient of the plain form.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct CumSum : Base {
  static constexpr uint32_t kInPlace = 1;
  struct Attributes {
    int64_t axis = -1;
    bool reverse = false;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
      {"reverse", AttributeType::kBoolean, offsetof(Attributes, reverse), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    const Shape shape = context.shape(0);
    attributes.axis = context.axis(attributes.axis);
    context.output(shape);
  }

  static void grad(GradContext& context) {
    const auto attributes = context.attributes<Attributes>();
    context.set(0, apply(Op::cumsum, {context.dy()},
                         {{"axis", static_cast<double>(attributes.axis)},
                          {"reverse", !attributes.reverse}}));
  }
};

}  // namespace tandem::ops
