// Ops of quantized inference, which core/quantize.cpp makes. Bytes stand for (byte - zero) * scale.
// Images of bytes lie channels last: [n, h, w, c], or [n, l, c] for lines.
#pragma once

#include "core/ops/attention.h"
#include "core/ops/conv.h"
#include "core/ops/pooling.h"
#include "core/ops/recurrent.h"
#include "core/quantize.h"

namespace tandem::ops {

struct QuantizedBase : Base {
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kAnyDType = 3;  // the weight is floats, which become bytes, or bytes
};

/// quantize(x): x as bytes.
struct Quantize : QuantizedBase {
  struct Attributes {
    float scale = 1.0F;
    int32_t zero = 0;
    bool channels_last = false;  ///< x is [n, c, ...] and y [n, ..., c]
  };
  static constexpr uint32_t kAnyDType = 0;

  static void infer(InferContext& context) {
    Shape shape = context.shape(0);
    if (context.attributes<Attributes>().channels_last) {
      if (shape.size() < 3) context.bad_shape("x [n, c, ...]");
      shape.push_back(shape[1]);
      shape.erase(shape.begin() + 1);
    }
    context.output(shape, DType::kUInt8);
  }
};

/// What a product of a quantized graph reads and gives.
struct QuantizedProduct {
  ElementwiseAttributes activation_attributes{0.0F, 0.0F};
  int32_t activation = -1;               ///< a unary Op, or -1
  int32_t index = 0;                     ///< Quantization::index, by which weights are packed
  const float* weight_scales = nullptr;  ///< [out], of the description
  QuantizationMode mode = QuantizationMode::kStatic;
  bool to_bytes = false;  ///< y is bytes by the two numbers below, otherwise floats
  float x_scale = 1.0F;
  int32_t x_zero = 0;
  float y_scale = 1.0F;
  int32_t y_zero = 0;
};

inline DType result_of(const QuantizedProduct& product) {
  return product.to_bytes ? DType::kUInt8 : DType::kFloat32;
}

/// quantizedLinear(x, w, b?, residual?): act(x * w^T + b + residual). x is bytes with kStatic and
/// floats otherwise. With a residual y is floats.
struct QuantizedLinear : QuantizedBase {
  using Attributes = QuantizedProduct;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 4;
  static constexpr size_t kResidual = 3;  ///< input
  static constexpr uint32_t kInPlace = 1U << kResidual;

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    context.expect_dtype(
        0, attributes.mode == QuantizationMode::kStatic ? DType::kUInt8 : DType::kFloat32);
    Shape shape = context.shape(0);
    shape.back() = context.shape(1)[0];
    if (context.has_input(kResidual) && (attributes.to_bytes || context.shape(kResidual) != shape))
      context.bad_shape("a residual of y's shape, in floats");
    context.output(shape, result_of(attributes));
  }
};

/// quantizedConv(x, w, b?): act(conv(x, w) + b) over images of bytes, channels last. y is too.
struct QuantizedConv : QuantizedBase {
  struct Attributes {
    QuantizedProduct product;
    ConvAttributes conv;
  };
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 3;

  static void infer(InferContext& context) {
    const auto& [product, conv] = context.attributes<Attributes>();
    context.expect_dtype(0, DType::kUInt8);
    const Shape x = context.shape(0);
    const Shape w = context.shape(1);
    const IntPair plane = {x.size() == 4 ? x[1] : 1, x[x.size() - 2]};
    const IntPair reached = ConvBase::reach(w, conv);
    const IntPair y = {
        positions(plane.height, reached.height, conv.stride.height, conv.padding.height),
        positions(plane.width, reached.width, conv.stride.width, conv.padding.width)};
    Shape shape = {x[0], y.width, w[0]};
    if (x.size() == 4) shape.insert(shape.begin() + 1, y.height);
    context.output(shape, result_of(product));
  }
};

/// quantizedEmbedding(index, w): rows of a table of signed bytes, each with its scale, as floats.
struct QuantizedEmbedding : QuantizedBase {
  struct Attributes {
    int32_t index = 0;
    const float* weight_scales = nullptr;  ///< [count]
  };
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) {
    Shape shape = context.shape(0);
    shape.push_back(context.shape(1)[1]);
    context.output(shape);
  }
};

/// attention() whose two products are of bytes: queries and keys by the ranges of their rows,
/// values by those of their columns, and probabilities in steps of 1 / 255 of the largest of their
/// row. A mask is added to the scores, which are floats.
struct QuantizedAttention : Attention {
  static constexpr uint32_t kFlags = kInternal;

  static void infer(InferContext& context) {
    const auto& attributes = context.attributes<Attributes>();
    const AttentionSizes s = sizes(context, attributes.heads);
    if (context.has_input(3)) check_mask(context, s);
    if (attributes.heads == 0) {
      context.output({s.batch, s.heads, s.time, s.value_depth});
    } else {
      context.output({s.batch, s.time, s.heads * s.value_depth});
    }
  }
  static constexpr void (*grad)(GradContext&) = nullptr;
};

/// A weight of bytes with a scale for each of its outermost axis.
struct ByteWeight {
  int32_t index = 0;                     ///< see QuantizedProduct
  const float* weight_scales = nullptr;  ///< of the description
};

/// dequantizeWeight(w): the weight as floats, for ops whose weights alone are bytes.
struct DequantizeWeight : Base {
  using Attributes = ByteWeight;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kAnyDType = 1;

  static void infer(InferContext& context) { context.output(context.shape(0)); }
};

/// quantizedLstm(x, w): lstm() whose weight is bytes, as are the states of each step by the ranges
/// of their rows.
struct QuantizedLstm : Base {
  using Attributes = ByteWeight;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kAnyDType = 2;
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) { context.output(Recurrent::states(context, 4)); }
};

/// quantizedGru(x, w, b): the same.
struct QuantizedGru : Base {
  using Attributes = ByteWeight;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kAnyDType = 2;
  static constexpr int kMinInputs = 3;
  static constexpr int kMaxInputs = 3;

  static void infer(InferContext& context) {
    const Shape states = Recurrent::states(context, 3);
    if (context.shape(2) != Shape{context.shape(1)[0]}) context.bad_shape("bHh [3 * units]");
    context.output(states);
  }
};

/// maxPoolBytes(x): maxima of windows over images of bytes, channels last.
struct MaxPoolBytes : QuantizedBase {
  using Attributes = PoolAttributes;

  static void infer(InferContext& context) {
    const auto& [kernel, stride, padding, plane, save] = context.attributes<Attributes>();
    context.expect_dtype(0, DType::kUInt8);
    const Shape x = context.shape(0);
    context.output({x[0], positions(x[1], kernel.height, stride.height, padding.height),
                    positions(x[2], kernel.width, stride.width, padding.width), x[3]},
                   DType::kUInt8);
  }
};

/// What bytes stand for, (byte - zero) * scale; floats stand for themselves.
struct ByteSteps {
  float scale = 1.0F;
  int32_t zero = 0;
};

/// addBytes(a, b): act(a + b), where a, b and y are bytes in steps of their own or floats.
struct AddBytes : QuantizedBase {
  struct Attributes {
    ByteSteps a, b, y;
    bool to_bytes = false;  ///< y is bytes
    bool relu = false;
  };
  static constexpr int kMinInputs = 2;
  static constexpr int kMaxInputs = 2;

  static void infer(InferContext& context) {
    if (context.shape(0) != context.shape(1)) context.bad_shape("operands of one shape");
    const bool to_bytes = context.attributes<Attributes>().to_bytes;
    context.output(context.shape(0), to_bytes ? DType::kUInt8 : DType::kFloat32);
  }
};

/// averagePoolBytes(x): means of windows over images that lie channels last, where x and y are
/// bytes in steps of their own or floats. Padding counts as zeros, as in avgPool2d.
struct AveragePoolBytes : QuantizedBase {
  struct Attributes {
    IntPair kernel{0, 0}, stride{0, 0}, padding{0, 0};
    ByteSteps x, y;
    bool to_bytes = false;  ///< y is bytes
  };

  static void infer(InferContext& context) {
    const auto& [kernel, stride, padding, of_x, of_y, to_bytes] = context.attributes<Attributes>();
    const Shape x = context.shape(0);
    context.output({x[0], positions(x[1], kernel.height, stride.height, padding.height),
                    positions(x[2], kernel.width, stride.width, padding.width), x[3]},
                   to_bytes ? DType::kUInt8 : DType::kFloat32);
  }
};

/// moveChannels(x): bytes [n, ..., c] as [n, c, ...], or the other way round.
struct MoveChannels : QuantizedBase {
  struct Attributes {
    bool to_last = false;
  };

  static void infer(InferContext& context) {
    context.expect_dtype(0, DType::kUInt8);
    Shape shape = context.shape(0);
    if (context.attributes<Attributes>().to_last) {
      shape.push_back(shape[1]);
      shape.erase(shape.begin() + 1);
    } else {
      shape.insert(shape.begin() + 1, shape.back());
      shape.pop_back();
    }
    context.output(shape, DType::kUInt8);
  }
};

}  // namespace tandem::ops
