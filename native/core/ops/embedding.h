// embedding(index, w): rows of w [count, dim] by their numbers: index [...] (int32) gives
// [..., dim]. Numbers outside [0, count) read nothing and give NaN.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Embedding : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr std::string_view kInputNames = "index w";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) {
    context.expect_dtype(0, DType::kInt32);
    Shape shape = context.shape(0);
    const Shape weight = context.shape(1);
    if (weight.size() != 2) context.bad_shape("index [...] and w [count, dim]");
    shape.push_back(weight[1]);
    context.output(shape);
  }

  static void grad(GradContext& context) {
    if (!context.wants(1)) return;
    const auto count = static_cast<double>(context.input(1).tensor().dims[0]);
    context.set(1, apply(Op::embeddingGrad, {context.input(0), context.dy()}, {{"count", count}}));
  }
};

/// (index, dy) -> dw [count, dim]: row i is the sum of the rows of dy whose index is i, in their
/// order. Indices outside add nothing.
struct EmbeddingGrad : Base {
  static constexpr uint32_t kAnyDType = 1;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kInternal;

  struct Attributes {
    int64_t count = 0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"count", AttributeType::kInteger, offsetof(Attributes, count), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;

  static void infer(InferContext& context) {
    context.output({context.attributes<Attributes>().count, context.shape(1).back()});
  }
};

}  // namespace tandem::ops
