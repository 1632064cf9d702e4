// dropout(x, {rate, seed}): zeroes elements with probability `rate` and scales the others by
// 1 / (1 - rate) while training; identity otherwise. The mask is a function of the step's seed, the
// step's number, this op's seed and the element's position alone (Philox 4x32-10, Salmon et al.
// 2011), so that the backward pass applies the same op again and no mask is stored.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Dropout : Base {
  struct Attributes {
    int64_t seed = 0;
    float rate = 0.5F;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"rate", AttributeType::kFloat, offsetof(Attributes, rate), false},
      {"seed", AttributeType::kInteger, offsetof(Attributes, seed), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;
  static constexpr uint32_t kFlags = kTrainingOnly;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    const float rate = context.attributes<Attributes>().rate;
    if (!(rate >= 0.0F && rate < 1.0F)) {
      fail(ErrorCode::kArgument,
           "expected `rate` in [0, 1) for dropout, received " + std::to_string(rate));
    }
    context.output(context.shape(0));
  }

  static void grad(GradContext& context) {
    context.set(0, apply(Op::dropout, {context.dy()}, context.node().attributes));
  }
};

}  // namespace tandem::ops
