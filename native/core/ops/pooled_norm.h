// pooledNorm(x, w?, b?, mean?, variance?): maxPool2d of batchNorm, maybe with an activation between
// them, whose planes never reach memory. Passes make it and its gradient for training, see
// core/fuse_pooled_norms.h.
#pragma once

#include "core/ops/batch_norm.h"
#include "core/ops/pooling.h"

namespace tandem::ops {

/// Elements of a plane that stays in the caches of the thread that it belongs to.
inline constexpr int64_t kLargestPooledPlane = 128 * 1024;

/// Outputs: the maxima, where the batch's statistics are used its mean and variance [c], and the
/// places of the maxima if the pooling saves them.
struct PooledNorm : Base {
  struct Attributes {
    BatchNormAttributes norm;
    PoolAttributes pool;
  };
  static constexpr int kMaxInputs = 5;
  static constexpr uint32_t kFlags = kInternal;

  static void infer(InferContext& context) {
    const Shape x = context.shape(0);
    if (x.size() != 4) context.bad_shape("x [n, c, h, w]");
    check_per_channel(context, 0, 1, 5);
    const auto& [norm, pool] = context.attributes<Attributes>();
    const Shape y = pooled_shape(x, pool);
    context.output(y);
    if (norm.by_batch) {
      context.output({x[1]});
      context.output({x[1]});
    }
    if (pool.save_indices) context.output(y, DType::kInt32);
  }
};

/// (dy, places, x, w?, mean, variance) -> dx and, with `affine`, dw and db [c]: batchNormGrad of
/// maxPool2dGrad of dy.
struct PooledNormGrad : Base {
  struct Attributes {
    BatchNormGrad::Attributes norm;
    PoolAttributes pool;
  };
  static constexpr int kMinInputs = 6;
  static constexpr int kMaxInputs = 6;
  static constexpr uint32_t kFlags = kInternal;
  static constexpr uint32_t kAnyDType = 2;
  static constexpr uint32_t kInPlace = 4;

  static void infer(InferContext& context) {
    const Shape x = context.shape(2);
    if (x.size() != 4) context.bad_shape("x [n, c, h, w]");
    check_per_channel(context, 2, 3, 6);
    context.output(x);
    if (!context.attributes<Attributes>().norm.affine) return;
    context.output({x[1]});
    context.output({x[1]});
  }
};

}  // namespace tandem::ops
