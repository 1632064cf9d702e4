// cachedAttention(qkv, cache, slot, position, {heads}): causal self-attention of tokens that come
// one after another, each a row. qkv [rows, 1, 3 * heads * depth] has queries, keys and values side
// by side; the keys and values of row i go to cache[slot[i]][position[i]], then its query sees the
// entries 0 to position[i] of its slot: those of rows of the same node and of all that ran before.
// y [rows, 1, heads * depth].
//
// cache [slots, length, 2 * heads * depth] is changed; within a slot it holds, for each head, the
// keys [length, depth] and the values [length, depth], so that a query reads both from end to end.
// Slots and positions [rows, 1] are int32;
// rows whose entry is not in the cache write nothing and give zeros: rows that only fill up a batch
// have slot -1. Two rows have the same entry in no call.
//
// The cache of keys and values: Shazeer, "Fast Transformer Decoding" (2019); sequences of different
// lengths in one batch: Yu et al., "Orca" (2022).
#pragma once

#include "core/ops/base.h"

namespace tandem::ops {

struct CachedAttention : Base {
  struct Attributes {
    int64_t heads = 0;
  };
  static constexpr AttributeField kFieldTable[] = {
      {"heads", AttributeType::kInteger, offsetof(Attributes, heads), true},
  };
  static constexpr const AttributeField* kFields = kFieldTable;
  static constexpr size_t kFieldCount = 1;
  static constexpr int kMinInputs = 4;
  static constexpr int kMaxInputs = 4;
  static constexpr uint32_t kAnyDType = 1U << 2U | 1U << 3U;
  static constexpr uint32_t kWrites = 1U << 1U;
  static constexpr uint32_t kFlags = kInternal | kEffect;

  static void infer(InferContext& context) {
    const int64_t heads = context.attributes<Attributes>().heads;
    context.expect_dtype(2, DType::kInt32);
    context.expect_dtype(3, DType::kInt32);
    const Shape qkv = context.shape(0);
    const Shape cache = context.shape(1);
    const Shape entry{qkv.empty() ? 0 : qkv[0], 1};
    const bool fits = heads > 0 && qkv.size() == 3 && qkv[1] == 1 && qkv[2] % 3 == 0 &&
                      qkv[2] > 0 && qkv[2] / 3 % heads == 0 && cache.size() == 3 &&
                      cache[2] == qkv[2] / 3 * 2 && context.shape(2) == entry &&
                      context.shape(3) == entry;
    if (!fits) {
      context.bad_shape(
          "[rows, 1, 3 * heads * depth], a cache [slots, length, 2 * heads * depth] "
          "and [rows, 1] twice for " +
          std::to_string(heads) + " heads");
    }
    context.output({qkv[0], 1, qkv[2] / 3});
  }
};

}  // namespace tandem::ops
