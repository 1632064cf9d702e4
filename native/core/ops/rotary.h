// rotary(x, positions?, {base, depth, columns}): rotary position embeddings, Su et al., "RoFormer:
// Enhanced Transformer with Rotary Position Embedding" (2021). x [..., time, width] holds heads of
// `depth` numbers side by side; in the first `columns` of each row, number i of a head and number i
// + depth / 2 turn by the angle position * base^(-2 i / depth). The pairing is that of GPT-NeoX and
// of Llama in Hugging Face's library. The gradient turns back. The position is that along `time`,
// or that in `positions` [..., time] (int32), one for each row of x.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct Rotary : Base {
  static constexpr std::string_view kInputNames = "x positions";
  struct Attributes {
    int64_t depth = 0;    ///< 0: the whole width
    int64_t columns = 0;  ///< 0: all
    double base = 10000;
    bool inverse = false;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"depth", AttributeType::kInteger, offsetof(Attributes, depth), false},
      {"columns", AttributeType::kInteger, offsetof(Attributes, columns), false},
      {"base", AttributeType::kDouble, offsetof(Attributes, base), false},
      {"inverse", AttributeType::kBoolean, offsetof(Attributes, inverse), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;
  static constexpr uint32_t kInPlace = 1;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kAnyDType = 2;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    const Shape shape = context.shape(0);
    if (shape.size() < 2) context.bad_shape("x [..., time, width]");
    const int64_t width = shape.back();
    if (attributes.depth == 0) attributes.depth = width;
    if (attributes.columns == 0) attributes.columns = width;
    const int64_t depth = attributes.depth;
    if (depth < 2 || depth % 2 != 0)
      context.bad_shape("x [..., time, width] with an even width for each head");
    if (attributes.columns < 0 || attributes.columns > width || attributes.columns % depth != 0)
      context.bad_shape("`columns` of whole heads within x");
    if (!(attributes.base > 0.0 && attributes.base < 1e30)) {
      fail(ErrorCode::kArgument, "expected `base` above 0 and below 1e30 for rotary, received " +
                                     std::to_string(attributes.base));
    }
    if (context.has_input(1)) {
      context.expect_dtype(1, DType::kInt32);
      if (context.shape(1) != Shape(shape.begin(), shape.end() - 1))
        context.bad_shape("x [..., time, width] and positions [..., time]");
    }
    context.output(shape);
  }

  static void grad(GradContext& context) {
    AttributeStorage attributes = context.node().attributes;
    auto& inverse = reinterpret_cast<Attributes*>(attributes.bytes.data())->inverse;
    inverse = !inverse;
    context.set(0, apply(Op::rotary, {context.dy(), context.input(1)}, attributes));
  }
};

}  // namespace tandem::ops
