// transpose(x, {perm}): axis i of the result is axis perm[i] of x; reversed by default.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Transpose : Base {
  static constexpr uint32_t kAnyDType = 1;
  struct Attributes {
    IntList perm{};
  };
  static constexpr AttributeField kFieldTable[] = {
      {"perm", AttributeType::kIntList, offsetof(Attributes, perm), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void infer(InferContext& context) {
    IntList& perm = context.attributes<Attributes>().perm;
    const Shape shape = context.shape(0);
    const auto rank = static_cast<int>(shape.size());
    if (perm.count == 0) {
      for (int i = rank; i-- > 0;) perm.values[perm.count++] = i;
    }
    if (perm.count != rank) {
      context.bad_shape("x with a dimension for each of `perm`, " + to_string(to_shape(perm)) +
                        ",");
    }
    for (int i = 0; i < rank; ++i) perm.values[i] = context.axis(perm.values[i], "perm");
    (void)context.axes(perm, "perm");
    Shape out;
    for (int i = 0; i < rank; ++i) out.push_back(shape[static_cast<size_t>(perm.values[i])]);
    context.output(out, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    const IntList perm = context.attributes<Attributes>().perm;
    std::vector<double> inverse(static_cast<size_t>(perm.count));
    for (int i = 0; i < perm.count; ++i) inverse[static_cast<size_t>(perm.values[i])] = i;
    context.set(0, apply(Op::transpose, {context.dy()}, {{"perm", inverse}}));
  }
};

}  // namespace tandem::ops
