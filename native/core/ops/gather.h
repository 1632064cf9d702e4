// gather(x, index, {axis}): y[.., i, ..] = x[.., index[.., i, ..], ..] along an axis, where index
// (int32) has the shape of x but for the axis. Numbers outside of the axis read nothing: they give
// NaN, or 0 where x is int32.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct GatherAttributes {
  int64_t axis = 0;
  int64_t length = 0;  ///< of the axis in x; gatherGrad needs it
};

struct Gather : Base {
  static constexpr uint32_t kAnyDType = 3;
  static constexpr std::string_view kInputNames = "x index";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  using Attributes = GatherAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    context.expect_dtype(1, DType::kInt32);
    const Shape x = context.shape(0);
    Shape index = context.shape(1);
    if (index.size() != x.size()) context.bad_shape("x and an index of one rank");
    attributes.axis = context.axis(attributes.axis);
    const auto axis = static_cast<size_t>(attributes.axis);
    attributes.length = x[axis];
    index[axis] = x[axis];
    if (index != x) context.bad_shape("x and an index of one shape in all dimensions but the axis");
    context.output(context.shape(1), context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    context.set(0,
                apply(Op::gatherGrad, {context.input(1), context.dy()}, context.node().attributes));
  }
};

/// (index, dy) -> dx: dy added up where it was read from, in the order of the axis.
struct GatherGrad : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kInternal;
  using Attributes = GatherAttributes;

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    Shape shape = context.shape(1);
    shape[static_cast<size_t>(attributes.axis)] = attributes.length;
    context.output(shape);
  }
};

}  // namespace tandem::ops
