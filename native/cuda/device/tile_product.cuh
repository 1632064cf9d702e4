// The product of two matrices of floats in shared memory, by a warp for 16 rows of the result, in
// registers. Four kinds of arithmetic share one layout, that of the tensor cores' instructions, so
// that what surrounds a product is written once. Sums run over k in rising order.
#pragma once

#include "cuda/device/mma.cuh"

namespace tandem::cuda {

/// How factors are rounded. All add up in 32 bits.
enum class Arithmetic { kFloat32, kTf32, kBfloat16, kFloat16 };

/// Two factors in a word, and the product of such words.
template <Arithmetic kind>
TANDEM_DEVICE uint32_t to_pair(float low, float high) {
  if constexpr (kind == Arithmetic::kFloat16) {
    return to_f16x2(low, high);
  } else {
    return to_bf16x2(low, high);
  }
}
template <Arithmetic kind>
TANDEM_DEVICE void mma_pairs(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kind == Arithmetic::kFloat16) {
    mma_f16(d, a, b);
  } else {
    mma_bf16(d, a, b);
  }
}

/// Rows of the result that a warp has, and columns of a tile.
inline constexpr int kTileRows = 16;
inline constexpr int kTileColumns = 8;

/// A lane's part of `tiles` neighbouring 16 x 8 tiles: see device/mma.cuh.
template <int tiles>
struct Accumulators {
  float at[tiles][4];

  TANDEM_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < tiles; ++i) at[i][0] = at[i][1] = at[i][2] = at[i][3] = 0.0F;
  }
};

/// Row and column, within the warp's 16 rows, of element `e` of tile `tile` of this lane.
TANDEM_DEVICE int row_of_element(int e) {
  return static_cast<int>(threadIdx.x % 32 / 4) + (e >= 2 ? 8 : 0);
}
TANDEM_DEVICE int column_of_element(int tile, int e) {
  return tile * kTileColumns + static_cast<int>(threadIdx.x % 4) * 2 + e % 2;
}

/// sums += a b with a [16, k] at a[row * a_row + i * a_k] and b [k, 8 * tiles] at b[i * b_k +
/// column * b_column], k a multiple of 16. Strides are known to the compiler. Free of conflicts
/// where the larger stride of a is 4 modulo 32 (8 where that is the stride of k), and the same of
/// b.
template <Arithmetic kind, int k, int a_row, int a_k, int b_k, int b_column, int tiles>
TANDEM_DEVICE void add_product(Accumulators<tiles>& sums, const float* a, const float* b) {
  static_assert(k % 16 == 0);
  const int g = static_cast<int>(threadIdx.x % 32 / 4);
  const int t = static_cast<int>(threadIdx.x % 4);
  a += g * a_row;
  constexpr int kBelow = 8 * a_row;  // the second half of the rows
  constexpr Arithmetic kUsed = kHasTileInstructions ? kind : Arithmetic::kFloat32;
  if constexpr (kUsed == Arithmetic::kFloat32) {
    b += 2 * t * b_column;
#pragma unroll 1
    for (int i = 0; i < k; ++i) {
      const float above = a[i * a_k];
      const float below = a[kBelow + i * a_k];
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        const float left = b[i * b_k + tile * kTileColumns * b_column];
        const float right = b[i * b_k + (tile * kTileColumns + 1) * b_column];
        float (&d)[4] = sums.at[tile];
        d[0] = fmaf(above, left, d[0]);
        d[1] = fmaf(above, right, d[1]);
        d[2] = fmaf(below, left, d[2]);
        d[3] = fmaf(below, right, d[3]);
      }
    }
  } else if constexpr (kUsed == Arithmetic::kTf32) {
    a += t * a_k;
    b += t * b_k + g * b_column;
#pragma unroll 1
    for (int i = 0; i < k; i += 8) {
      const uint32_t rows[4] = {to_tf32(a[i * a_k]), to_tf32(a[kBelow + i * a_k]),
                                to_tf32(a[(i + 4) * a_k]), to_tf32(a[kBelow + (i + 4) * a_k])};
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        const float* const from = b + i * b_k + tile * kTileColumns * b_column;
        const uint32_t columns[2] = {to_tf32(from[0]), to_tf32(from[4 * b_k])};
        mma_tf32(sums.at[tile], rows, columns);
      }
    }
  } else {
    a += 2 * t * a_k;
    b += 2 * t * b_k + g * b_column;
#pragma unroll 1
    for (int i = 0; i < k; i += 16) {
      const float* const at = a + i * a_k;
      const uint32_t rows[4] = {to_pair<kUsed>(at[0], at[a_k]),
                                to_pair<kUsed>(at[kBelow], at[kBelow + a_k]),
                                to_pair<kUsed>(at[8 * a_k], at[9 * a_k]),
                                to_pair<kUsed>(at[kBelow + 8 * a_k], at[kBelow + 9 * a_k])};
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        const float* const from = b + i * b_k + tile * kTileColumns * b_column;
        const uint32_t columns[2] = {to_pair<kUsed>(from[0], from[b_k]),
                                     to_pair<kUsed>(from[8 * b_k], from[9 * b_k])};
        mma_pairs<kUsed>(sums.at[tile], rows, columns);
      }
    }
  }
}

}  // namespace tandem::cuda
