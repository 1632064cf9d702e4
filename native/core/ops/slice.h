// slice(x, {axis, start, end, step}): elements start, start + step, ... before end, as in Python;
// negative positions count from the end. step >= 1.
#pragma once

#include <algorithm>

#include "core/ops/base.h"

namespace tandem::ops {

struct SliceAttributes {
  int64_t axis = 0;
  int64_t start = 0;
  int64_t end = INT64_MAX;
  int64_t step = 1;
  int64_t length = 0;  ///< of the sliced axis in x; sliceGrad needs it
};

struct Slice : Base {
  static constexpr uint32_t kAnyDType = 1;
  using Attributes = SliceAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
      {"start", AttributeType::kInteger, offsetof(Attributes, start), false},
      {"end", AttributeType::kInteger, offsetof(Attributes, end), false},
      {"step", AttributeType::kInteger, offsetof(Attributes, step), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    Shape shape = context.shape(0);
    attributes.axis = context.axis(attributes.axis);
    if (attributes.step < 1) {
      fail(ErrorCode::kArgument,
           "expected `step` of 1 or more for slice, received " + std::to_string(attributes.step));
    }
    int64_t& length = shape[static_cast<size_t>(attributes.axis)];
    const auto clip = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 ? at + length : at, 0, length);
    };
    attributes.start = clip(attributes.start);
    attributes.end = std::max(clip(attributes.end), attributes.start);
    attributes.length = length;
    length = (attributes.end - attributes.start + attributes.step - 1) / attributes.step;
    context.output(shape, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    context.set(0, apply(Op::sliceGrad, {context.dy()}, context.node().attributes));
  }
};

/// dy placed into zeros of x's shape.
struct SliceGrad : Base {
  using Attributes = SliceAttributes;
  static constexpr uint32_t kFlags = kInternal;

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    Shape shape = context.shape(0);
    shape[static_cast<size_t>(attributes.axis)] = attributes.length;
    context.output(shape);
  }
};

}  // namespace tandem::ops
