// softmax, logSoftmax(x, {axis}) and their gradients as one op each, from the saved result.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct SoftmaxAttributes {
  int64_t axis = -1;
};

struct SoftmaxBase : Base {
  using Attributes = SoftmaxAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"axis", AttributeType::kInteger, offsetof(Attributes, axis), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    const Shape shape = context.shape(0);
    attributes.axis = context.axis(attributes.axis);
    context.output(shape);
  }
};

struct Softmax : SoftmaxBase {
  static void grad(GradContext& context) {
    context.set(
        0, apply(Op::softmaxGrad, {context.dy(), context.output()}, context.node().attributes));
  }
};

struct LogSoftmax : SoftmaxBase {
  static void grad(GradContext& context) {
    context.set(
        0, apply(Op::logSoftmaxGrad, {context.dy(), context.output()}, context.node().attributes));
  }
};

/// (dy, y) -> dx
struct SoftmaxGrad : SoftmaxBase {
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 3;
};

/// (dy, y) -> dx
struct LogSoftmaxGrad : SoftmaxGrad {};

}  // namespace tandem::ops
