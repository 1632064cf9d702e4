// Where the operands of attention lie, from their shapes, and how its kernels cut them.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace tandem::cuda {

/// Queries, keys, values or results of all heads within one operand; strides count floats, and the
/// numbers of a head are neighbours.
struct HeadView {
  int64_t at, batch, head, row;
};

struct AttentionLayout {
  int64_t batch, heads, time, keys, depth, value_depth;
  HeadView q, k, v, y;
  bool k_apart, v_apart;    ///< whether they have an operand of their own; else that before
  int64_t mask_strides[4];  ///< 0 where the mask is broadcast
};

/// Queries, and keys, of a block of the kernels, and the numbers of a head that it multiplies at a
/// time.
inline constexpr int kAttentionRows = 64;
inline constexpr int kAttentionDepth = 64;
inline constexpr int kAttentionThreads = 128;

/// Floats between rows in shared memory: for products that sum along rows, and across them.
inline constexpr int kAlongStride = kAttentionDepth + 4;
inline constexpr int kAcrossStride = kAttentionDepth + 8;

/// Bytes of shared memory of the forward kernel, for queries, keys and exponentials along, and
/// `columns` of values across.
constexpr int64_t attention_shared_bytes(int columns) {
  return int64_t{4} * kAttentionRows * (3 * kAlongStride + columns + 8);
}
/// Of the gradients' kernels: two operands along, two score matrices along, one operand across.
constexpr int64_t attention_grad_shared_bytes() {
  return int64_t{4} * kAttentionRows * (4 * kAlongStride + kAcrossStride);
}
/// Tiles of 16-bit numbers, 64 in a row: of them between rows, 36 words, so that the 8 rows that a
/// fragment is read from at once share no bank.
inline constexpr int kHalfStride = kAttentionDepth + 8;

/// Queries that a block of the forward kernel has in 16 bits: 32 a warp, 16 where it has 128
/// numbers of a value, which take twice the registers.
constexpr int half_attention_rows(int columns) { return columns > 64 ? 64 : 128; }
/// Bytes of shared memory of that kernel: queries, keys, and `columns` of values.
constexpr int64_t half_attention_shared_bytes(int columns) {
  return int64_t{2} * (half_attention_rows(columns) + kAttentionRows) * kHalfStride +
         int64_t{2} * kAttentionRows * (columns + 8);
}
/// Of the gradients' kernels in 16 bits: two operands of the block's rows, twice two of those it
/// goes through, and twice what it knows of 64 queries: three floats each.
constexpr int64_t half_attention_grad_shared_bytes() {
  return int64_t{2} * 6 * kAttentionRows * kHalfStride + int64_t{4} * 2 * 3 * kAttentionRows;
}

/// What a block may have at most on compute capability 9.0, and on 8.6, the least of those that
/// have tensor cores of float32; 7.5 has 64 KiB.
inline constexpr int64_t kMostSharedBytes = int64_t{99} * 1024;
static_assert(attention_shared_bytes(128) <= kMostSharedBytes);
static_assert(attention_grad_shared_bytes() <= kMostSharedBytes);
static_assert(half_attention_shared_bytes(128) <= attention_shared_bytes(128));
static_assert(half_attention_grad_shared_bytes() <= attention_grad_shared_bytes());

/// `heads`: the attribute of the op; `k`, `v` and `mask` may be null.
inline AttentionLayout attention_layout(int64_t heads, const Tensor& q, const Tensor* k,
                                        const Tensor* v, const Tensor* mask) {
  AttentionLayout p{};
  p.batch = q.dims[0];
  p.k_apart = k != nullptr;
  p.v_apart = v != nullptr;
  if (heads == 0) {
    const auto separate = [](const Tensor& tensor) {
      const int64_t row = tensor.dims[3];
      const int64_t head = tensor.dims[2] * row;
      return HeadView{0, tensor.dims[1] * head, head, row};
    };
    p.heads = q.dims[1];
    p.time = q.dims[2];
    p.keys = v->dims[2];
    p.depth = q.dims[3];
    p.value_depth = v->dims[3];
    p.q = separate(q);
    p.k = separate(*k);
    p.v = separate(*v);
    const int64_t head = p.time * p.value_depth;
    p.y = {0, p.heads * head, head, p.value_depth};
  } else {
    const auto joined = [](const Tensor& tensor, int64_t first, int64_t depth) {
      return HeadView{first, tensor.dims[1] * tensor.dims[2], depth, tensor.dims[2]};
    };
    const Tensor& keys = p.k_apart ? *k : q;
    const Tensor& values = p.v_apart ? *v : keys;
    p.heads = heads;
    p.time = q.dims[1];
    p.keys = keys.dims[1];
    p.depth = q.dims[2] / (p.k_apart ? 1 : 3) / heads;
    p.value_depth = p.v_apart ? values.dims[2] / heads : p.depth;
    const int64_t width = heads * p.depth;
    p.q = joined(q, 0, p.depth);
    p.k = joined(keys, p.k_apart ? 0 : width, p.depth);
    p.v = joined(values, p.v_apart ? 0 : p.k.at + width, p.value_depth);
    const int64_t row = heads * p.value_depth;
    p.y = {0, p.time * row, p.value_depth, row};
  }
  int64_t stride = 1;
  for (int32_t i = 0; mask != nullptr && i < mask->rank; ++i) {
    const int64_t length = mask->dims[mask->rank - 1 - i];
    p.mask_strides[3 - i] = length == 1 ? 0 : stride;
    stride *= length;
  }
  return p;
}

}  // namespace tandem::cuda
