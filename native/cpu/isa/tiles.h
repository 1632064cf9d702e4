// Cutting work into tiles, and the odometer that walks tensors of any rank. Tiles depend on shapes
// alone, so that results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/isa/vec.h"
#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

TANDEM_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
TANDEM_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
TANDEM_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Elements [begin, end) of tile `tile` when `total` are cut into pieces of `size`.
struct Range {
  int64_t begin, end;
};
TANDEM_INLINE Range piece(int64_t tile, int64_t size, int64_t total) {
  return {tile * size, least(tile * size + size, total)};
}

/// Elements a tile of plain movement: 64 KiB.
inline constexpr int64_t kMoveTile = 16384;
/// Nanoseconds for an element that is read and written once.
inline constexpr double kMoveCost = 0.12;

template <typename Attributes>
TANDEM_INLINE const Attributes& attributes_of(const NodeView& node) {
  return *static_cast<const Attributes*>(node.attributes);
}
template <typename Params>
TANDEM_INLINE const Params& params_of(const void* params) {
  return *static_cast<const Params*>(params);
}

/// Emits a step unless there is nothing to do.
template <typename Params>
TANDEM_INLINE void emit_step(Emitter& emit, TileFn fn, const Params& params, int64_t tiles,
                             double cost) {
  if (tiles > 0) emit.step(fn, &params, sizeof(Params), tiles, cost);
}

/// Copies 4-byte elements; short runs without a call.
TANDEM_INLINE void copy_words(uint32_t* to, const uint32_t* from, int64_t n) {
  if (n >= 32) {
    std::memcpy(to, from, static_cast<size_t>(n) * 4);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

/// Dimensions with the strides of one operand, outermost first.
struct Walk {
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];
  int32_t rank;
};

/// Appends a dimension, merged with the one before where both are one run. Those of length 1
/// vanish.
TANDEM_INLINE void add_dim(Walk& walk, int64_t dim, int64_t stride) {
  if (dim == 1) return;
  const int32_t last = walk.rank - 1;
  if (last >= 0 && walk.strides[last] == stride * dim) {
    walk.dims[last] *= dim;
    walk.strides[last] = stride;
    return;
  }
  walk.dims[walk.rank] = dim;
  walk.strides[walk.rank] = stride;
  ++walk.rank;
}

TANDEM_INLINE int64_t walk_count(const Walk& walk) {
  int64_t n = 1;
  for (int32_t i = 0; i < walk.rank; ++i) n *= walk.dims[i];
  return n;
}

/// A position in a Walk and its offset.
struct Odometer {
  int64_t at[kMaxRank];
  int64_t offset;
};

/// No dimension may be 0, the first one excepted.
TANDEM_INLINE Odometer odometer_at(const Walk& walk, int64_t index) {
  Odometer o;
  o.offset = 0;
  for (int32_t i = walk.rank; i-- > 0;) {
    o.at[i] = i == 0 ? index : index % walk.dims[i];
    if (i > 0) index /= walk.dims[i];
    o.offset += o.at[i] * walk.strides[i];
  }
  return o;
}

TANDEM_INLINE void advance(const Walk& walk, Odometer& o) {
  for (int32_t i = walk.rank; i-- > 0;) {
    o.offset += walk.strides[i];
    if (++o.at[i] < walk.dims[i] || i == 0) return;
    o.at[i] = 0;
    o.offset -= walk.dims[i] * walk.strides[i];
  }
}

/// Stride of axis `axis` in a C-contiguous tensor.
TANDEM_INLINE int64_t stride_of(const Tensor& tensor, int64_t axis) {
  int64_t stride = 1;
  for (int64_t i = axis + 1; i < tensor.rank; ++i) stride *= tensor.dims[i];
  return stride;
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
