// Register kernels of the matrix product: C[M, N vectors] = [add +] A * B, bias and relu.
#include "gemm_kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Pieces that end within a vector leave through this buffer: partial stores in the kernels
// would double their code for a path that few pieces take.
__attribute__((noinline)) void store_edge(const MicroArgs& t, const float* sums, int rows,
                                          int width) {
  const Vec floor = vset(t.floor);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < t.columns; j += W) {
      const int count = static_cast<int>(at_most(t.columns - j, W));
      Vec v = vload(sums + i * width + j);
      if (t.add) v = vadd(v, vload_part(t.add + i * t.add_row + j, count));
      if (t.bias) v = vadd(v, vload_part(t.bias + j, count));
      vstore_part(t.c + i * t.c_row + j, vmax(floor, v), count);
    }
  }
}

template <int M, int N>
void micro(const MicroArgs& t) {
  Vec acc[M][N];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) acc[i][j] = vzero();

  // C is not needed before the sums are done: its misses cost nothing if they start here.
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    __builtin_prefetch(t.c + i * t.c_row, 1);
    __builtin_prefetch(t.c + i * t.c_row + N * W - 1, 1);
  }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t a_row = t.a_row, a_k = t.a_k, b_pair = t.b_pair, b_k = t.b_k;
  for (int64_t left = t.k; left > 0; --left) {
    Vec bv[N];
    if constexpr (N == 1) {
      bv[0] = vload_part(b, t.columns);
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) bv[j] = vload(b + (j / 2) * b_pair + (j % 2) * W);
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const Vec av = vset(a[i * a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] = vfma(av, bv[j], acc[i][j]);
    }
    a += a_k;
    b += b_k;
  }

  if (t.columns < N * W) {
    alignas(64) float sums[M * N * W];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) vstore(sums + (i * N + j) * W, acc[i][j]);
    store_edge(t, sums, M, N * W);
    return;
  }
  if (t.add) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) acc[i][j] = vadd(acc[i][j], vload(t.add + i * t.add_row + j * W));
  }
  const Vec floor = vset(t.floor);
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    const Vec bias = t.bias ? vload(t.bias + j * W) : vzero();
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
      vstore(t.c + i * t.c_row + j * W, vmax(floor, vadd(acc[i][j], bias)));
  }
}

// Row heights that a width does not serve stay null; the caller never asks for them.
template <int M, int N, int LIMIT>
constexpr MicroKernel pick() {
  if constexpr (M <= LIMIT)
    return micro<M, N>;
  else
    return nullptr;
}

#if defined(TANDEM_ISA_AVX512)
#define ROWS(N, L)                                                                          \
  {pick<1, N, L>(),  pick<2, N, L>(),  pick<3, N, L>(),  pick<4, N, L>(), pick<5, N, L>(),  \
   pick<6, N, L>(),  pick<7, N, L>(),  pick<8, N, L>(),  pick<9, N, L>(), pick<10, N, L>(), \
   pick<11, N, L>(), pick<12, N, L>(), pick<13, N, L>(), pick<14, N, L>()}
#elif defined(TANDEM_ISA_AVX2)
#define ROWS(N, L)                                    \
  {pick<1, N, L>(), pick<2, N, L>(), pick<3, N, L>(), \
   pick<4, N, L>(), pick<5, N, L>(), pick<6, N, L>()}
#else
#define ROWS(N, L) {pick<1, N, L>(), pick<2, N, L>(), pick<3, N, L>(), pick<4, N, L>()}
#endif

}  // namespace

const MicroKernel micro_kernels[4][MR] = {ROWS(1, MR), ROWS(2, MR), ROWS(4, WIDE4_ROWS),
                                          ROWS(8, WIDE8_ROWS)};

}  // namespace tandem::cpu::TANDEM_ISA_NS
