// maxPool2d, avgPool2d(x, {kernel, stride, padding}) over planes of x [n, c, h, w], as PyTorch's:
// padding is smaller than any element for the one, zeros that count for the other.
#pragma once

#include "core/ops/window.h"

namespace tandem::ops {

struct PoolAttributes {
  IntPair kernel{0, 0};
  IntPair stride{0, 0};  ///< 0: that of the kernel
  IntPair padding{0, 0};
  IntPair plane{0, 0};        ///< of x, for gradients
  bool save_indices = false;  ///< of maxima: output 1, as positions in their plane
};

/// Of the pooled planes of x [n, c, h, w].
inline Shape pooled_shape(const Shape& x, const PoolAttributes& pool) {
  return {x[0], x[1], positions(x[2], pool.kernel.height, pool.stride.height, pool.padding.height),
          positions(x[3], pool.kernel.width, pool.stride.width, pool.padding.width)};
}

struct PoolBase : Base {
  using Attributes = PoolAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"kernel", AttributeType::kPair, offsetof(Attributes, kernel), true},
      {"stride", AttributeType::kPair, offsetof(Attributes, stride), false},
      {"padding", AttributeType::kPair, offsetof(Attributes, padding), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 3;

  static void infer(InferContext& context) {
    auto& attributes = context.attributes<Attributes>();
    auto& [kernel, stride, padding, plane, save] = attributes;
    if (stride.height == 0 && stride.width == 0) stride = kernel;
    check_steps(kernel, "kernel", 1);
    check_steps(stride, "stride", 1);
    check_steps(padding, "padding", 0);
    if (2 * padding.height > kernel.height || 2 * padding.width > kernel.width) {
      fail(ErrorCode::kArgument, "expected half of the kernel at most for `padding`, received " +
                                     to_string(Shape{padding.height, padding.width}));
    }
    const Shape x = context.shape(0);
    if (x.size() != 4 || x[2] < 1 || x[3] < 1) context.bad_shape("x [n, c, h, w]");
    plane = plane_of(x);
    check_plane(context, plane);
    const Shape y = pooled_shape(x, context.attributes<Attributes>());
    if (y[2] < 1 || y[3] < 1) {
      context.bad_shape("x [n, c, h, w] that the kernel fits in, " +
                        to_string(Shape{kernel.height, kernel.width}) + ",");
    }
    context.output(y);
  }
};

struct MaxPool2d : PoolBase {
  static void infer(InferContext& context) {
    PoolBase::infer(context);
    if (context.attributes<Attributes>().save_indices)
      context.output(shape_of(context.outputs()[0]), DType::kInt32);
  }

  /// The maxima are searched for once more, unless the fusion pass finds the search before.
  static void grad(GradContext& context) {
    AttributeStorage storage = context.node().attributes;
    auto& attributes = *reinterpret_cast<Attributes*>(storage.bytes.data());
    attributes.save_indices = true;
    const Expr again = apply(Op::maxPool2d, {context.input(0)}, storage);
    const Expr indices{context.graph(), context.graph().producer(again.id())->outputs[1]};
    context.set(0, apply(Op::maxPool2dGrad, {context.dy(), indices}, storage));
  }
};

struct AvgPool2d : PoolBase {
  static void grad(GradContext& context) {
    context.set(0, apply(Op::avgPool2dGrad, {context.dy()}, context.node().attributes));
  }
};

struct PoolGradBase : PoolBase {
  static constexpr uint32_t kFlags = kInternal;
  static void infer(InferContext& context) {
    const IntPair plane = context.attributes<Attributes>().plane;
    const Shape dy = context.shape(0);
    if (dy.size() != 4) context.bad_shape("dy [n, c, h, w]");
    context.output({dy[0], dy[1], plane.height, plane.width});
  }
};

/// (dy, indices) -> dx
struct MaxPool2dGrad : PoolGradBase {
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kAnyDType = 2;
};

/// dy -> dx
struct AvgPool2dGrad : PoolGradBase {};

}  // namespace tandem::ops
