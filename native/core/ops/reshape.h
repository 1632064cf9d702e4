// reshape(x, {shape}) and flatten(x): the same elements under another shape; no kernel runs.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Reshape : Base {
  static constexpr uint32_t kAnyDType = 1;
  struct Attributes {
    IntList shape{};  ///< one dimension may be -1: what remains
  };
  static constexpr AttributeField kFieldTable[] = {
      {"shape", AttributeType::kIntList, offsetof(Attributes, shape), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr uint32_t kFlags = kAlias;

  static void infer(InferContext& context) {
    Shape shape = to_shape(context.attributes<Attributes>().shape);
    int64_t known = 1;
    int64_t* open = nullptr;
    for (int64_t& dim : shape) {
      if (dim == -1 && open == nullptr) {
        open = &dim;
      } else if (dim < 0) {
        context.bad_shape("a shape with at most one -1");
      } else {
        known = checked_mul(known, dim);
      }
    }
    const int64_t count = context.input(0).numel;
    if (open != nullptr && known != 0 && count % known == 0) {
      *open = count / known;
      known = count;
    } else if (open != nullptr) {
      known = -1;
    }
    if (known != count) {
      context.bad_shape("as many elements as " +
                        to_string(to_shape(context.attributes<Attributes>().shape)));
    }
    context.output(shape, context.input(0).dtype);
  }

  static void grad(GradContext& context) {
    context.set(0, reshape(context.dy(), shape_of(context.input(0).tensor())));
  }
};

}  // namespace tandem::ops
