// Products with few rows or few columns, as dot products along k: B is read once and in place,
// where packing it would cost more than the product.
#include "cpu/isa/gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

#if defined(TANDEM_ISA_AVX512) || defined(TANDEM_ISA_AVX2)

// Sums of the lanes of v[0..3].
TANDEM_INLINE __m128 sum4(const Lanes* v) {
  __m256 s[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#if defined(TANDEM_ISA_AVX512)
    s[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i].v), _mm512_extractf32x8_ps(v[i].v, 1));
#else
    s[i] = v[i].v;
#endif
  }
  const __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3]));
  return _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1));
}

template <int N>
TANDEM_INLINE void sums(const Lanes* v, float* out) {
#pragma GCC unroll 2
  for (int j = 0; j < N; j += 4) {
    Lanes four[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) four[i] = j + i < N ? v[j + i < N ? j + i : 0] : spread(0.0F);
    _mm_storeu_ps(out + j, sum4(four));
  }
}

#else

template <int N>
TANDEM_INLINE void sums(const Lanes* v, float* out) {
  for (int j = 0; j < N; ++j)
    out[j] = (v[j].lane[0] + v[j].lane[1]) + (v[j].lane[2] + v[j].lane[3]);
}

#endif

struct DotArgs {
  const float* a;
  int64_t a_row;
  const float* b;
  int64_t b_col, k;
  const float* add;
  int64_t add_row;
  float* c;
  int64_t c_row;
};

template <int M, int N>
void dot(const DotArgs& t) {
  Lanes acc[M][N];
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) acc[i][j] = spread(0.0F);

  int64_t x = 0;
  for (; x + kLanes <= t.k; x += kLanes) {
    Lanes av[M];
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) av[i] = load_lanes(t.a + i * t.a_row + x);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const Lanes bv = load_lanes(t.b + j * t.b_col + x);
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) acc[i][j] = fma(av[i], bv, acc[i][j]);
    }
  }
  if (x < t.k) {
    const int count = static_cast<int>(t.k - x);
    Lanes av[M];
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) av[i] = load_lanes(t.a + i * t.a_row + x, count);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      const Lanes bv = load_lanes(t.b + j * t.b_col + x, count);
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) acc[i][j] = fma(av[i], bv, acc[i][j]);
    }
  }

#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) {
    float out[8];
    sums<N>(acc[i], out);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j)
      t.c[i * t.c_row + j] = t.add ? t.add[i * t.add_row + j] + out[j] : out[j];
  }
}

using DotKernel = void (*)(const DotArgs&);

#define ROW(M) {dot<M, 1>, dot<M, 2>, dot<M, 3>, dot<M, 4>}
const DotKernel kDotKernels[4][4] = {ROW(1), ROW(2), ROW(3), ROW(4)};
#undef ROW

}  // namespace

void dot_block(const float* a, int64_t a_row, int64_t rows, const float* b, int64_t b_col,
               int64_t columns, int64_t k, const float* add, int64_t add_row, float* c,
               int64_t c_row) {
  const GemmParts groups = cut(rows, ceil_div(rows, 4));
  for (int64_t j = 0; j < columns;) {
    // One row alone needs eight sums in flight to hide the latency of an FMA.
    const int64_t left = columns - j;
    const bool wide = rows == 1 && left >= 8;
    const int64_t width = wide ? 8 : least(left, 4);
    for (int64_t g = 0; g < groups.count; ++g) {
      const int64_t i = part_start(groups, g);
      const int64_t height = part_start(groups, g + 1) - i;
      const DotKernel kernel = wide ? dot<1, 8> : kDotKernels[height - 1][width - 1];
      kernel({a + i * a_row, a_row, b + j * b_col, b_col, k, add ? add + i * add_row + j : nullptr,
              add_row, c + i * c_row + j, c_row});
    }
    j += width;
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
