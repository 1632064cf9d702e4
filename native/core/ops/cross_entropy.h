// crossEntropy(x, target, classWeights?, weights?, divisor, {labelSmoothing, ignoreIndex}): softmax
// cross-entropy of logits x [..., classes] with class numbers target [...]: the sum over targets
// that are not ignored, each with its class's weight and its own (of the shape of target or the
// first of its axes), by the divisor, which is countTargets of the same for a mean as in PyTorch's
// cross_entropy. With `weights` it is 0 where the divisor is.
#pragma once

#include "core/ops/base.h"
#include "core/ops/weights.h"

namespace tandem::ops {

struct CrossEntropyAttributes {
  int64_t ignore_index = -100;
  float label_smoothing = 0.0F;
};

struct CrossEntropyBase : Base {
  static constexpr uint32_t kAnyDType = 2;
  using Attributes = CrossEntropyAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"ignoreIndex", AttributeType::kInteger, offsetof(Attributes, ignore_index), false},
      {"labelSmoothing", AttributeType::kFloat, offsetof(Attributes, label_smoothing), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;

  static void check(InferContext& context) {
    constexpr size_t kGiven = 4;  // the divisor is the library's own
    const Shape x = context.shape(0);
    context.expect_dtype(1, DType::kInt32);
    if (x.empty() || x.back() == 0 || context.shape(1) != Shape(x.begin(), x.end() - 1)) {
      context.bad_shape("logits [..., classes] and targets [...]", kGiven);
    }
    if (context.has_input(2) && context.shape(2) != Shape{x.back()})
      context.bad_shape("class weights [classes]", kGiven);
    check_weights(context, 3, context.shape(1));
    check_divisor(context, 4);
    const float smoothing = context.attributes<Attributes>().label_smoothing;
    if (!(smoothing >= 0.0F && smoothing <= 1.0F)) {
      fail(ErrorCode::kArgument,
           "expected `labelSmoothing` in [0, 1], received " + std::to_string(smoothing));
    }
  }
};

struct CrossEntropy : CrossEntropyBase {
  static constexpr std::string_view kInputNames = "x target classWeights weights divisor";
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;

  static void infer(InferContext& context) {
    check(context);
    context.output({});
  }

  static void grad(GradContext& context) {
    if (!context.wants(0)) return;
    context.set(0, apply(Op::crossEntropyGrad,
                         {context.input(0), context.input(1), context.input(2), context.input(3),
                          context.input(4), context.dy()},
                         context.node().attributes));
  }
};

/// (x, target, classWeights?, weights?, divisor, dy) -> dx
struct CrossEntropyGrad : CrossEntropyBase {
  static constexpr int kMinInputs = 6;
  static constexpr int kMaxInputs = 6;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    check(context);
    context.output(context.shape(0));
  }
};

/// (x, target, classWeights?, weights?, divisor) -> the loss and its gradient in one pass over the
/// logits.
struct SoftmaxCrossEntropy : CrossEntropyBase {
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;

  static void infer(InferContext& context) {
    check(context);
    context.output({});
    context.output(context.shape(0));
  }
};

}  // namespace tandem::ops
