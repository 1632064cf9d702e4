// Means and deviations of short rows, as many together as a vector has lanes: what sums up to one
// number a row is added across rows rather than within each. A row gives the same bits whatever its
// neighbours are, and however many.
#pragma once

#include "cpu/isa/row_sums.h"
#include "cpu/isa/transpose_lanes.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Elements of a row: of so many vectors, float sums are exact enough, and the rows stay close.
inline constexpr int64_t kShortRow = 512;
/// Fewer rows are faster by themselves.
inline constexpr int64_t kFewRows = kWidth / 4;

/// The rows that are taken together, `n` elements each.
struct ShortRows {
  const float* x;
  int64_t rows, n;
};

/// The sum of each of some vectors: halves are added up as in reduce_add.
TANDEM_INLINE void add_lanes(Vec (&sums)[kWidth], int64_t rows, float* out) {
  if (kWidth == 1 || rows <= kFewRows) {
    for (int64_t k = 0; k < rows; ++k) out[k] = reduce_add(sums[k]);
    return;
  }
#if !defined(TANDEM_ISA_SCALAR)
  for (int64_t k = rows; k < kWidth; ++k) sums[k] = zero();
  transpose(sums);
#pragma GCC unroll 4
  for (int half = kWidth / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  store_partial(out, sums[0], rows);
#endif
}

/// sums[k] = the sum of terms(vector, k) over row k.
template <typename Terms>
TANDEM_INLINE void add_short_rows(const ShortRows& of, Terms terms, float* out) {
  Vec sums[kWidth];
  for (int64_t k = 0; k < of.rows; ++k) {
    Vec even = zero();
    Vec odd = zero();
    const float* x = of.x + k * of.n;
    int64_t i = 0;
    for (; i + 2 * kWidth <= of.n; i += 2 * kWidth) {
      even += terms(load(x + i), k);
      odd += terms(load(x + i + kWidth), k);
    }
    for (; i < of.n; i += kWidth)
      even += keep_first(terms(load_partial(x + i, of.n - i), k), of.n - i, zero());
    sums[k] = even + odd;
  }
  add_lanes(sums, of.rows, out);
}

/// The mean of each row's first vector, near which its own should be.
TANDEM_INLINE void first_means(const ShortRows& of, float* centers) {
  Vec sums[kWidth];
  const int64_t some = of.n < kWidth ? of.n : kWidth;
  for (int64_t k = 0; k < of.rows; ++k) sums[k] = load_partial(of.x + k * of.n, some);
  add_lanes(sums, of.rows, centers);
  const float share = 1.0F / static_cast<float>(some);
  for (int64_t k = 0; k < of.rows; ++k) centers[k] *= share;
}

/// Means, in place of numbers near them, and sums of squared distances. Returns whether the numbers
/// were near: squares of distances cancel where they were more than a deviation away.
TANDEM_INLINE bool improve_means(const ShortRows& of, float* centers, float* squares) {
  Vec sums[2][kWidth];
  for (int64_t k = 0; k < of.rows; ++k) {
    const Vec center = set1(centers[k]);
    Vec lanes[2][2] = {{zero(), zero()}, {zero(), zero()}};
    const float* x = of.x + k * of.n;
    int64_t i = 0;
    for (; i + 2 * kWidth <= of.n; i += 2 * kWidth) {
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        const Vec d = load(x + i + u * kWidth) - center;
        lanes[u][0] += d;
        lanes[u][1] = fma(d, d, lanes[u][1]);
      }
    }
    for (; i < of.n; i += kWidth) {
      const int64_t m = of.n - i;
      const Vec d = keep_first(load_partial(x + i, m) - center, m, zero());
      lanes[0][0] += d;
      lanes[0][1] = fma(d, d, lanes[0][1]);
    }
    sums[0][k] = lanes[0][0] + lanes[1][0];
    sums[1][k] = lanes[0][1] + lanes[1][1];
  }
  float distances[kWidth];
  add_lanes(sums[0], of.rows, distances);
  add_lanes(sums[1], of.rows, squares);
  const double share = 1.0 / static_cast<double>(of.n);
  bool near = true;
  for (int64_t k = 0; k < of.rows; ++k) {
    const double error = static_cast<double>(distances[k]) * share;
    const double taken = static_cast<double>(distances[k]) * error;
    const double left = static_cast<double>(squares[k]) - taken;
    near = near && !(taken > left);
    centers[k] = static_cast<float>(static_cast<double>(centers[k]) + error);
    squares[k] = static_cast<float>(left);
  }
  return near;
}

/// Means and sums of squared distances from them.
TANDEM_INLINE void short_moments(const ShortRows& of, float* centers, float* squares) {
  first_means(of, centers);
  if (!improve_means(of, centers, squares)) improve_means(of, centers, squares);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
