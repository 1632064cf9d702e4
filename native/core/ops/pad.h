// pad(x, {before, after, value}): before[i] elements of `value` in front of axis i, after[i]
// behind.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/ops/base.h"

namespace tandem::ops {

struct PadAttributes {
  IntList before{};
  IntList after{};
  double value = 0.0;
};

struct Pad : Base {
  static constexpr uint32_t kAnyDType = 1;
  using Attributes = PadAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"before", AttributeType::kIntList, offsetof(Attributes, before), true},
      {"after", AttributeType::kIntList, offsetof(Attributes, after), true},
      {"value", AttributeType::kDouble, offsetof(Attributes, value), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 3;

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    Shape shape = context.shape(0);
    const Shape before = to_shape(attributes.before);
    const Shape after = to_shape(attributes.after);
    if (before.size() != shape.size() || after.size() != shape.size()) {
      fail(ErrorCode::kArgument, "expected `pads` for each of " + std::to_string(shape.size()) +
                                     " axes of pad, received " + std::to_string(before.size()) +
                                     " before and " + std::to_string(after.size()) + " after");
    }
    for (size_t i = 0; i < shape.size(); ++i) {
      if (before[i] < 0 || after[i] < 0) {
        fail(ErrorCode::kArgument, "expected `pads` of 0 or more, received [" +
                                       std::to_string(before[i]) + ", " + std::to_string(after[i]) +
                                       "]");
      }
      shape[i] = checked_add(checked_add(shape[i], before[i]), after[i]);
    }
    const bool whole = attributes.value == std::trunc(attributes.value) &&
                       attributes.value >= INT32_MIN && attributes.value <= INT32_MAX;
    if (context.input(0).dtype == DType::kInt32 && !whole) {
      fail(ErrorCode::kArgument, "expected a `value` that is an int32 for pad, received " +
                                     std::to_string(attributes.value));
    }
    context.output(shape, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    const auto attributes = context.attributes<Attributes>();
    const Tensor x = context.input(0).tensor();
    Expr dx = context.dy();
    for (int32_t i = 0; i < x.rank; ++i) {
      const int64_t start = attributes.before.values[i];
      if (start == 0 && attributes.after.values[i] == 0) continue;
      dx = apply(Op::slice, {dx},
                 {{"axis", static_cast<double>(i)},
                  {"start", static_cast<double>(start)},
                  {"end", static_cast<double>(start + x.dims[i])}});
    }
    context.set(0, dx);
  }
};

}  // namespace tandem::ops
