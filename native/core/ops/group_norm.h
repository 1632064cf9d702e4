// groupNorm(x [n, c, ...], w? [c], b? [c], {groups, eps}): each sample's channels in groups, every
// group less its mean, divided by its deviation, then each channel times w plus b (Wu and He 2018).
#pragma once

#include "core/ops/batch_norm.h"

namespace tandem::ops {

struct GroupNormAttributes {
  int64_t groups = 1;
  float epsilon = 1e-5F;
  bool affine = false;  ///< of the gradient: dw and db are wanted
};

/// Outputs: y, and the groups' means and inverse deviations [n, groups].
struct GroupNorm : Base {
  static constexpr std::string_view kInputNames = "x w b";
  using Attributes = GroupNormAttributes;
  static constexpr AttributeField kFieldTable[] = {
      {"groups", AttributeType::kInteger, offsetof(Attributes, groups), true},
      {"eps", AttributeType::kFloat, offsetof(Attributes, epsilon), false},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 2;
  static constexpr int kMaxInputs = 3;
  static constexpr uint32_t kInPlace = 1;

  static void infer(InferContext& context) {
    check_channels(context, 0);
    check_per_channel(context, 0, 1, 3);
    const auto& attributes = context.attributes<Attributes>();
    check_epsilon(context, attributes.epsilon);
    const Shape shape = context.shape(0);
    const int64_t groups = attributes.groups;
    if (groups < 1 || groups > shape[1] || shape[1] % groups != 0) {
      fail(ErrorCode::kArgument,
           "expected `groups` that divide the channels of groupNorm, received " +
               std::to_string(groups) + " for " + to_string(shape));
    }
    context.output(shape);
    context.output({shape[0], groups});
    context.output({shape[0], groups});
  }

  static void grad(GradContext& context) {
    AttributeStorage storage = context.node().attributes;
    auto& attributes = *reinterpret_cast<Attributes*>(storage.bytes.data());
    attributes.affine = context.wants(1) || context.wants(2);
    Graph& graph = context.graph();
    const Expr dx = apply(
        Op::groupNormGrad,
        {context.dy(), context.input(0), context.input(1), context.output(1), context.output(2)},
        storage);
    const std::vector<ValueId> outputs = graph.producer(dx.id())->outputs;
    context.set(0, dx);
    if (context.wants(1)) context.set(1, {graph, outputs[1]});
    if (context.wants(2)) context.set(2, {graph, outputs[2]});
  }
};

/// (dy, x, w?, mean, inverse deviation) -> dx and, with `affine`, dw and db [c].
struct GroupNormGrad : Base {
  using Attributes = GroupNormAttributes;
  static constexpr int kMinInputs = 5;
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kInPlace = 3;

  static void infer(InferContext& context) {
    const Shape shape = context.shape(1);
    context.output(shape);
    if (!context.attributes<Attributes>().affine) return;
    context.output({shape[1]});
    context.output({shape[1]});
  }
};

}  // namespace tandem::ops
