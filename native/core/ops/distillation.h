// distillation(x, teacher, {temperature}): T^2 times the mean over rows of
// KL(softmax(teacher / T) || softmax(x / T)) along the last axis (Hinton, Vinyals and Dean 2015).
// The teacher counts as constant: no gradient reaches it.
#pragma once

#include <cmath>

#include "core/ops/base.h"

namespace tandem::ops {

struct DistillationAttributes {
  float temperature = 1.0F;
};

struct DistillationBase : Base {
  using Attributes = DistillationAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"temperature", AttributeType::kFloat, offsetof(Attributes, temperature), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void check(InferContext& context) {
    const Shape x = context.shape(0);
    if (x.empty() || x.back() == 0 || context.shape(1) != x)
      context.bad_shape("logits [..., classes] and a teacher's of one shape");
    const float temperature = context.attributes<Attributes>().temperature;
    if (!(temperature > 0.0F && std::isfinite(temperature))) {
      fail(ErrorCode::kArgument, "expected `temperature` above 0 for distillation, received " +
                                     std::to_string(temperature));
    }
  }
};

struct Distillation : DistillationBase {
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) {
    check(context);
    context.output({});
  }

  static void grad(GradContext& context) {
    if (!context.wants(0)) return;
    context.set(0, apply(Op::distillationGrad, {context.input(0), context.input(1), context.dy()},
                         context.node().attributes));
  }
};

/// (x, teacher, dy) -> dx
struct DistillationGrad : DistillationBase {
  static constexpr int kMinInputs = 3;
  static constexpr int kMaxInputs = 3;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    check(context);
    context.output(context.shape(0));
  }
};

}  // namespace tandem::ops
