// Positions in tensors of any rank: which element of each operand belongs to element i of a walk.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

/// Divides numbers below 2^31 by a multiplication, as T. Granlund and P. Montgomery describe in
/// "Division by Invariant Integers using Multiplication" (1994).
struct Divisor {
  uint32_t value = 1, magic = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(int64_t divisor) : value(static_cast<uint32_t>(divisor)) {
    while ((uint64_t{1} << shift) < value) ++shift;
    magic =
        static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - value)) / value + 1);
  }
  TANDEM_DEVICE uint32_t divide(uint32_t n) const { return (__umulhi(n, magic) + n) >> shift; }
};

/// Dimensions, outermost first, with the strides of some operands. Neighbours that all operands
/// walk as one run are merged; those of length 1 vanish.
template <int operands>
struct Walk {
  int32_t rank = 0;
  int64_t dims[kMaxRank] = {};
  Divisor divisors[kMaxRank];
  int64_t strides[operands][kMaxRank] = {};

  /// Appends an inner dimension.
  void add(int64_t dim, const int64_t (&stride)[operands]) {
    if (dim == 1) return;
    bool merges = rank > 0;
    for (int k = 0; merges && k < operands; ++k) merges = strides[k][rank - 1] == stride[k] * dim;
    if (!merges) dims[rank++] = 1;
    dims[rank - 1] *= dim;
    for (int k = 0; k < operands; ++k) strides[k][rank - 1] = stride[k];
  }
  [[nodiscard]] int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  /// To be called once all dimensions are there.
  void finish() {
    for (int i = 0; i < rank; ++i) {
      if (dims[i] > 0 && dims[i] < (int64_t{1} << 31)) divisors[i] = Divisor(dims[i]);
    }
  }
  /// Whether positions fit the quick division.
  [[nodiscard]] bool is_small() const { return count() < (int64_t{1} << 31); }
};

/// The offset of element `index` in each operand. `small`: see Walk::is_small.
template <bool small, int operands>
TANDEM_DEVICE void locate(const Walk<operands>& walk, int64_t index, int64_t (&offsets)[operands]) {
#pragma unroll
  for (int k = 0; k < operands; ++k) offsets[k] = 0;
  // a fixed number of turns, so that the walk stays in constant memory with indices known
#pragma unroll
  for (int i = kMaxRank - 1; i >= 0; --i) {
    if (i >= walk.rank) continue;
    int64_t at = index;
    if (i > 0) {
      if constexpr (small) {
        const uint32_t n = static_cast<uint32_t>(index);
        const uint32_t quotient = walk.divisors[i].divide(n);
        at = n - quotient * walk.divisors[i].value;
        index = quotient;
      } else {
        const int64_t quotient = index / walk.dims[i];
        at = index - quotient * walk.dims[i];
        index = quotient;
      }
    }
#pragma unroll
    for (int k = 0; k < operands; ++k) offsets[k] += at * walk.strides[k][i];
  }
}

/// Stride of an axis in a C-contiguous tensor.
inline int64_t stride_of(const Tensor& tensor, int64_t axis) {
  int64_t stride = 1;
  for (int64_t i = axis + 1; i < tensor.rank; ++i) stride *= tensor.dims[i];
  return stride;
}

/// The stride with which `tensor` is read along axis `axis` of a result of rank `rank` and length
/// `dim` that it broadcasts to: 0 where it repeats one element.
inline int64_t broadcast_stride(const Tensor& tensor, int32_t rank, int32_t axis, int64_t dim) {
  const int32_t own = axis - (rank - tensor.rank);
  return own >= 0 && tensor.dims[own] == dim ? stride_of(tensor, own) : 0;
}

}  // namespace tandem::cuda
