// layerNorm(x, w?, b?, r?, {eps}) (Ba, Kiros and Hinton 2016) and rmsNorm(x, w?, none, r?, {eps})
// (Zhang and Sennrich 2019) over the last axes, those that w or b have, or the last one alone. With
// a residual r, which fusion puts in where the sum was an op of its own, x + r is what is
// normalised.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/ops/base.h"

namespace tandem::ops {

struct RowNormAttributes {
  float epsilon = 1e-5F;
};

struct RowNormBase : Base {
  using Attributes = RowNormAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"eps", AttributeType::kFloat, offsetof(Attributes, epsilon), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr int kMaxInputs = 4;
  static constexpr uint32_t kInPlace = 1 | 8;
  static constexpr size_t kResidual = 3;  ///< input

  /// The axes that are kept: one row each.
  static Shape rows_of(const InferContext& context) {
    const Shape x = context.shape(0);
    const size_t given = context.has_input(1) ? 1 : 2;
    const Shape normal =
        context.has_input(given) ? context.shape(given) : Shape{x.empty() ? 0 : x.back()};
    const bool fits =
        !normal.empty() && normal.size() <= x.size() &&
        std::equal(normal.rbegin(), normal.rend(), x.rbegin()) &&
        (!context.has_input(1) || !context.has_input(2) || context.shape(1) == context.shape(2));
    if (!fits) context.bad_shape("x [..., n] and weights [n] of its last axes");
    if (make_tensor(normal, DType::kFloat32).numel == 0)
      context.bad_shape("at least one element in a row");
    return {x.begin(), x.end() - static_cast<std::ptrdiff_t>(normal.size())};
  }

  static void infer_rows(InferContext& context, int statistics) {
    const float epsilon = context.attributes<Attributes>().epsilon;
    if (!(epsilon >= 0.0F && std::isfinite(epsilon))) {
      fail(ErrorCode::kArgument, std::string("expected `eps` of 0 or more for ") +
                                     name(context.op()) + ", received " + std::to_string(epsilon));
    }
    const Shape rows = rows_of(context);
    const Shape shape = context.shape(0);
    if (context.has_input(kResidual) && context.shape(kResidual) != shape)
      context.bad_shape("x and a residual of one shape");
    context.output(shape);
    for (int i = 0; i < statistics; ++i) context.output(rows);
    if (context.has_input(kResidual)) context.output(shape);
  }

  /// Of what was normalised, from the gradient of y; x and the residual share it.
  static void grad_rows(GradContext& context, Op op, int statistics);
};

/// Outputs: y, the rows' means and inverse deviations and, with a residual, the sum.
struct LayerNorm : RowNormBase {
  static constexpr std::string_view kInputNames = "x w b residual";
  static void infer(InferContext& context) { infer_rows(context, 2); }
  static void grad(GradContext& context) { grad_rows(context, Op::layerNormGrad, 2); }
};

/// Outputs: y, one over the rows' root mean squares and, with a residual, the sum.
struct RmsNorm : RowNormBase {
  static constexpr std::string_view kInputNames = "x w b residual";
  static void infer(InferContext& context) {
    if (context.has_input(2)) context.bad_shape("no bias");
    infer_rows(context, 1);
  }
  static void grad(GradContext& context) { grad_rows(context, Op::rmsNormGrad, 1); }
};

/// (dy, x, w?, residual?, statistics...) -> dx, plus the residual, which is the gradient that
/// reaches x along another way; dw and db where wanted.
struct RowNormGradBase : Base {
  struct Attributes {
    bool dw = false;
    bool db = false;
    int64_t length = 0;  ///< of a row
  };
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 1 | 2 | 8;
  static constexpr size_t kResidual = 3;  ///< input

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    context.output(context.shape(1));
    if (attributes.dw) context.output({attributes.length});
    if (attributes.db) context.output({attributes.length});
  }
};

struct LayerNormGrad : RowNormGradBase {
  static constexpr int kMinInputs = 6;
  static constexpr int kMaxInputs = 6;
};

struct RmsNormGrad : RowNormGradBase {
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
};

inline void RowNormBase::grad_rows(GradContext& context, Op op, int statistics) {
  Graph& graph = context.graph();
  const bool fused = !context.input(kResidual).empty();
  const size_t sum = static_cast<size_t>(statistics) + 1;
  const Expr x = fused ? context.output(sum) : context.input(0);
  const Expr onward = fused ? context.dy(sum) : Expr();
  if (context.dy().empty()) {
    context.set(0, onward);
    if (fused) context.set(kResidual, onward);
    return;
  }
  const Expr w = context.input(1);
  const Expr b = context.input(2);
  AttributeStorage storage = make_attributes(op, {});
  auto& attributes = *reinterpret_cast<RowNormGradBase::Attributes*>(storage.bytes.data());
  attributes.dw = context.wants(1);
  attributes.db = context.wants(2);
  attributes.length = !w.empty()   ? w.tensor().numel
                      : !b.empty() ? b.tensor().numel
                                   : shape_of(x.tensor()).back();
  const Expr dx =
      statistics == 2
          ? apply(op, {context.dy(), x, w, onward, context.output(1), context.output(2)}, storage)
          : apply(op, {context.dy(), x, w, onward, context.output(1)}, storage);
  const std::vector<ValueId> outputs = graph.producer(dx.id())->outputs;
  context.set(0, dx);
  if (fused) context.set(kResidual, dx);
  size_t next = 1;
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (!context.wants(i)) continue;
    const Expr gradient(graph, outputs[next++]);
    context.set(i, reshape(gradient, shape_of(context.input(i).tensor())));
  }
}

}  // namespace tandem::ops
