// A tile of a product of floats on tensor cores, whose instructions keep 10 bits of a factor's
// mantissa: each factor is a large and a small such number, and of their four products all but that
// of the small ones are added up: Ootomo and Yokota, "Recovering single precision accuracy from
// Tensor Cores while surpassing the FP32 theoretical peak performance" (2022). Tensor cores cut off
// what does not fit where they add, so that sums over more than an instruction's 8 products are
// those of float32. A stage of factors lies in shared memory as it lies in the device's.
#pragma once

#include "cuda/device/copy_async.cuh"
#include "cuda/device/tile_product.cuh"
#include "cuda/host/float_ways.h"

namespace tandem::cuda {

inline constexpr int kStageDepth = static_cast<int>(kFloatDepth);
inline constexpr int kSmallStages = 4;  ///< in shared memory at a time
inline constexpr int kWarpSide = 32;    ///< rows and columns of the result that a warp has

/// A block's tile: warps of 32 x 32, `slices` of which share the summands of each stage.
template <int side_, int slices_>
struct FloatBlock {
  static constexpr int kSide = side_, kSlices = slices_;
  static constexpr int kWarpsAlong = side_ / kWarpSide;
  static constexpr int kThreads = 32 * kWarpsAlong * kWarpsAlong * slices_;
  static constexpr int kSliceDepth = kStageDepth / slices_;
  /// Floats between rows of sums in shared memory, 8 modulo 32: pairs of four rows meet all banks.
  static constexpr int kSumsAlong = side_ + 8;
  static constexpr int kSums = side_ * kSumsAlong;
  static_assert(kSliceDepth % 8 == 0);
};

/// How a stage of a factor lies in shared memory: `side` rows or columns of the result by
/// kStageDepth summands; `deep`: neighbours are summands. Either way eight places of the result by
/// four summands meet all banks.
template <int side, bool deep>
struct FloatStage {
  static constexpr bool kDeep = deep;
  static constexpr int kLines = deep ? side : kStageDepth;
  static constexpr int kWidth = deep ? kStageDepth : side;
  static constexpr int kAlong = kWidth + (deep ? 4 : 8);
  static constexpr int kFloats = kLines * kAlong;
  TANDEM_DEVICE static constexpr int at(int place, int summand) {
    return deep ? place * kAlong + summand : summand * kAlong + place;
  }
};

/// A factor in the device's memory.
struct FloatMatrix {
  const float* data;
  int64_t along;         // floats between its lines
  int32_t lines, width;  // floats of a line
  bool whole;            // lines begin at multiples of 16 bytes
};

/// A factor's stages on their way to shared memory, one after another along the summands: what a
/// thread copies of each. Addresses and what is left of the matrix are kept from stage to stage,
/// since finding them anew would take longer than the products of a stage.
template <typename S, int threads>
class StageSource {
 public:
  /// From the summand `depth` on, for the tile that begins at row or column `place` of the result.
  TANDEM_DEVICE StageSource(const FloatMatrix& x, int32_t place, int32_t depth)
      : x_(x.data), along_(x.along), whole_(x.whole) {
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const int32_t across = whole_ ? S::kWidth / kUnit : S::kWidth;
    const int32_t l = thread / across;
    const int32_t c = thread % across * (whole_ ? kUnit : 1);
    const int32_t line = (S::kDeep ? place : depth) + l;
    const int32_t column = (S::kDeep ? depth : place) + c;
    lines_left_ = x.lines - line;
    columns_left_ = x.width - column;
    at_ = line * along_ + column;
    to_ = l * S::kAlong + c;
  }
  /// Begins to copy a stage, with zeros where there is nothing, and goes on to the next.
  TANDEM_DEVICE void copy(float* stage) {
    if (whole_) {
      copy_by<kUnit>(stage);
    } else {
      copy_by<1>(stage);
    }
    (S::kDeep ? columns_left_ : lines_left_) -= kStageDepth;
    at_ += S::kDeep ? kStageDepth : kStageDepth * along_;
  }

 private:
  static constexpr int kUnit = 4;  // floats of a copy

  template <int unit>
  TANDEM_DEVICE void copy_by(float* stage) {
    constexpr int kAcross = S::kWidth / unit;
    constexpr int kLines = threads / kAcross;  // of a pass
    static_assert(threads % kAcross == 0 && S::kLines % kLines == 0);
    const int32_t count = columns_left_ < unit ? columns_left_ : unit;
#pragma unroll
    for (int l = 0; l < S::kLines; l += kLines) {
      const bool there = l < lines_left_ && count > 0;
      const float* const from = there ? x_ + at_ + l * along_ : x_;
      float* const to = stage + to_ + l * S::kAlong;
      if constexpr (unit == 1) {
        copy_async_word(to, from, there);
      } else {
        copy_async_part(to, from, there ? count : 0);
      }
    }
  }

  const float* x_;
  int64_t along_, at_;
  int32_t lines_left_, columns_left_, to_;
  bool whole_;
};

/// x = large + small, but for the last bit or two. Rounded by integers, as to_tf32() rounds, in
/// less time than its conversions take; the instruction leaves out what it does not keep of the
/// small number.
template <int n>
struct SplitFloats {
  uint32_t large[n], small[n];

  TANDEM_DEVICE void set(int i, float x) {
    constexpr uint32_t kLeftOut = 0x1fff;
    large[i] = (__float_as_uint(x) + (kLeftOut + 1) / 2) & ~kLeftOut;
    small[i] = __float_as_uint(x - __uint_as_float(large[i]));
  }
};

using WarpSums = Accumulators<kWarpSide / kTileColumns>[kWarpSide / kTileRows];

/// sums += a b over `depth` summands of a stage, whose first element of this warp a and b are.
template <typename A, typename B, int depth>
TANDEM_DEVICE void add_floats(WarpSums& sums, const float* a, const float* b) {
  const int g = static_cast<int>(threadIdx.x % 32 / 4);
  const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll 1
  for (int k = 0; k < depth; k += 8) {
    SplitFloats<4> rows[kWarpSide / kTileRows];
#pragma unroll
    for (int i = 0; i < kWarpSide / kTileRows; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        rows[i].set(e, a[A::at(i * kTileRows + e % 2 * 8 + g, k + e / 2 * 4 + t)]);
    }
#pragma unroll
    for (int j = 0; j < kWarpSide / kTileColumns; ++j) {
      SplitFloats<2> columns;
      columns.set(0, b[B::at(j * kTileColumns + g, k + t)]);
      columns.set(1, b[B::at(j * kTileColumns + g, k + 4 + t)]);
#pragma unroll
      for (int i = 0; i < kWarpSide / kTileRows; ++i) {
        float eight[4] = {};
        mma_tf32(eight, rows[i].small, columns.large);
        mma_tf32(eight, rows[i].large, columns.small);
        mma_tf32(eight, rows[i].large, columns.large);
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[i].at[j][e] += eight[e];
      }
    }
  }
}

/// Writes a warp's sums to shared memory, `along` floats from row to row.
template <int along>
TANDEM_DEVICE void put_sums(float* to, const WarpSums& sums) {
#pragma unroll
  for (int i = 0; i < kWarpSide / kTileRows; ++i) {
#pragma unroll
    for (int j = 0; j < kWarpSide / kTileColumns; ++j) {
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        float* const at =
            to + (i * kTileRows + row_of_element(e)) * along + column_of_element(j, e);
        *reinterpret_cast<float2*>(at) = make_float2(sums[i].at[j][e], sums[i].at[j][e + 1]);
      }
    }
  }
}

}  // namespace tandem::cuda
