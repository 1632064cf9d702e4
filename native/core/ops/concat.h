// concat([a, b, ...], {axis}): joined along an axis.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Concat : Base {
  static constexpr std::string_view kInputNames = "values[]";
  static constexpr uint32_t kAnyDType = ~0U;
  struct Attributes {
    int64_t axis = 0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr int kMaxInputs = 1024;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    Shape shape = context.shape(0);
    attributes.axis = context.axis(attributes.axis);
    const auto axis = static_cast<size_t>(attributes.axis);
    for (size_t i = 1; i < context.input_count(); ++i) {
      context.expect_dtype(i, context.input(0).dtype);
      Shape next = context.shape(i);
      if (next.size() != shape.size()) context.bad_shape("operands of one rank");
      const int64_t length = next[axis];
      next[axis] = shape[axis];
      if (next != shape) context.bad_shape("operands equal in all dimensions but the axis");
      shape[axis] = checked_add(shape[axis], length);
    }
    context.output(shape, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    const int64_t axis = context.attributes<Attributes>().axis;
    int64_t start = 0;
    for (size_t i = 0; i < context.node().inputs.size(); ++i) {
      const int64_t end = start + context.input(i).tensor().dims[axis];
      if (context.wants(i)) {
        context.set(i, apply(Op::slice, {context.dy()},
                             {{"axis", static_cast<double>(axis)},
                              {"start", static_cast<double>(start)},
                              {"end", static_cast<double>(end)}}));
      }
      start = end;
    }
  }
};

}  // namespace tandem::ops
