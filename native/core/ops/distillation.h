// distillation(x, teacher, [weights, divisor], {temperature}): T^2 times the mean over rows of
// KL(softmax(teacher / T) || softmax(x / T)) along the last axis (Hinton, Vinyals and Dean 2015).
// Weights have the first axes of x but not its last; the divisor is their sum, and the loss 0 where
// that is. Teacher and weights count as constant: no gradient reaches them.
#pragma once

#include <cmath>

#include "core/ops/base.h"
#include "core/ops/weights.h"

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
  static constexpr std::string_view kInputNames = "x teacher weights divisor";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 4;

  static void infer(InferContext& context) {
    check(context);
    const Shape x = context.shape(0);
    check_weights(context, 2, Shape(x.begin(), x.end() - 1));
    if (context.has_input(2)) check_divisor(context, 3);
    context.output({});
  }

  static void grad(GradContext& context) {
    if (!context.wants(0)) return;
    context.set(0, apply(Op::distillationGrad,
                         {context.input(0), context.input(1), context.dy(), context.input(2),
                          context.input(3)},
                         context.node().attributes));
  }
};

/// (x, teacher, dy, [weights, divisor]) -> dx
struct DistillationGrad : DistillationBase {
  static constexpr int kMinInputs = 3;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    check(context);
    context.output(context.shape(0));
  }
};

}  // namespace tandem::ops
