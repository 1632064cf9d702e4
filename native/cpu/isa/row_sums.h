// Sums over contiguous elements that lose little: float additions for a while, then double. Always
// in the same order.
#pragma once

#include "cpu/isa/vec.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Vectors that a float sum takes in before it goes on in double.
inline constexpr int64_t kSumRun = 128;

/// Sums of `K` terms: floats on their way into doubles. A run of elements is added with add_run(),
/// the totals are complete after finish().
template <int K>
struct Sums {
  static constexpr int kUnroll = 4;
  Vec lanes[kUnroll][K];
  double totals[K];
  int64_t taken;  ///< vectors since the lanes were last emptied
};

template <int K>
TANDEM_INLINE void empty(Sums<K>& sums) {
  for (auto& lane : sums.lanes) {
    for (Vec& v : lane) v = zero();
  }
  sums.taken = 0;
}

template <int K>
TANDEM_INLINE Sums<K> no_sums() {
  Sums<K> sums;
  empty(sums);
  for (double& total : sums.totals) total = 0.0;
  return sums;
}

template <int K>
TANDEM_INLINE void finish(Sums<K>& sums) {
  for (int k = 0; k < K; ++k) {
    const Vec all = (sums.lanes[0][k] + sums.lanes[1][k]) + (sums.lanes[2][k] + sums.lanes[3][k]);
    sums.totals[k] += static_cast<double>(reduce_add(all));
  }
  empty(sums);
}

/// Adds the terms of elements [0, n). `terms(i, m, out)` sets them for elements i to i + m - 1 (m =
/// kWidth for whole vectors), with whatever in the lanes behind.
template <int K, typename Terms>
TANDEM_INLINE void add_run(Sums<K>& sums, int64_t n, Terms terms) {
  constexpr int64_t kStep = Sums<K>::kUnroll * kWidth;
  int64_t i = 0;
  while (i < n) {
    const int64_t room = (kSumRun - sums.taken) * kWidth;
    const int64_t end = n - i < room ? n : i + room;
    sums.taken += (end - i) / kWidth + 1;
    for (; i + kStep <= end; i += kStep) {
      for (int u = 0; u < Sums<K>::kUnroll; ++u) {
        Vec out[K];
        terms(i + u * kWidth, int64_t{kWidth}, out);
        for (int k = 0; k < K; ++k) sums.lanes[u][k] += out[k];
      }
    }
    for (; i + kWidth <= end; i += kWidth) {
      Vec out[K];
      terms(i, int64_t{kWidth}, out);
      for (int k = 0; k < K; ++k) sums.lanes[0][k] += out[k];
    }
    if (i < end) {
      Vec out[K];
      terms(i, end - i, out);
      for (int k = 0; k < K; ++k) sums.lanes[1][k] += keep_first(out[k], end - i, zero());
      i = end;
    }
    if (sums.taken >= kSumRun) finish(sums);
  }
}

/// Adds the sums of `K` terms over elements [0, n) to `totals`.
template <int K, typename Terms>
TANDEM_INLINE void add_sums(int64_t n, Terms terms, double (&totals)[K]) {
  auto sums = no_sums<K>();
  add_run(sums, n, terms);
  for (int k = 0; k < K; ++k) {
    const Vec all = (sums.lanes[0][k] + sums.lanes[1][k]) + (sums.lanes[2][k] + sums.lanes[3][k]);
    totals[k] += sums.totals[k] + static_cast<double>(reduce_add(all));
  }
}

/// The mean of some numbers, and the sum of their squared distances from it.
struct Moments {
  double mean, squares;
};

/// The same where sums of floats have overflowed: in double throughout. `runs` runs of `n`
/// elements, `stride` apart, whose neighbours are `step` apart.
[[maybe_unused]] static Moments moments_in_double(const float* x, int64_t runs, int64_t n,
                                                  int64_t stride, int64_t step) {
  const auto count = static_cast<double>(runs * n);
  Moments found{0.0, 0.0};
  for (int64_t r = 0; r < runs; ++r) {
    for (int64_t i = 0; i < n; ++i) found.mean += static_cast<double>(x[r * stride + i * step]);
  }
  found.mean /= count;
  for (int64_t r = 0; r < runs; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(x[r * stride + i * step]) - found.mean;
      found.squares += d * d;
    }
  }
  return found;
}

/// Moments from the sums of distances from `center` and of their squares, of `count` numbers. What
/// rounding took from the center, which may be much where numbers are large beside their distances,
/// is made good.
TANDEM_INLINE Moments moments_about(float center, const double (&sums)[2], double count) {
  const double error = sums[0] / count;
  return {static_cast<double>(center) + error, sums[1] - sums[0] * error};
}

/// Elements p[0, m), m <= kWidth.
TANDEM_INLINE Vec load_up_to(const float* p, int64_t m) {
  return m == kWidth ? load(p) : load_partial(p, m);
}
TANDEM_INLINE void store_up_to(float* p, Vec x, int64_t m) {
  if (m == kWidth) {
    store(p, x);
  } else {
    store_partial(p, x, m);
  }
}

/// Calls visit(i, m) for every vector of [0, n), m being its length.
template <typename Visit>
TANDEM_INLINE void each_vector(int64_t n, Visit visit) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) visit(i, int64_t{kWidth});
  if (i < n) visit(i, n - i);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
