// conv1d, conv2d(x, w, b?, {stride, padding, dilation, groups}): cross-correlation of x [n, in, l]
// or [n, in, h, w] with w [out, in / groups, ...kernel], plus b [out], as PyTorch's conv1d and
// conv2d. convTranspose2d(x, w, b?, {..., outputPadding}): the gradient of conv2d with respect to
// its input, with w [in, out / groups, kh, kw]. One dimension is computed as two with a height
// of 1.
#pragma once

#include "core/ops/window.h"

namespace tandem::ops {

struct ConvAttributes {
  IntPair stride{1, 1};
  IntPair padding{0, 0};
  IntPair dilation{1, 1};
  IntPair output_padding{0, 0};  ///< of the transposed form: rows and columns without a counterpart
  int64_t groups = 1;
  bool bf16 = false;  ///< see core/precision.h
  bool fp16 = false;  ///< the same
};

struct ConvBase : Base {
  using Attributes = ConvAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"stride", AttributeType::kPair, offsetof(Attributes, stride), false},
      {"padding", AttributeType::kPair, offsetof(Attributes, padding), false},
      {"dilation", AttributeType::kPair, offsetof(Attributes, dilation), false},
      {"groups", AttributeType::kInteger, offsetof(Attributes, groups), false},
      {"outputPadding", AttributeType::kPair, offsetof(Attributes, output_padding), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 4;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 3;

  /// Checks what both directions have in common; a line has no steps along its height.
  static void check_attributes(Attributes& attributes, size_t rank) {
    if (rank == 3) {
      attributes.stride.height = attributes.dilation.height = 1;
      attributes.padding.height = attributes.output_padding.height = 0;
    }
    check_steps(attributes.stride, "stride", 1);
    check_steps(attributes.padding, "padding", 0);
    check_steps(attributes.dilation, "dilation", 1);
    if (attributes.groups < 1) {
      fail(ErrorCode::kArgument, "expected an integer of 1 or more for `groups`, received " +
                                     std::to_string(attributes.groups));
    }
  }

  /// Whether `w` is a weight for planes of `channels`, which are its axis `own` or, divided by the
  /// groups, the other one of the first two.
  static bool weight_fits(const Shape& w, size_t rank, int64_t channels, size_t own,
                          int64_t groups) {
    if (w.size() != rank || channels < 1 || channels % groups != 0) return false;
    for (const int64_t size : w) {
      if (size < 1) return false;
    }
    return w[0] % groups == 0 && (own == 0 ? w[0] == channels : w[1] == channels / groups);
  }

  static IntPair reach(const Shape& w, const Attributes& attributes) {
    const IntPair kernel = plane_of(w);
    return {reach_of(kernel.height, attributes.dilation.height),
            reach_of(kernel.width, attributes.dilation.width)};
  }

  static Shape with_plane(const Shape& like, int64_t channels, const IntPair& plane) {
    if (like.size() == 3) return {like[0], channels, plane.width};
    return {like[0], channels, plane.height, plane.width};
  }

  static void check_bias(InferContext& context, int64_t channels) {
    if (context.has_input(2) && context.shape(2) != Shape{channels})
      context.bad_shape("b [" + std::to_string(channels) + "]");
  }

  static void infer_conv(InferContext& context, size_t rank) {
    context.output(check_conv(context, rank));
  }

  /// The shape of y.
  static Shape check_conv(InferContext& context, size_t rank) {
    auto& attributes = context.attributes<Attributes>();
    const Shape x = context.shape(0);
    const Shape w = context.shape(1);
    const char* expected = rank == 3 ? "x [n, in, l] and w [out, in / groups, k]"
                                     : "x [n, in, h, w] and w [out, in / groups, kh, kw]";
    check_attributes(attributes, rank);
    if (x.size() != rank || !weight_fits(w, rank, x[1], 1, attributes.groups))
      context.bad_shape(expected);
    const IntPair plane = plane_of(x);
    // Padding alone would give positions, but no gradient of x: convDataGrad has nothing to write.
    if (plane.height < 1 || plane.width < 1)
      context.bad_shape(rank == 3 ? "at least one element a line of x"
                                  : "at least one pixel a plane of x");
    const IntPair reached = reach(w, attributes);
    check_plane(context, plane);
    const IntPair y = {
        positions(plane.height, reached.height, attributes.stride.height,
                  attributes.padding.height),
        positions(plane.width, reached.width, attributes.stride.width, attributes.padding.width)};
    if (y.height < 1 || y.width < 1)
      context.bad_shape("x that the kernel fits in, padding included,");
    check_plane(context, y);
    check_bias(context, w[0]);
    return with_plane(x, w[0], y);
  }

  static void infer_transposed(InferContext& context, size_t rank) {
    auto& attributes = context.attributes<Attributes>();
    const Shape x = context.shape(0);
    const Shape w = context.shape(1);
    check_attributes(attributes, rank);
    if (x.size() != rank || !weight_fits(w, rank, x[1], 0, attributes.groups))
      context.bad_shape("x [n, in, h, w] and w [in, out / groups, kh, kw]");
    const auto& [stride, padding, dilation, extra, groups, bf16, fp16] = attributes;
    if (extra.height < 0 || extra.height >= stride.height || extra.width < 0 ||
        extra.width >= stride.width) {
      fail(ErrorCode::kArgument, "expected less than the stride for `outputPadding`, received " +
                                     to_string(Shape{extra.height, extra.width}));
    }
    const IntPair plane = plane_of(x);
    const IntPair reached = reach(w, attributes);
    const auto size = [](int64_t n, int64_t step, int64_t pad, int64_t reach, int64_t more) {
      return checked_add(checked_add(checked_mul(n - 1, step), reach), more) - 2 * pad;
    };
    const IntPair y = {
        size(plane.height, stride.height, padding.height, reached.height, extra.height),
        size(plane.width, stride.width, padding.width, reached.width, extra.width)};
    if (plane.height < 1 || plane.width < 1 || y.height < 1 || y.width < 1)
      context.bad_shape("x that padding leaves something of");
    check_plane(context, plane);
    check_plane(context, y);
    const int64_t channels = checked_mul(w[1], groups);
    check_bias(context, channels);
    context.output(with_plane(x, channels, y));
  }

  /// The gradient of the bias: dy summed over all axes but the channels.
  static Expr bias_gradient(const Expr& dy) {
    return sum(dy, dy.tensor().rank == 3 ? make_list({0, 2}) : make_list({0, 2, 3}), false);
  }

  /// The gradient of x [n, in, ...plane] from that of y: the rows and columns at the end that no
  /// window reaches become output padding.
  static Expr data_gradient(const Expr& dy, const Expr& w, const Expr& x, Attributes attributes);
  /// The gradient of w when a convolution takes x to y.
  static Expr weight_gradient(const Expr& x, const Expr& dy, const Expr& w,
                              const Attributes& attributes);
};

struct Conv : ConvBase {
  static void grad(GradContext& context) {
    const auto attributes = context.attributes<Attributes>();
    const Expr x = context.input(0);
    const Expr w = context.input(1);
    if (context.wants(0)) context.set(0, data_gradient(context.dy(), w, x, attributes));
    if (context.wants(1)) context.set(1, weight_gradient(x, context.dy(), w, attributes));
    if (context.wants(2)) context.set(2, bias_gradient(context.dy()));
  }
};

struct Conv1d : Conv {
  static constexpr std::string_view kInputNames = "x w b";
  static void infer(InferContext& context) { infer_conv(context, 3); }
};

struct Conv2d : Conv {
  static constexpr std::string_view kInputNames = "x w b";
  static void infer(InferContext& context) { infer_conv(context, 4); }
};

struct ConvTranspose2d : ConvBase {
  static constexpr std::string_view kInputNames = "x w b";
  static constexpr size_t kFieldCount = 5;

  static void infer(InferContext& context) { infer_transposed(context, 4); }

  static void grad(GradContext& context) {
    auto attributes = context.attributes<Attributes>();
    attributes.output_padding = {0, 0};
    const Expr x = context.input(0);
    const Expr w = context.input(1);
    const Expr dy = context.dy();
    if (context.wants(0)) {
      AttributeStorage storage = make_attributes(Op::conv2d, {});
      *reinterpret_cast<Attributes*>(storage.bytes.data()) = attributes;
      context.set(0, apply(Op::conv2d, {dy, w}, storage));
    }
    if (context.wants(1)) context.set(1, weight_gradient(dy, x, w, attributes));
    if (context.wants(2)) context.set(2, bias_gradient(dy));
  }
};

/// (dy, w) -> dx of a convolution.
struct ConvDataGrad : ConvBase {
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kInternal;
  static void infer(InferContext& context) {
    infer_transposed(context, context.shape(0).size() == 3 ? 3 : 4);
  }
};

/// (x, dy) -> dw of a convolution from x to y.
struct ConvWeightGrad : ConvBase {
  static constexpr int kMaxInputs = 2;
  static constexpr uint32_t kFlags = kInternal;
  struct Attributes {
    ConvAttributes conv;
    IntPair kernel{1, 1};
  };

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    const Shape x = context.shape(0);
    Shape like = context.shape(1);
    if (x.size() != like.size() || (x.size() != 3 && x.size() != 4))
      context.bad_shape("x and dy of lines or planes");
    like[0] = like[1];
    context.output(with_plane(like, x[1] / attributes.conv.groups, attributes.kernel));
  }
};

inline Expr ConvBase::data_gradient(const Expr& dy, const Expr& w, const Expr& x,
                                    Attributes attributes) {
  const IntPair plane = plane_of(shape_of(x.tensor()));
  const IntPair reached = reach(shape_of(w.tensor()), attributes);
  const auto& [stride, padding, dilation, extra, groups, bf16, fp16] = attributes;
  attributes.output_padding = {(plane.height + 2 * padding.height - reached.height) % stride.height,
                               (plane.width + 2 * padding.width - reached.width) % stride.width};
  AttributeStorage storage = make_attributes(Op::convDataGrad, {});
  *reinterpret_cast<Attributes*>(storage.bytes.data()) = attributes;
  return apply(Op::convDataGrad, {dy, w}, storage);
}

inline Expr ConvBase::weight_gradient(const Expr& x, const Expr& dy, const Expr& w,
                                      const Attributes& attributes) {
  AttributeStorage storage = make_attributes(Op::convWeightGrad, {});
  *reinterpret_cast<ConvWeightGrad::Attributes*>(storage.bytes.data()) = {
      attributes, plane_of(shape_of(w.tensor()))};
  return apply(Op::convWeightGrad, {x, dy}, storage);
}

}  // namespace tandem::ops
