// accuracy(x, target): the share of rows of x [..., classes] whose largest entry is at the class
// number target [...]; rows of a negative target do not count. With one class, x is a logit and is
// right when its sign agrees with the target (0 or 1).
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Accuracy : Base {
  static constexpr uint32_t kAnyDType = 2;
  static constexpr std::string_view kInputNames = "x target";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) {
    const Shape x = context.shape(0);
    if (x.empty() || x.back() == 0) context.bad_shape("scores [..., classes] and targets [...]");
    const Shape rows(x.begin(), x.end() - 1);
    const Shape target = context.shape(1);
    if (target != rows && !(x.back() == 1 && target == x)) {
      context.bad_shape("scores [..., classes] and targets [...]");
    }
    context.output({});
  }
};

}  // namespace tandem::ops
