// copy(x): x in memory of its own. Passes insert it where an output must not alias a leaf.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Copy : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr uint32_t kFlags = kInternal;
  static void infer(InferContext& context) {
    context.output(context.shape(0), context.input(0).dtype);
  }
  static void grad(GradContext& context) { context.set(0, context.dy()); }
};

}  // namespace tandem::ops
