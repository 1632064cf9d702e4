// matmul(a, b): batched matrix product over the last two axes; the axes before them broadcast.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct MatMul : Base {
  struct Attributes {
    bool trans_a = false;
    bool trans_b = false;
    bool bf16 = false;  ///< see core/precision.h
    bool fp16 = false;  ///< the same
  };
  static constexpr AttributeField kFieldTable[] = {
      {"transA", AttributeType::kBoolean, offsetof(Attributes, trans_a), false},
      {"transB", AttributeType::kBoolean, offsetof(Attributes, trans_b), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;
  static constexpr std::string_view kInputNames = "a b";
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  /// The product's shape, or an empty one when the operands do not fit.
  static Shape product_shape(const Shape& a, const Shape& b, bool trans_a, bool trans_b) {
    if (a.size() < 2 || b.size() < 2) return {};
    const size_t ra = a.size();
    const size_t rb = b.size();
    const int64_t inner_a = a[trans_a ? ra - 2 : ra - 1];
    const int64_t inner_b = b[trans_b ? rb - 1 : rb - 2];
    if (inner_a != inner_b) return {};
    std::optional<Shape> shape =
        broadcast_shapes({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
    if (!shape) return {};
    shape->push_back(a[trans_a ? ra - 1 : ra - 2]);
    shape->push_back(b[trans_b ? rb - 2 : rb - 1]);
    return *shape;
  }

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    const Shape shape =
        product_shape(context.shape(0), context.shape(1), attributes.trans_a, attributes.trans_b);
    if (shape.empty()) context.bad_shape("a [..., m, k] and b [..., k, n]");
    context.output(shape);
  }

  static Expr product(const Expr& a, const Expr& b, bool trans_a, bool trans_b) {
    return apply(Op::matmul, {a, b}, {{"transA", trans_a}, {"transB", trans_b}});
  }

  static void grad(GradContext& context) {
    const auto attributes = context.attributes<Attributes>();
    const Expr a = context.input(0);
    const Expr b = context.input(1);
    const Expr dy = context.dy();
    if (context.wants(0)) {
      const Expr da = attributes.trans_a ? product(b, dy, attributes.trans_b, true)
                                         : product(dy, b, false, !attributes.trans_b);
      context.set(0, sum_to(da, shape_of(a.tensor())));
    }
    if (context.wants(1)) {
      const Expr db = attributes.trans_b ? product(dy, a, true, attributes.trans_a)
                                         : product(a, dy, !attributes.trans_a, false);
      context.set(1, sum_to(db, shape_of(b.tensor())));
    }
  }
};

}  // namespace tandem::ops
