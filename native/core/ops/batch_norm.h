// batchNorm(x [n, c, ...], w?, b?, mean?, variance?, {eps, momentum, running}): each channel less
// its mean, divided by its deviation, times w plus b (Ioffe and Szegedy 2015). Without `mean` and
// `variance` these are the batch's. With `running` the given ones are running statistics: inference
// uses them, and training the batch's, with which a training step moves them on. A sixth operand r
// of x's shape, which fusion puts in where the sum was an op of its own, is added to the result.
#pragma once

#include <cmath>

#include "core/ops/base.h"

namespace tandem::ops {

struct BatchNormAttributes {
  float epsilon = 1e-5F;
  float momentum = 0.1F;  ///< share of the batch's statistics in the new running ones
  bool running = false;
  bool by_batch = false;    ///< normalise by the batch's statistics: follows from the others
  int32_t activation = -1;  ///< a unary op that fusion has put behind; -1: none
  ElementwiseAttributes activation_attributes{0.0F, 0.0F};
};

/// Channels [n, c, the rest].
inline void check_channels(InferContext& context, size_t x) {
  if (context.shape(x).size() < 2) context.bad_shape("x [batch, channels, ...]");
}

/// Inputs `first` to `last` - 1, where given, are one number a channel.
inline void check_per_channel(InferContext& context, size_t x, size_t first, size_t last) {
  const Shape channels{context.shape(x)[1]};
  for (size_t i = first; i < last; ++i) {
    if (context.has_input(i) && context.shape(i) != channels)
      context.bad_shape("x [batch, channels, ...] and one number a channel");
  }
}

inline void check_epsilon(const InferContext& context, float epsilon) {
  if (!(epsilon >= 0.0F && std::isfinite(epsilon))) {
    fail(ErrorCode::kArgument, std::string("expected `eps` of 0 or more for ") +
                                   name(context.op()) + ", received " + std::to_string(epsilon));
  }
}

/// Outputs: y and, where the batch's statistics are used, its mean and variance [c].
struct BatchNorm : Base {
  static constexpr std::string_view kInputNames = "x w b mean variance residual";
  using Attributes = BatchNormAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"eps", AttributeType::kFloat, offsetof(Attributes, epsilon), false},
      {"momentum", AttributeType::kFloat, offsetof(Attributes, momentum), false},
      {"running", AttributeType::kBoolean, offsetof(Attributes, running), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 3;
  static constexpr int kMaxInputs = 6;
  static constexpr uint32_t kInPlace = 1 | 32;
  static constexpr size_t kMean = 3, kVariance = 4, kResidual = 5;  ///< inputs

  static void in_training(AttributeStorage& storage) {
    auto& attributes = *reinterpret_cast<Attributes*>(storage.bytes.data());
    attributes.by_batch = attributes.running;
  }

  static void infer(InferContext& context) {
    check_channels(context, 0);
    check_per_channel(context, 0, 1, 5);
    auto& attributes = context.attributes<Attributes>();
    check_epsilon(context, attributes.epsilon);
    if (!(attributes.momentum >= 0.0F && attributes.momentum <= 1.0F)) {
      fail(ErrorCode::kArgument, "expected `momentum` from 0 to 1 for batchNorm, received " +
                                     std::to_string(attributes.momentum));
    }
    const bool given = context.has_input(3);
    if (given != context.has_input(4) || (attributes.running && !given)) {
      fail(ErrorCode::kArgument, "expected both `mean` and `variance` of batchNorm, received one");
    }
    if (!given) attributes.by_batch = true;
    const Shape shape = context.shape(0);
    if (context.has_input(kResidual) && context.shape(kResidual) != shape)
      context.bad_shape("x and a residual of one shape");
    context.output(shape);
    if (!attributes.by_batch) return;
    if (context.input(0).numel == 0) context.bad_shape("at least one value a channel");
    context.output({shape[1]});
    context.output({shape[1]});
  }

  static void grad(GradContext& context);
};

/// (dy, x, w?, mean, variance) -> dx and, with `affine`, dw and db [c].
struct BatchNormGrad : Base {
  struct Attributes {
    float epsilon = 1e-5F;
    bool by_batch = false;  ///< the statistics are x's own
    bool affine = false;
  };
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 3;

  static void infer(InferContext& context) {
    check_channels(context, 1);
    check_per_channel(context, 1, 2, 5);
    const Shape shape = context.shape(1);
    context.output(shape);
    if (!context.attributes<Attributes>().affine) return;
    context.output({shape[1]});
    context.output({shape[1]});
  }
};

/// Moves running statistics on: (running mean, running variance, mean, variance), all [c]. The
/// variance of a batch of `count` values a channel is widened by count / (count - 1), as in
/// PyTorch; that of a single value says nothing and is left out.
struct BatchNormUpdate : Base {
  struct Attributes {
    float momentum = 0.1F;
    int64_t count = 0;
  };
  static constexpr int kMinInputs = 4;
  static constexpr int kMaxInputs = 4;
  static constexpr uint32_t kFlags = kEffect | kInternal | kReadsState;
  static constexpr uint32_t kWrites = 3;
  static void infer(InferContext& /*context*/) {}
};

inline void BatchNorm::grad(GradContext& context) {
  if (context.wants(kResidual)) context.set(kResidual, context.dy());
  const auto& own = context.attributes<Attributes>();
  const bool by_batch = own.by_batch;
  const Expr w = context.input(1);
  const Expr mean = by_batch ? context.output(1) : context.input(3);
  const Expr variance = by_batch ? context.output(2) : context.input(4);
  const bool wants_mean = !by_batch && context.wants(3);
  const bool wants_variance = !by_batch && context.wants(4);
  AttributeStorage storage = make_attributes(Op::batchNormGrad, {});
  *reinterpret_cast<BatchNormGrad::Attributes*>(storage.bytes.data()) = {
      own.epsilon, by_batch, context.wants(1) || context.wants(2) || wants_mean || wants_variance};
  const Expr dx =
      apply(Op::batchNormGrad, {context.dy(), context.input(0), w, mean, variance}, storage);
  Graph& graph = context.graph();
  const std::vector<ValueId> outputs = graph.producer(dx.id())->outputs;
  context.set(0, dx);
  if (outputs.size() == 1) return;
  const Expr dw(graph, outputs[1]);
  const Expr db(graph, outputs[2]);
  if (context.wants(1)) context.set(1, dw);
  if (context.wants(2)) context.set(2, db);
  if (!wants_mean && !wants_variance) return;
  // y = w (x - mean) r + b with r = (variance + eps)^-1/2
  const Expr spread = apply(Op::scale, {variance}, {{"offset", static_cast<double>(own.epsilon)}});
  const Expr r = apply(Op::rsqrt, {spread});
  const Expr wr = w.empty() ? r : w * r;
  if (wants_mean) context.set(3, -(db * wr));
  if (wants_variance) context.set(4, dw * wr * r * -0.5F);
}

}  // namespace tandem::ops
