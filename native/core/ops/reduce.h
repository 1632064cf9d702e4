// sum, mean, max, min, variance(x, {axes, keepDims}): reductions over some axes, all by default.
// The variance divides by n. Equal extremes share the gradient, as in PyTorch's amax.
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct ReduceAttributes {
  IntList axes{};
  bool keep_dims = false;
};

struct Reduce : Base {
  using Attributes = ReduceAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"axes", AttributeType::kIntList, offsetof(Attributes, axes), false},
      {"keepDims", AttributeType::kBoolean, offsetof(Attributes, keep_dims), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    const Shape shape = context.shape(0);
    attributes.axes = context.axes(attributes.axes, "axes");
    Shape out = kept_shape(shape, attributes.axes);
    if (!attributes.keep_dims) {
      Shape squeezed;
      int next = 0;
      for (size_t i = 0; i < shape.size(); ++i) {
        if (next < attributes.axes.count &&
            attributes.axes.values[next] == static_cast<int64_t>(i)) {
          ++next;
        } else {
          squeezed.push_back(shape[i]);
        }
      }
      out = squeezed;
    }
    context.output(out);
  }

  /// The shape with 1 at the reduced axes.
  static Shape kept_shape(Shape shape, const IntList& axes) {
    for (int i = 0; i < axes.count; ++i) shape[static_cast<size_t>(axes.values[i])] = 1;
    return shape;
  }

  static float count(const Tensor& x, const IntList& axes) {
    double n = 1;
    for (int i = 0; i < axes.count; ++i) n *= static_cast<double>(x.dims[axes.values[i]]);
    return static_cast<float>(n);
  }

  /// `e`, of the reduced shape, spread over the input's shape.
  static Expr spread(GradContext& context, const Expr& e) {
    const Shape shape = shape_of(context.input(0).tensor());
    return broadcast_to(reshape(e, kept_shape(shape, context.attributes<Attributes>().axes)),
                        shape);
  }
};

struct Sum : Reduce {
  static void grad(GradContext& context) { context.set(0, spread(context, context.dy())); }
};

struct Mean : Reduce {
  static void grad(GradContext& context) {
    const float n = count(context.input(0).tensor(), context.attributes<Attributes>().axes);
    context.set(0, spread(context, context.dy() * (1.0F / n)));
  }
};

struct Extreme : Reduce {
  static void grad(GradContext& context) {
    const Attributes attributes = context.attributes<Attributes>();
    const Expr hit = equal_(context.input(0), spread(context, context.output()));
    const Expr hits = sum(hit, attributes.axes, true);
    const Expr dy = reshape(context.dy(), shape_of(hits.tensor()));
    context.set(0, hit * (dy / hits));
  }
};

struct Max : Extreme {};
struct Min : Extreme {};

struct Variance : Reduce {
  static void grad(GradContext& context) {
    const Attributes attributes = context.attributes<Attributes>();
    const Expr x = context.input(0);
    const float n = count(x.tensor(), attributes.axes);
    const Expr mean =
        apply(Op::mean, {x},
              {{"axes", std::vector<double>(attributes.axes.values,
                                            attributes.axes.values + attributes.axes.count)},
               {"keepDims", true}});
    context.set(0, spread(context, context.dy() * (2.0F / n)) * (x - mean));
  }
};

}  // namespace tandem::ops
